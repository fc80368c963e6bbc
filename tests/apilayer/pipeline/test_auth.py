"""Who asks, and what they may."""

from __future__ import annotations

import pytest

from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import ANONYMOUS, Authenticator, TokenFileError, User, parse_token_file
from apilayer.pipeline.authorization import Privileged, require
from apilayer.pipeline.request import Identity, Request
from apilayer.pipeline.request_info import parse

FILE = ['secret,admin,1,"system:masters,extra"', "", "plain,bob,2"]
MASTER = User("admin", groups=("system:masters",))
BOB = User("bob", groups=("devs", "system:authenticated"))


async def no_body() -> bytes:
    return b""


def request(certificate: Identity | None = None, **headers: str) -> Request:
    return Request("GET", "/", "", headers, certificate, no_body)


async def test_token_file() -> None:
    authenticator = Authenticator(parse_token_file(FILE))
    admin = await authenticator.authenticate(request(authorization="Bearer secret"))
    assert admin == User("admin", "1", ("system:masters", "extra", "system:authenticated"))
    bob = await authenticator.authenticate(request(authorization="bearer  plain "))
    assert bob == User("bob", "2", ("system:authenticated",))


@pytest.mark.parametrize("header", ["Bearer nobody", "Bearer secret2"])
async def test_wrong_tokens_are_refused(header: str) -> None:
    with pytest.raises(StatusError) as caught:
        await Authenticator(parse_token_file(FILE)).authenticate(request(authorization=header))
    assert caught.value.code == 401
    assert str(caught.value) == "Unauthorized"


@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic eA=="}, {"authorization": "Bearer "}])
async def test_nobody(headers: dict[str, str]) -> None:
    assert await Authenticator({}).authenticate(request(**headers)) is ANONYMOUS


async def test_a_certificate_names_user_and_groups_and_comes_first() -> None:
    identity = Identity("jane", ("devs",), "7", "ab")
    user = await Authenticator({}).authenticate(request(identity, authorization="Bearer nobody"))
    extra = (("authentication.kubernetes.io/credential-id", ("X509SHA256=ab",)),)
    assert user == User("jane", "7", ("devs", "system:authenticated"), extra)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["a,b"], "line 1: must have at least 3 columns"),
        (["a,b,c", ",b,c"], "line 2: empty token"),
        (["a,b,c", "a,x,y"], "line 2: the token occurs twice"),
    ],
)
def test_bad_token_files(lines: list[str], reason: str) -> None:
    with pytest.raises(TokenFileError, match=reason):
        parse_token_file(lines)


@pytest.mark.parametrize("path", ["/api/v1/pods", "/apis", "/metrics", "/healthz", "/"])
async def test_masters_may_do_everything(path: str) -> None:
    await require(Privileged(), MASTER, parse("POST", path))


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/version", "/livez/ping", "/version/"])
@pytest.mark.parametrize("user", [ANONYMOUS, BOB])
async def test_everybody_may_ask_how_it_is(user: User, path: str) -> None:
    await require(Privileged(), user, parse("GET", path))


async def refusal(user: User, method: str, path: str) -> StatusError:
    with pytest.raises(StatusError) as caught:
        await require(Privileged(), user, parse(method, path))
    return caught.value


@pytest.mark.parametrize("path", ["/api/v1/pods", "/apis", "/", "/healthzz", "/openapi/v2"])
async def test_nobody_may_do_nothing_else(path: str) -> None:
    error = await refusal(ANONYMOUS, "GET", path)
    assert error.code == 403
    assert 'User "system:anonymous" cannot ' in str(error)


@pytest.mark.parametrize(
    ("method", "path", "message"),
    [
        (
            "GET",
            "/api/v1/namespaces/n/pods",
            'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "n"',
        ),
        (
            "PUT",
            "/apis/apps/v1/namespaces/n/deployments/d/status",
            'deployments.apps "d" is forbidden: User "bob" cannot update resource "deployments/status" '
            'in API group "apps" in the namespace "n"',
        ),
        (
            "POST",
            "/api/v1/namespaces",
            'namespaces is forbidden: User "bob" cannot create resource "namespaces" in API group "" '
            "at the cluster scope",
        ),
        ("GET", "/apis", 'forbidden: User "bob" cannot get path "/apis"'),
        ("POST", "/healthz", 'forbidden: User "bob" cannot post path "/healthz"'),
    ],
)
async def test_somebody_is_told_what_is_missing(method: str, path: str, message: str) -> None:
    error = await refusal(BOB, method, path)
    assert (error.code, str(error)) == (403, message)
