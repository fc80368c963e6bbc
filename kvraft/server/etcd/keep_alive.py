"""LeaseKeepAlive: a stream of renewals. Answers come in the order in which the service gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft.errors import KvraftError, TooManyRequests
from kvraft.server import clients
from kvraft.wire.etcd.requests import to_keep_alive
from kvraft.wire.etcd.responses import from_keep_alive
from kvraft.wire.native import encode_request_body

if TYPE_CHECKING:
    from kvraft.server.etcd.call import Call
    from kvraft.server.etcd.services import EtcdServices


class KeepAlive:
    """See the module, and ``call.Handler``."""

    def __init__(self, services: EtcdServices, call: Call) -> None:
        self._services = services
        self._call = call
        self._due = 0
        self._half_closed = False

    def message(self, message: Any) -> None:
        """Renew one lease."""
        call = self._call
        if call.connection.unanswered >= clients.MAX_UNANSWERED or call.full:
            call.fail(TooManyRequests())
            return
        call.connection.unanswered += 1
        self._due += 1
        request: Any = to_keep_alive(message)
        self._services.member.service.start(request, encode_request_body(request), call, self._answered)

    def _answered(self, answer: Any) -> None:
        call = self._call
        call.connection.unanswered -= 1
        self._due -= 1
        if isinstance(answer, KvraftError):
            call.fail(answer)
        else:
            call.send(from_keep_alive(self._services.stamp, answer).SerializeToString())
            self._end_if_done()

    def half_closed(self) -> None:
        """The stream ends with its last answer."""
        self._half_closed = True
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._half_closed and not self._due:
            self._call.end()

    def drained(self) -> None:
        """Nothing waits for it."""

    def closed(self) -> None:
        """Answers that still come go nowhere."""
