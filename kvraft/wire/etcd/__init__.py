"""etcd's interface in protobuf: our ``.proto`` files, the modules made of them (``make proto``), and translations.

The modules named ``*_pb2`` are generated. Nothing here is imported before the first client speaks gRPC or JSON.
"""
