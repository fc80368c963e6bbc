"""etcd's services over ``kvraft.server.service``, for whichever edge a call comes through: gRPC or JSON."""
