"""Webhooks that know tokens: what they are sent, what their answers mean, and what is remembered of them."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from apilayer.outbound.client import Client
from apilayer.outbound.target import Target
from apilayer.outbound.webhook import Webhook
from apilayer.pipeline.authentication import InvalidToken, NotOurs, TokenUser, User
from apilayer.pipeline.token_cache import MAX_REMEMBERED, TokenCache
from apilayer.pipeline.token_webhook import TokenWebhook, decided
from tests.apilayer.authority import Authority
from tests.apilayer.https_server import Asked, Reply, https_server

Object = dict[str, Any]
CANARY = "canary-of-a-token"
JANE: Object = {"username": "jane", "uid": "7", "groups": ["g"], "extra": {"K": ["v"]}}


def review(status: Object, version: str = "v1") -> Reply:
    return Reply({"kind": "TokenReview", "apiVersion": f"authentication.k8s.io/{version}", "status": status})


async def test_a_webhook_says_who_it_is(tmp_path: Any, autojump_clock: trio.testing.MockClock, caplog: Any) -> None:
    """Over TLS, tried again when it stumbles; neither answer nor log gives the token away."""
    caplog.set_level(logging.DEBUG)
    authority = Authority(tmp_path)
    authority.leaf("server", server=True)
    replies = [Reply(status=500), review({"authenticated": True, "user": JANE})]

    async def handler(asked: Asked) -> Reply:
        return replies.pop(0) if replies else Reply({"message": f"no {asked.json['spec']['token']}"}, 403)

    async with (
        https_server(authority.server_context(), handler) as server,
        Client(Target(f"{server.url}/authenticate", authority.pem)) as client,
    ):
        way = TokenWebhook(Webhook(client), "v1", ["api"])
        found = await way.authenticate(CANARY)
        with pytest.raises(InvalidToken):
            await way.authenticate(CANARY)
    assert found == TokenUser(User("jane", "7", ("g",), (("k", ("v",)),)), ("api",))
    assert server.asked[1].json == {
        "kind": "TokenReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": None},
        "spec": {"token": CANARY, "audiences": ["api"]},
        "status": {"user": {}},
    }
    assert "failed to make webhook authenticator request" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("answer", [Reply({}), review({}, "v1beta1"), Reply({"kind": "Status"}), Reply(b"x")])
async def test_an_answer_that_is_no_review(answer: Reply) -> None:
    async def handler(asked: Asked) -> Reply:
        return answer

    async with https_server(None, handler) as server, Client(Target(server.url)) as client:
        with pytest.raises(InvalidToken):
            await TokenWebhook(Webhook(client), "v1", ()).authenticate("t")


@pytest.mark.parametrize(
    ("said", "wanted", "audiences"),
    [
        ({}, (), ()),
        ({}, ("api",), ("api",)),
        ({"audiences": ["vault", "x"]}, ("api", "vault"), ("vault",)),
    ],
)
def test_for_whom_a_token_holds(said: Object, wanted: tuple[str, ...], audiences: tuple[str, ...]) -> None:
    found = decided({"authenticated": True, "user": JANE, **said}, wanted, ("api",))
    assert found.audiences == audiences


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"authenticated": False}, NotOurs),
        ({}, NotOurs),
        ({"authenticated": "true", "user": JANE}, NotOurs),
        ({"authenticated": True, "user": JANE, "audiences": ["vault"]}, NotOurs),
        ({"error": "no such token"}, InvalidToken),
        (None, InvalidToken),
        ({"authenticated": True}, InvalidToken),
        ({"authenticated": True, "user": {"username": ""}}, InvalidToken),
        ({"authenticated": True, "user": {"username": ["root"]}}, InvalidToken),
        ({"authenticated": True, "user": {"username": "u", "uid": 7}}, InvalidToken),
        ({"authenticated": True, "user": {"username": "u", "groups": "system:masters"}}, InvalidToken),
        ({"authenticated": True, "user": {"username": "u", "extra": {"k": "v"}}}, InvalidToken),
        ({"authenticated": True, "user": JANE, "audiences": "api"}, InvalidToken),
    ],
)
def test_answers_that_name_nobody(said: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        decided(said, ("api",), ("api",))


class Way:
    """Knows tokens that begin with "good", and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.hold = trio.Event()
        self.hold.set()

    async def authenticate(self, token: str, audiences: Any = ()) -> TokenUser:
        self.asked.append((token, tuple(audiences)))
        await self.hold.wait()
        if token == "bad":
            raise InvalidToken("not well")
        if not token.startswith("good"):
            raise NotOurs("unknown")
        return TokenUser(User(token), tuple(audiences))


async def test_answers_are_remembered_for_a_while(mock_clock: trio.testing.MockClock) -> None:
    way = Way()
    cache = TokenCache(way, 10, 5)
    for _ in range(2):
        assert (await cache.authenticate("good")).user.name == "good"
        with pytest.raises(NotOurs):
            await cache.authenticate("other")
        with pytest.raises(InvalidToken):
            await cache.authenticate("bad")
    assert [token for token, _ in way.asked] == ["good", "other", "bad", "bad"], "errors are not remembered"
    await cache.authenticate("good", ["vault"])
    assert way.asked[-1] == ("good", ("vault",)), "each audience is asked for"
    way.asked.clear()
    mock_clock.jump(5)
    with pytest.raises(NotOurs):
        await cache.authenticate("other")
    await cache.authenticate("good")
    assert [token for token, _ in way.asked] == ["other"]
    mock_clock.jump(5)
    await cache.authenticate("good")
    assert [token for token, _ in way.asked] == ["other", "good"]


@pytest.mark.parametrize(("token", "error"), [("good", None), ("other", NotOurs), ("bad", InvalidToken)])
async def test_who_asks_at_the_same_time_is_answered_together(token: str, error: type[Exception] | None) -> None:
    way = Way()
    way.hold = trio.Event()
    cache = TokenCache(way, 10, 0)
    answers: list[Any] = []

    async def ask() -> None:
        try:
            answers.append((await cache.authenticate(token)).user.name)
        except (NotOurs, InvalidToken) as found:
            answers.append(type(found))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        way.hold.set()
    assert answers == [error or "good"] * 20
    assert len(way.asked) == 1


async def test_who_gives_up_leaves_the_asking_to_the_next() -> None:
    way = Way()
    way.hold = trio.Event()
    cache = TokenCache(way, 10)
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as first:
            first.start_soon(cache.authenticate, "good")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(partial(cache.authenticate, "good"))
            await trio.testing.wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        way.hold.set()
    assert len(way.asked) == 2


async def test_no_more_is_remembered_than_there_is_room_for() -> None:
    way = Way()
    cache = TokenCache(way, 10)
    for number in range(MAX_REMEMBERED + 1):
        await cache.authenticate(f"good{number}")
    await cache.authenticate(f"good{MAX_REMEMBERED}")
    assert len(way.asked) == MAX_REMEMBERED + 1
    await cache.authenticate("good0")
    assert len(way.asked) == MAX_REMEMBERED + 2
    forgetful = TokenCache(way, 0)
    await forgetful.authenticate("good")
    await forgetful.authenticate("good")
    assert len(way.asked) == MAX_REMEMBERED + 4
