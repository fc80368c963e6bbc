"""etcd's own protocol on a connection of the client's: gRPC over HTTP/2, every call and every watch a stream."""

from kvraft.client.etcd.wire import EtcdWire

__all__ = ["EtcdWire"]
