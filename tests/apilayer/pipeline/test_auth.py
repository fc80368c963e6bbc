"""Who asks, and what they may."""

from __future__ import annotations

import pytest

from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import ANONYMOUS, Authenticator, TokenFileError, User, parse_token_file
from apilayer.pipeline.authorization import Constant, Privileged, Verdict, require
from apilayer.pipeline.impersonation import impersonate
from apilayer.pipeline.request import Identity, Request
from apilayer.pipeline.request_info import RequestInfo, parse

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


INFO = parse("GET", "/api/v1/namespaces/n/pods")


async def acting(user: User, **headers: str) -> User:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await impersonate(Privileged(), user, named, INFO)


async def test_masters_may_act_as_others() -> None:
    assert await acting(MASTER) is MASTER
    jane = await acting(MASTER, impersonate_user="jane", impersonate_group="a,b", impersonate_uid="7")
    assert jane == User("jane", "7", ("a", "b", "system:authenticated"))
    account = await acting(MASTER, impersonate_user="system:serviceaccount:ns:sa")
    assert account.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert await acting(MASTER, impersonate_user="system:anonymous") == ANONYMOUS
    extra = {"impersonate-user": "jane", "impersonate-extra-acme.com%2fP": "x", "impersonate-extra-scopes": "a,b"}
    assert (await impersonate(Privileged(), MASTER, extra, INFO)).extra == (
        ("acme.com/p", ("x",)),
        ("scopes", ("a", "b")),
    )


@pytest.mark.parametrize(
    ("user", "headers", "code", "message"),
    [
        (
            BOB,
            {"impersonate_user": "jane", "impersonate_group": "system:masters"},
            403,
            'pods is forbidden: User "bob" cannot impersonate-on:user-info:list resource "pods" '
            'in API group "" in the namespace "n"',
        ),
        (
            ANONYMOUS,
            {"impersonate_user": "jane"},
            403,
            'pods is forbidden: User "system:anonymous" cannot impersonate-on:user-info:list resource "pods" '
            'in API group "" in the namespace "n"',
        ),
        (
            MASTER,
            {"impersonate_group": "g"},
            400,
            'requested &user.DefaultInfo{Name:"", UID:"", Groups:[]string{"g"}, Extra:map[string][]string(nil)} '
            "without impersonating a user name",
        ),
    ],
)
async def test_others_may_not(user: User, headers: dict[str, str], code: int, message: str) -> None:
    with pytest.raises(StatusError) as caught:
        await acting(user, **headers)
    assert (caught.value.code, str(caught.value)) == (code, message)


class May(Constant):
    """Allows impersonating these alone."""

    def __init__(self, *allowed: str) -> None:
        super().__init__(Verdict(False))
        self.allowed = allowed

    def decide(self, user: User, info: RequestInfo) -> Verdict:
        part = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        return Verdict(
            info.verb == "impersonate" and f"{info.group}|{part}|{info.namespace}|{info.name}" in self.allowed
        )


ALL_OF_JANE = ("|users||jane", "|groups||g", "authentication.k8s.io|uids||7", "authentication.k8s.io|userextras/k||v")


@pytest.mark.parametrize("missing", ["", *ALL_OF_JANE])
async def test_each_part_of_somebody_must_be_allowed(missing: str) -> None:
    headers = {"impersonate-user": "jane", "impersonate-group": "g", "impersonate-uid": "7", "impersonate-extra-k": "v"}
    may = May(*(part for part in ALL_OF_JANE if part != missing))
    if not missing:
        assert (await impersonate(may, BOB, headers, INFO)).name == "jane"
        return
    with pytest.raises(StatusError):
        await impersonate(may, BOB, headers, INFO)


async def test_an_account_is_impersonated_in_its_namespace() -> None:
    headers = {"impersonate-user": "system:serviceaccount:ns:sa"}
    assert (await impersonate(May("|serviceaccounts|ns|sa"), BOB, headers, INFO)).name == "system:serviceaccount:ns:sa"
