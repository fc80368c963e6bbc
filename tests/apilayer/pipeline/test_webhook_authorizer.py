"""An authorizer that asks a real server: what it is asked, what its answers mean, and how long they hold."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from apilayer.outbound.client import Client
from apilayer.outbound.target import Target
from apilayer.outbound.webhook import Webhook
from apilayer.pipeline.authentication import User
from apilayer.pipeline.authorization import Rules, Verdict, verdict_of
from apilayer.pipeline.request_info import RequestInfo, parse
from apilayer.pipeline.selected import with_selectors
from apilayer.pipeline.subject_access import asked_about, evaluation_error, review_spec, subject_of
from apilayer.pipeline.webhook_authorizer import Remembered, WebhookAuthorizer, WebhookRules
from tests.apilayer.https_server import Asked, HttpsServer, Reply, https_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trio

Object = dict[str, Any]
JANE = User("jane", "7", ("devs", "system:authenticated"), (("scopes", ("a", "b")),))
POD = parse("GET", "/api/v1/namespaces/n/pods/p")


def review(version: str = "v1", **status: Any) -> Object:
    return {"kind": "SubjectAccessReview", "apiVersion": f"authorization.k8s.io/{version}", "status": status}


@asynccontextmanager
async def asking(*replies: Reply | None, **rules: Any) -> AsyncIterator[tuple[WebhookAuthorizer, HttpsServer]]:
    """An authorizer whose webhook answers with the replies in turn, with the last one ever after."""

    async def handler(asked: Asked) -> Reply | None:
        return replies[min(len(server.asked), len(replies)) - 1]

    async with (
        https_server(None, handler) as server,
        Client(Target(f"{server.url}/authorize"), timeout_seconds=10) as client,
    ):
        yield WebhookAuthorizer(Webhook(client).post, WebhookRules(**rules)), server


async def test_what_is_asked() -> None:
    async with asking(Reply(review(allowed=True, reason="why not"))) as (authorizer, server):
        assert await verdict_of(authorizer, JANE, POD) == Verdict(True, "why not")
        assert server.asked[0].target == "/authorize?timeout=10s"
        assert server.asked[0].json == {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": {
                "resourceAttributes": {
                    "namespace": "n",
                    "verb": "get",
                    "version": "v1",
                    "resource": "pods",
                    "name": "p",
                },
                "user": "jane",
                "groups": ["devs", "system:authenticated"],
                "extra": {"scopes": ["a", "b"]},
                "uid": "7",
            },
            "status": {"allowed": False},
        }
        assert authorizer.rules(JANE, "n") == Rules(error="webhook authorizer does not support user rule resolution")
    async with asking(Reply(review("v1beta1", allowed=True)), version="v1beta1") as (authorizer, server):
        assert await verdict_of(authorizer, User("jane", groups=("g",)), parse("GET", "/version")) == Verdict(True)
        spec = {"nonResourceAttributes": {"path": "/version", "verb": "get"}, "user": "jane", "group": ["g"]}
        assert server.asked[0].json["spec"] == spec


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (review(allowed=True), Verdict(True)),
        (review(allowed=False, reason="no"), Verdict(False, "no")),
        (review(denied=True, reason="never"), Verdict(False, "never", denied=True)),
        (
            review(allowed=True, denied=True),
            Verdict(False, denied=True, error="webhook subject access review returned both allow and deny response"),
        ),
        (
            {"kind": "Status", "apiVersion": "v1"},
            "the webhook's answer is not a SubjectAccessReview of authorization.k8s.io/v1",
        ),
        (
            review("v1beta1", allowed=True),
            "the webhook's answer is not a SubjectAccessReview of authorization.k8s.io/v1",
        ),
        ({**review(), "status": None}, "the webhook's answer has no status"),
        (review(allowed="yes"), "the status of the webhook's answer is malformed"),
        ([1], "the webhook's answer is not an object"),
    ],
)
async def test_what_an_answer_means(reply: Any, verdict: Verdict | str) -> None:
    async with asking(Reply(reply)) as (authorizer, _):
        expected = Verdict(False, error=verdict) if isinstance(verdict, str) else verdict
        assert await verdict_of(authorizer, JANE, POD) == expected


async def test_no_answer(autojump_clock: trio.testing.MockClock) -> None:
    """It is asked five times; then what no answer means decides, and is not remembered."""
    del autojump_clock
    async with asking(Reply(status=500)) as (authorizer, server):
        verdict = await verdict_of(authorizer, JANE, POD)
        assert (verdict.allowed, verdict.denied, verdict.error) == (
            False,
            False,
            "the webhook answered with status 500",
        )
        assert len(server.asked) == 5
        await verdict_of(authorizer, JANE, POD)
        assert len(server.asked) == 10
    async with asking(Reply(status=404), denies_on_error=True) as (authorizer, server):
        assert (await verdict_of(authorizer, JANE, POD)).denied
        assert len(server.asked) == 1


async def test_how_long_answers_hold(mock_clock: trio.testing.MockClock) -> None:
    replies = (Reply(review(allowed=True)), Reply(review(allowed=False)))
    async with asking(*replies, authorized_seconds=300.0, unauthorized_seconds=30.0) as (authorizer, server):
        for seconds, asked, allowed in ((0, 1, True), (299, 1, True), (1, 2, False), (29, 2, False), (1, 3, False)):
            mock_clock.jump(seconds)
            assert (await verdict_of(authorizer, JANE, POD)).allowed is allowed
            assert len(server.asked) == asked
        await verdict_of(authorizer, User("jo"), POD)
        assert len(server.asked) == 4, "an answer is about one user"
        long = parse("GET", "/api/v1/namespaces/n/pods/" + "p" * 10_000)
        for _ in range(2):
            await verdict_of(authorizer, JANE, long)
        assert len(server.asked) == 6, "what clients make too long is not kept"
    async with asking(*replies, authorized_seconds=0.0, unauthorized_seconds=0.0) as (authorizer, server):
        for _ in range(3):
            await verdict_of(authorizer, JANE, POD)
        assert len(server.asked) == 3


def test_what_is_remembered_is_bounded() -> None:
    kept = Remembered(2)
    for name in "abc":
        kept.put((User(name), POD), Verdict(True), 10.0)
        kept.get((User("a"), POD), 0.0)
    assert len(kept) == 2
    assert kept.get((User("a"), POD), 9.0) == Verdict(True)
    assert kept.get((User("b"), POD), 9.0) is None
    assert kept.get((User("a"), POD), 10.0) is None


@pytest.mark.parametrize(
    ("selectors", "error"),
    [
        ({}, ""),
        (
            {
                "fieldSelector": {"rawSelector": "spec.nodeName=n,a!=b"},
                "labelSelector": {"rawSelector": "a in (b,c),!d"},
            },
            "",
        ),
        (
            {
                "fieldSelector": {
                    "requirements": [
                        {"key": "a", "operator": "In", "values": ["b", "c"]},
                        {"key": "d", "operator": "NotIn", "values": ["e"]},
                        {"key": "f", "operator": "Exists"},
                    ]
                },
                "labelSelector": {"requirements": [{"key": "-", "operator": "Exists"}]},
            },
            "[spec.resourceAttributes.fieldSelector partially ignored due to parse error, "
            "spec.resourceAttributes.labelSelector ignored due to parse error]",
        ),
        (
            {"fieldSelector": {"rawSelector": "a"}, "labelSelector": {"rawSelector": "=,"}},
            "[spec.resourceAttributes.fieldSelector ignored due to parse error, "
            "spec.resourceAttributes.labelSelector ignored due to parse error]",
        ),
    ],
)
def test_selectors_in_reviews(selectors: Object, error: str) -> None:
    spec = {"user": "jane", "resourceAttributes": {"verb": "list", "resource": "pods", **selectors}}
    info = asked_about(spec)
    assert evaluation_error(Verdict(False), info) == error
    again = asked_about(review_spec(subject_of(spec), info, "v1"))
    assert (again.fields, again.labels, again.verb, again.resource) == (info.fields, info.labels, "list", "pods")


def test_selectors_of_requests() -> None:
    """What no review can say is left out, so that it asks for more than the request does."""
    info = with_selectors(RequestInfo("", "list", is_resource=True, resource="pods"), "spec.nodeName=n", "a>1,b=c")
    asked = review_spec(JANE, info, "v1")["resourceAttributes"]
    assert asked["fieldSelector"] == {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n"]}]}
    assert asked["labelSelector"] == {"requirements": [{"key": "b", "operator": "In", "values": ["c"]}]}
