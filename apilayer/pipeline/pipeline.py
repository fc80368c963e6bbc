"""The order of a request, from its first byte to its answer, in one function."""

from __future__ import annotations

import logging
import os
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING

import msgspec

from apilayer.api import status
from apilayer.api.status import StatusError
from apilayer.audit.interface import NO_AUDIT, UNRECORDED
from apilayer.pipeline.asked import what_is_asked
from apilayer.pipeline.authorization import require
from apilayer.pipeline.encoding import error_response
from apilayer.pipeline.flow_control import Place
from apilayer.pipeline.impersonation import impersonate, names_somebody
from apilayer.pipeline.metrics import UNREAD, as_patched
from apilayer.pipeline.request import BodyError
from apilayer.pipeline.turns import FLOW
from apilayer.storage.interface import OutcomeUnknown, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apilayer.audit.interface import Audit, Record
    from apilayer.pipeline.asked import Asked
    from apilayer.pipeline.authentication import Authenticator, User
    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.flow_control import FlowControl
    from apilayer.pipeline.metrics import Labels, RequestMetrics
    from apilayer.pipeline.request import Headers, Request, Response
    from apilayer.pipeline.request_info import RequestInfo
    from apilayer.registry.options import Query

MAX_AUDIT_ID = 64
IDS_AT_ONCE = 64
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
NO_CACHE = (b"Cache-Control", b"no-cache, private")

log = logging.getLogger("apilayer.pipeline")


class Context(msgspec.Struct, frozen=True):
    """A request that may be handled: who asks for what."""

    request: Request
    info: RequestInfo
    query: Query
    user: User
    record: Record = UNRECORDED


def no_limit(_method: str, _query: str) -> float:
    """Every request may take for ever."""
    return inf


class Pipeline:
    """Everything around the handlers. `route` is the router: it answers or raises StatusError."""

    def __init__(
        self,
        authenticator: Authenticator,
        authorizer: Authorizer,
        flow_control: FlowControl,
        route: Callable[[Context], Awaitable[Response]],
        metrics: RequestMetrics,
        audit: Audit = NO_AUDIT,
        time_limit: Callable[[str, str], float] = no_limit,
    ) -> None:
        """`time_limit` says how many seconds a request with this method and query may take."""
        self._authenticator = authenticator
        self._authorizer = authorizer
        self._flow_control = flow_control
        self._route = route
        self._metrics = metrics
        self._audit = audit
        self._time_limit = time_limit

    async def handle(self, request: Request) -> tuple[Response, Headers]:
        """The answer and the headers that every reply carries. Never raises, except for a broken body.

        The server around it has parsed the request, will time it out, and bounds what it reads of it.
        """
        start = perf_counter()
        audit_id = self._audit_id(request)
        record = self._audit.begin(request, audit_id)
        asked: Asked | None = None
        flow: Headers = ()
        waited_seconds = 0.0
        try:
            asked = what_is_asked(request.method, request.path, request.query)
            info, query, subject = asked.info, asked.query, asked.subject
            user = await self._authenticator.authenticate(request)
            FLOW.set(user.name)
            if record.concerns(subject, user):
                await record.received()
            if names_somebody(request.headers):
                user = await impersonate(self._authorizer, user, request.headers, subject, record)
            place = self._flow_control.admit(user, info, query)
            if not isinstance(place, Place):
                place = await place
            try:
                flow, waited_seconds = place.headers, place.waited_seconds
                await require(self._authorizer, user, subject, record, self._metrics.authorized)
                response = await self._route(Context(request, info, query, user, record))
            finally:
                place.leave()
        except StatusError as error:
            response = error_response(request, error)
        except StoreError as error:
            response = error_response(request, _store_error(error))
        except BodyError:
            record.given_up()
            raise
        except Exception as error:
            log.exception("a request failed: %s %s, audit id %s", request.method, request.path, audit_id)
            failure = status.internal_error("the server met an unexpected condition")
            response = error_response(request, failure)
            record.panicked(error)
        except BaseException:
            record.given_up()
            late = perf_counter() - start >= self._time_limit(request.method, request.query)
            self._metrics.given_up(_labels(request, asked), timed_out=late)
            raise
        if record.tells:
            try:
                await record.answered(None if asked is None else asked.info, response)
            except BaseException:
                if response.stream is not None:  # nobody else will
                    response.stream.close()
                raise
        if response.stream is None:  # a watch is counted when it ends
            labels = asked.labels if asked is not None and request.method == "GET" else _labels(request, asked)
            self._metrics.observe(labels, response.status, perf_counter() - start, response.size, waited_seconds)
        audit = (b"Audit-Id", audit_id.encode())
        if response.headers and any(name == b"Cache-Control" for name, _ in response.headers):
            return response, (audit, *flow)
        return response, (audit, NO_CACHE, *flow)

    @staticmethod
    def _audit_id(request: Request) -> str:
        """The client's own, when it is a plain word, else a new one."""
        given = request.headers.get("audit-id", "")
        if given and len(given) <= MAX_AUDIT_ID and given.isascii() and given.isprintable():
            return given
        return _fresh_id()


_words: list[str] = []
"""Random words that no answer has had yet: asking the system for them one by one would cost a call each."""


def _fresh_id() -> str:
    """A random UUID (version 4)."""
    if not _words:
        block = os.urandom(16 * IDS_AT_ONCE).hex()
        _words.extend(block[start : start + 32] for start in range(0, len(block), 32))
    word = _words.pop()
    return f"{word[:8]}-{word[8:12]}-4{word[13:16]}-{_VARIANT[word[16]]}{word[17:20]}-{word[20:]}"


def _labels(request: Request, asked: Asked | None) -> Labels:
    """What the request is counted under; without `asked` it could not be read."""
    if asked is None:
        return UNREAD
    return as_patched(asked.labels, request.headers.get("content-type"))


def timed_out() -> StatusError:
    """504: the request's time is over; a write may or may not have happened."""
    return status.timeout("request did not complete within requested timeout - context deadline exceeded")


def _store_error(error: StoreError) -> StatusError:
    """As kube-apiserver passes on what etcd says. A write of unknown outcome is never to be repeated blindly."""
    if isinstance(error, OutcomeUnknown) and "deadline exceeded" in str(error):
        return timed_out()
    return status.raw(500, str(error))
