"""The order of a request: each stage refuses before the next one runs."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import RFC_4122, UUID

import orjson
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from apilayer.api import status
from apilayer.audit.interface import Audit, Record
from apilayer.pipeline.authentication import ANONYMOUS, Authenticator, parse_token_file
from apilayer.pipeline.authorization import Privileged
from apilayer.pipeline.flow_control import InFlightLimit
from apilayer.pipeline.metrics import RequestMetrics
from apilayer.pipeline.pipeline import IDS_AT_ONCE, Context, Pipeline
from apilayer.pipeline.request import BodyError, Request, Response
from apilayer.pipeline.request_info import parse
from apilayer.storage.interface import OutcomeUnknown, StoreUnavailable
from tests.apilayer.pipeline.places import held

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOKENS = parse_token_file(['secret,admin,1,"system:masters"', "plain,bob,2"])


async def unread() -> bytes:
    raise AssertionError("the body was read")


async def fine(context: Context) -> Response:
    return Response(200, context.user.name.encode())


def pipeline(route: Callable[[Context], Awaitable[Response]] = fine, limit: InFlightLimit | None = None) -> Pipeline:
    return Pipeline(Authenticator(TOKENS), Privileged(), limit or InFlightLimit(10, 10), route, RequestMetrics())


def request(token: str = "secret", method: str = "GET", query: str = "", **headers: str) -> Request:
    all_headers = {"authorization": f"Bearer {token}", **headers} if token else headers
    return Request(method, "/api/v1/pods", query, all_headers, None, unread)


async def answer(target: Pipeline, asked: Request) -> tuple[int, dict, dict[bytes, bytes]]:
    response, headers = await target.handle(asked)
    return response.status, orjson.loads(response.body), dict((*headers, *response.headers))


async def test_every_reply_has_its_headers() -> None:
    response, headers = await pipeline().handle(request())
    assert (response.status, response.body) == (200, b"admin")
    assert dict(headers)[b"Cache-Control"] == b"no-cache, private"
    assert len(dict(headers)[b"Audit-Id"]) == 36
    _, headers = await pipeline().handle(request("wrong"))
    assert set(dict(headers)) == {b"Audit-Id", b"Cache-Control"}


async def test_every_request_has_an_audit_id_of_its_own() -> None:
    target = pipeline()
    found = [dict((await target.handle(request()))[1])[b"Audit-Id"].decode() for _ in range(3 * IDS_AT_ONCE)]
    assert len(set(found)) == len(found)
    for text in found:
        assert (str(UUID(text)), UUID(text).version, UUID(text).variant) == (text, 4, RFC_4122)


@pytest.mark.parametrize(("given", "kept"), [("abc-1", True), ("x" * 65, False), ("a\u00e9", False), ("a\x01", False)])
async def test_the_clients_audit_id_is_kept_when_it_is_plain(given: str, kept: bool) -> None:
    _, headers = await pipeline().handle(request(**{"audit-id": given}))
    assert (dict(headers)[b"Audit-Id"].decode("latin-1") == given) is kept


@pytest.mark.parametrize(("token", "code"), [("", 403), ("wrong", 401), ("plain", 403)])
async def test_refusals_come_before_the_body_is_read(token: str, code: int) -> None:
    async def never(_context: Context) -> Response:
        raise AssertionError("the handler was called")

    found, body, _ = await answer(pipeline(never), request(token, "POST"))
    assert (found, body["kind"], body["code"]) == (code, "Status", code)


async def test_too_many_at_once() -> None:
    limit = InFlightLimit(1, 1)
    inner: list[int] = []

    async def nested(context: Context) -> Response:
        for method in ("GET", "POST"):
            found, body, headers = await answer(target, request(method=method))
            inner.append(found)
            if found == 429:
                assert headers[b"Retry-After"] == b"1"
                assert body["message"] == "Too many requests, please try again later."
        return await fine(context)

    target = pipeline(nested, limit)
    limit.running[1] = 1
    response, _ = await target.handle(request())
    assert (response.status, inner) == (200, [429, 429])
    assert limit.running == [0, 1]


async def test_no_bound() -> None:
    limit = InFlightLimit(0, 0)
    info = parse("GET", "/api/v1/pods/x")
    async with held(limit, ANONYMOUS, info), held(limit, ANONYMOUS, info):
        assert limit.running == [2, 0]
    assert limit.running == [0, 0]


async def test_what_lasts_is_not_counted() -> None:
    limit = InFlightLimit(1, 1)
    for path in ("/api/v1/namespaces/a/pods/x/log", "/api/v1/namespaces/a/pods/x/exec"):
        async with held(limit, ANONYMOUS, parse("GET", path)):
            assert limit.running == [0, 0]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (status.not_found("pods", "", "x"), 404, 'pods "x" not found'),
        (StoreUnavailable("etcdserver: no leader"), 500, "etcdserver: no leader"),
        (OutcomeUnknown("etcdserver: request timed out"), 500, "etcdserver: request timed out"),
        (
            OutcomeUnknown("context deadline exceeded"),
            504,
            "Timeout: request did not complete within requested timeout - context deadline exceeded",
        ),
        (ZeroDivisionError("secret detail"), 500, "Internal error occurred: the server met an unexpected condition"),
    ],
)
async def test_errors_become_statuses(error: Exception, code: int, message: str) -> None:
    async def failing(_context: Context) -> Response:
        raise error

    found, body, _ = await answer(pipeline(failing), request())
    assert (found, body["code"], body["message"]) == (code, code, message)
    assert "secret" not in orjson.dumps(body).decode()


async def test_a_broken_body_is_the_servers_business() -> None:
    async def reading(context: Context) -> Response:
        return Response(200, await context.request.read_body())

    async def cut_off() -> bytes:
        raise BodyError

    asked = Request("POST", "/api/v1/pods", "", {"authorization": "Bearer secret"}, None, cut_off)
    with pytest.raises(BodyError):
        await pipeline(reading).handle(asked)


async def test_errors_in_yaml() -> None:
    response, _ = await pipeline().handle(request("wrong", accept="application/yaml"))
    assert response.content_type == b"application/yaml"
    assert response.body.startswith(b"apiVersion: v1\ncode: 401\nkind: Status\n")


@pytest.mark.parametrize(("allowed_seconds", "late"), [(0.0, True), (1000.0, False)])
async def test_who_is_given_up_is_counted(allowed_seconds: float, late: bool) -> None:
    async def waiting(_context: Context) -> Response:
        await trio.sleep_forever()
        raise AssertionError("it slept for ever")

    counted = RequestMetrics()
    stages = Authenticator(TOKENS), Privileged(), InFlightLimit(10, 10)
    whole = Pipeline(*stages, waiting, counted, time_limit=lambda *_: allowed_seconds)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(whole.handle, request())
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert (sum(counted.terminated.values()), sum(counted.aborted.values())) == (late, not late)
    assert not counted.requests


async def test_a_stream_that_nobody_gets_is_closed() -> None:
    """Whoever is cancelled while the answer is recorded has a watch that would last for ever."""

    class Slow(Record):
        tells = True

        async def answered(self, *_: object) -> None:
            await trio.sleep_forever()

    class SlowAudit(Audit):
        def begin(self, *_: object) -> Record:
            return Slow()

    class Opened:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    opened = Opened()

    async def watching(_context: Context) -> Response:
        return Response(200, b"", stream=opened)  # type: ignore[arg-type]

    stages = Authenticator(TOKENS), Privileged(), InFlightLimit(10, 10)
    whole = Pipeline(*stages, watching, RequestMetrics(), SlowAudit())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(whole.handle, request())
        await wait_all_tasks_blocked()
        assert not opened.closed
        nursery.cancel_scope.cancel()
    assert opened.closed == 1
