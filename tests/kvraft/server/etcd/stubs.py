"""A grpcio client of any method, and what else the tests of etcd's services share. It runs in threads."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import grpc
import trio

from kvraft.wire.etcd import (
    election_pb2,
    health_pb2,
    lock_pb2,
    reflection_pb2,
    reflection_v1alpha_pb2,
    rpc_pb2,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODULES = (rpc_pb2, lock_pb2, election_pb2, health_pb2, reflection_pb2, reflection_v1alpha_pb2)
TIMEOUT_SECONDS = 30.0
METHODS: dict[str, tuple[str, Any, Any, str]] = {}
"""Path, kinds of its messages and grpcio's name for what streams, by "package.Service/Method"."""
for _module in MODULES:
    for _service in _module.DESCRIPTOR.services_by_name.values():
        for _method in _service.methods:
            _kind = "_".join(
                "stream" if flag else "unary" for flag in (_method.client_streaming, _method.server_streaming)
            )
            METHODS[f"{_service.full_name}/{_method.name}"] = (
                f"/{_service.full_name}/{_method.name}",
                getattr(_module, _method.input_type.name),
                getattr(_module, _method.output_type.name),
                _kind,
            )


class Stubs:
    """Calls over one channel. ``call`` and ``open`` block: use them in a thread."""

    def __init__(self, url: str, credentials: grpc.ChannelCredentials | None = None, **options: Any) -> None:
        address = url.partition("://")[2]
        settings = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1), *options.items()]
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options=settings)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=settings)

    def _method(self, name: str) -> tuple[Any, Any]:
        path, request, answer, kind = METHODS[name if "." in name else f"etcdserverpb.{name}"]
        make = getattr(self.channel, kind)
        return make(
            path, request_serializer=request.SerializeToString, response_deserializer=answer.FromString
        ), request

    def call(
        self,
        method: str,
        /,
        metadata: Any = (),
        timeout: float = TIMEOUT_SECONDS,
        compression: Any = None,
        **fields: Any,
    ) -> Any:
        """A call of one message each way, or of one message and a stream of answers."""
        make, request = self._method(method)
        return make(request(**fields), timeout=timeout, metadata=metadata, compression=compression)

    def open(self, name: str, metadata: Any = ()) -> Stream:
        """A call of streams both ways."""
        method, request = self._method(name)
        requests: SimpleQueue[Any] = SimpleQueue()
        return Stream(method(iter(requests.get, None), timeout=TIMEOUT_SECONDS, metadata=metadata), requests, request)


class Stream:
    """An open call of streams."""

    def __init__(self, call: Any, requests: SimpleQueue[Any], kind: Any) -> None:
        self.call = call
        self._requests = requests
        self._kind = kind

    def send(self, **fields: Any) -> None:
        self._requests.put(self._kind(**fields))

    def half_close(self) -> None:
        self._requests.put(None)

    def receive(self) -> Any:
        return next(self.call)

    def ask(self, **fields: Any) -> Any:
        self.send(**fields)
        return self.receive()

    def cancel(self) -> None:
        self.half_close()
        self.call.cancel()


@contextmanager
def stubs(url: str, credentials: grpc.ChannelCredentials | None = None, **options: Any) -> Iterator[Stubs]:
    """A channel that is closed at the end."""
    made = Stubs(url, credentials, **options)
    try:
        yield made
    finally:
        made.channel.close()


@contextmanager
def refused(code: str, text: str) -> Iterator[None]:
    """The call within fails with this status, to the letter."""
    try:
        yield
    except grpc.RpcError as error:
        assert (error.code().name, error.details()) == (code, text)  # type: ignore[attr-defined]
    else:
        raise AssertionError(f"should have failed: {text}")


async def in_thread(url: str, converse: Callable[[Stubs], Any], credentials: Any = None, **options: Any) -> Any:
    """Run ``converse`` with stubs for ``url`` in a thread."""

    def run() -> Any:
        with stubs(url, credentials, **options) as made:
            return converse(made)

    return await trio.to_thread.run_sync(partial(run))
