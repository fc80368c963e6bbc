"""Webhooks: what is tried again, how long apart, and what is not."""

from __future__ import annotations

import pytest
import trio

from apilayer.outbound.client import CannotConnect, Client, ConnectionLost, OutboundError
from apilayer.outbound.target import Target
from apilayer.outbound.webhook import Backoff, Webhook, WebhookRefused, should_retry
from tests.apilayer.https_server import Asked, Reply, https_server

STATUS = {"kind": "Status", "apiVersion": "v1", "message": "no room"}


@pytest.mark.parametrize(
    ("replies", "tries", "error"),
    [
        ([Reply({"a": 1})], 1, ""),
        ([Reply(status=500), Reply({"a": 1})], 2, ""),
        ([None, Reply(status=429), Reply(status=504), Reply({"a": 1})], 4, ""),
        ([Reply(status=503, headers=(("Retry-After", "7"),)), Reply({"a": 1})], 2, ""),
        ([Reply(STATUS, 503)], 1, "no room"),
        ([Reply(status=404)], 1, "answered with status 404"),
        ([Reply(status=302)], 1, "answered with status 302"),
        ([Reply(b"[1]")], 1, "not an object"),
        ([Reply(b"{")], 1, "not JSON"),
        ([Reply(status=500)], 5, "answered with status 500"),
        ([None], 5, "disconnected"),
    ],
)
async def test_tries(
    replies: list[Reply | None], tries: int, error: str, autojump_clock: trio.testing.MockClock
) -> None:
    async def handler(asked: Asked) -> Reply | None:
        return replies[min(len(server.asked), len(replies)) - 1]

    async with (
        https_server(None, handler) as server,
        Client(Target(f"{server.url}/hook"), timeout_seconds=10) as client,
    ):
        started = trio.current_time()
        if error:
            with pytest.raises(OutboundError, match=error):
                await Webhook(client).post({"q": 1})
        else:
            assert await Webhook(client).post({"q": 1}) == {"a": 1}
        took = trio.current_time() - started
    assert len(server.asked) == tries
    assert {(asked.method, asked.target, asked.body) for asked in server.asked} == {
        ("POST", "/hook?timeout=10s", b'{"q":1}')
    }
    waited = sum(0.5 * 1.5**number for number in range(tries - 1))
    if replies[0] is not None and replies[0].headers:
        waited = 7
    assert waited <= took <= waited * 1.2 + 0.01


def test_what_may_fare_better() -> None:
    assert should_retry(ConnectionLost("x"))
    assert not should_retry(CannotConnect("x"))
    assert should_retry(WebhookRefused("x", 500, retried=True))
    assert not should_retry(WebhookRefused("x", 403))


def test_pauses_grow() -> None:
    assert list(Backoff(2, 3, 0, 4).pauses()) == [2, 6, 18]
