"""Each way to prove who one is, decided from what the request shows: front proxies, passwords, bootstrap tokens."""

from __future__ import annotations

import base64
from contextlib import suppress
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest

from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import (
    ANONYMOUS,
    Anonymous,
    Authenticator,
    Certificates,
    InvalidCredential,
    NotOurs,
    TokenFileError,
    User,
    parse_token_file,
)
from apilayer.pipeline.authentication_counts import AuthenticationCounts
from apilayer.pipeline.bootstrap_tokens import BootstrapTokens
from apilayer.pipeline.front_proxy import FrontProxy, ProxyHeaders
from apilayer.pipeline.passwords import Passwords, parse_password_file
from apilayer.pipeline.request import Identity, Request, joined

PROXY_CA, CLIENT_CA = frozenset({"proxies"}), frozenset({"clients"})
NAMES = ProxyHeaders(("X-Remote-User", "X-Other-User"), ("X-Remote-Uid",), ("X-Remote-Group",), ("X-Remote-Extra-",))
PROXY = FrontProxy(NAMES, {"proxy"}, lambda: PROXY_CA, lambda: 1000.0)


async def no_body() -> bytes:
    return b""


def several(*values: str) -> str:
    """A header that came so often."""
    return reduce(joined, values)


def request(headers: dict[str, str], certificate: Identity | None = None, path: str = "/") -> Request:
    return Request("GET", path, "", dict(headers), certificate, no_body)


def identity(name: str = "proxy", authorities: frozenset[str] = PROXY_CA, **more: Any) -> Identity:
    return Identity(name, (), authorities=authorities, **more)


async def refused(authenticator: Authenticator, asked: Request) -> bool:
    with pytest.raises(StatusError) as caught:
        await authenticator.authenticate(asked)
    assert str(caught.value) == "Unauthorized"
    return caught.value.code == 401


# ---------------------------------------------------------------------- front proxies


def test_a_proxy_names_whom_it_asks_for() -> None:
    headers = {
        "x-remote-user": "jane",
        "x-remote-uid": "7",
        "x-remote-group": several("a,b", "c", ""),
        "x-remote-extra-scopes": several("x", "y"),
        "x-remote-extra-acme.com%2fproject": "p",
        "accept": "*/*",
    }
    asked = request(headers, identity())
    extra = (("acme.com/project", ("p",)), ("scopes", ("x", "y")))
    assert PROXY(asked) == User("jane", "7", ("a,b", "c"), extra), "a comma in a group makes no second group"
    assert asked.headers == {"accept": "*/*"}, "nothing behind this may see them"


def test_the_first_header_that_is_there_counts() -> None:
    found = PROXY(request({"x-remote-user": "", "x-other-user": "joe"}, identity()))
    assert found == User("joe")


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (identity("intruder"), "subject with cn=intruder is not in the allowed list"),
        (identity("proxy", CLIENT_CA), "certificate signed by unknown authority"),
        (identity("proxy", frozenset()), "certificate signed by unknown authority"),
        (identity(expires=999), "certificate has expired"),
    ],
)
def test_who_is_no_proxy(certificate: Identity, reason: str) -> None:
    asked = request({"x-remote-user": "root"}, certificate)
    with pytest.raises(InvalidCredential, match=reason):
        PROXY(asked)


def test_without_certificate_the_headers_mean_nothing() -> None:
    assert PROXY(request({"x-remote-user": "root"})) is None
    assert PROXY(request({"accept": "*/*"}, identity())) is None


@pytest.mark.parametrize("name", ["x-remote-user", "x-remote-uid"])
async def test_a_name_given_twice_is_refused(name: str) -> None:
    """The client's own may stand before the proxy's; it never falls back to who the proxy itself is."""
    headers = {"x-remote-user": "jane", name: several("root", "jane")}
    everybody = Authenticator({}, requests=[PROXY, Certificates()])
    assert await refused(everybody, request(headers, identity()))


async def test_any_name_is_allowed_when_none_is_said() -> None:
    proxy = FrontProxy(NAMES, (), lambda: PROXY_CA)
    user = await Authenticator({}, requests=[proxy]).authenticate(request({"x-remote-user": "u"}, identity("any")))
    assert user == User("u", groups=("system:authenticated",))


@pytest.mark.parametrize("group", ["system:authenticated", "system:unauthenticated"])
async def test_a_proxy_may_say_whether_somebody_is_known(group: str) -> None:
    headers = {"x-remote-user": "u", "x-remote-group": group}
    user = await Authenticator({}, requests=[PROXY]).authenticate(request(headers, identity()))
    assert user.groups == (group,)


# ---------------------------------------------------------------------- certificates


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (identity("jane", PROXY_CA), "unknown authority"),
        (identity("jane", CLIENT_CA, expires=999), "has expired"),
        (identity("jane", CLIENT_CA, flaw="expected 1 UID, but found multiple"), "expected 1 UID"),
    ],
)
async def test_certificates_that_do_not_hold(certificate: Identity, reason: str) -> None:
    way = Certificates(lambda: CLIENT_CA, lambda: 1000.0)
    with pytest.raises(InvalidCredential, match=reason):
        way(request({}, certificate))
    both = Authenticator(parse_token_file(["good,joe,1"]), requests=[way])
    assert await refused(both, request({}, certificate)), "never nobody"
    asked = request({"authorization": "Bearer good"}, certificate)
    assert (await both.authenticate(asked)).name == "joe", "another way may know who it is"


async def test_an_authority_that_is_taken_out_vouches_no_longer() -> None:
    trusted = set(CLIENT_CA)
    way = Certificates(lambda: trusted)
    asked = request({}, identity("jane", CLIENT_CA))
    assert way(asked) == User("jane")
    trusted.clear()
    with pytest.raises(InvalidCredential):
        way(asked)


def test_a_certificate_without_a_name_names_nobody() -> None:
    assert Certificates()(request({}, identity(""))) is None


# ---------------------------------------------------------------------- passwords

PASSWORDS = Passwords(parse_password_file(['p:w\u00e4,jane,7,"devs, ops"', "plain,joe,2"]))


def basic(text: str, scheme: str = "Basic") -> dict[str, str]:
    return {"authorization": f"{scheme} {base64.b64encode(text.encode()).decode()}"}


async def test_passwords() -> None:
    authenticator = Authenticator({}, requests=[PASSWORDS])
    asked = request(basic("jane:p:w\u00e4", "bAsIc"))
    assert await authenticator.authenticate(asked) == User("jane", "7", ("devs", "ops", "system:authenticated"))
    assert not asked.headers, "the password goes no further"


@pytest.mark.parametrize(
    "headers",
    [
        basic("jane:wrong"),
        basic("jane:"),
        basic("nobody:plain"),
        basic(":"),
        basic("jane"),
        basic(""),
        {"authorization": "Basic %%%"},
        {"authorization": "Basic gICA"},
        {"authorization": several("Basic am9lOnBsYWlu", "Basic am9lOnBsYWlu")},
        {"authorization": several("Bearer x", "Basic am9lOnBsYWlu")},
    ],
)
async def test_wrong_passwords(headers: dict[str, str]) -> None:
    assert await refused(Authenticator({}, requests=[PASSWORDS]), request(headers))


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["a,b"], "line 1: must have at least 3 columns"),
        (["a,b,c", ",b,c"], "line 2: empty password"),
        (["a,,c"], "line 1: empty user name"),
        (["a,b,c", "d,b,e"], "line 2: the user occurs twice"),
    ],
)
def test_bad_password_files(lines: list[str], reason: str) -> None:
    with pytest.raises(TokenFileError, match=reason):
        parse_password_file(lines)


# ---------------------------------------------------------------------- bootstrap tokens

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
DATA = {
    "token-id": "abcdef",
    "token-secret": "0123456789abcdef",
    "usage-bootstrap-authentication": "true",
    "expiration": "2026-01-01T12:00:00Z",
    "auth-extra-groups": "system:bootstrappers:worker,system:bootstrappers:eu:1",
}
TOKEN = "abcdef.0123456789abcdef"


def bootstrap(data: dict[str, str], /, **changed: Any) -> BootstrapTokens:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    secret = {"metadata": {}, "type": "bootstrap.kubernetes.io/token", "data": encoded, **changed}
    known = {("secrets", "kube-system", "bootstrap-token-abcdef"): secret}
    return BootstrapTokens(lambda *where: known.get(where), ["api"], lambda: NOW)


async def test_a_bootstrap_token_names_its_groups() -> None:
    found = await bootstrap(DATA).authenticate(TOKEN)
    groups = ("system:bootstrappers", "system:bootstrappers:eu:1", "system:bootstrappers:worker")
    assert (found.user, found.audiences) == (User("system:bootstrap:abcdef", groups=groups), ("api",))
    plain = {key: value for key, value in DATA.items() if key not in ("expiration", "auth-extra-groups")}
    assert (await bootstrap(plain).authenticate(TOKEN)).user.groups == ("system:bootstrappers",)


@pytest.mark.parametrize(
    "changed",
    [
        {"token-secret": "0123456789abcdee"},
        {"token-secret": ""},
        {"token-id": "abcdeg"},
        {"expiration": "2026-01-01T11:59:59Z"},
        {"expiration": "tomorrow"},
        {"expiration": "2027-01-01T00:00:00"},
        {"usage-bootstrap-authentication": "True"},
        {"usage-bootstrap-authentication": ""},
        {"auth-extra-groups": "system:masters"},
        {"auth-extra-groups": "system:bootstrappers:"},
        {"auth-extra-groups": "system:bootstrappers:a,"},
    ],
)
async def test_bootstrap_tokens_that_do_not_hold(changed: dict[str, str]) -> None:
    with pytest.raises(NotOurs):
        await bootstrap({**DATA, **changed}).authenticate(TOKEN)


@pytest.mark.parametrize("token", ["abcdef", "ABCDEF.0123456789abcdef", f"{TOKEN}\n", f"{TOKEN}0", "x.y", "../../x.y"])
async def test_what_is_no_bootstrap_token(token: str) -> None:
    with pytest.raises(NotOurs, match="of another form"):
        await bootstrap(DATA).authenticate(token)


@pytest.mark.parametrize("changed", [{"type": "Opaque"}, {"metadata": {"deletionTimestamp": "x"}}, {"data": None}])
async def test_other_secrets_are_no_bootstrap_tokens(changed: dict[str, Any]) -> None:
    with pytest.raises(NotOurs):
        await bootstrap(DATA, **changed).authenticate(TOKEN)


async def test_a_bootstrap_token_is_for_the_server_alone() -> None:
    with pytest.raises(NotOurs, match="meant for others"):
        await bootstrap(DATA).authenticate(TOKEN, ["vault"])


# ---------------------------------------------------------------------- nobody, and several at once


async def test_nobody_may_be_let_in_for_some_paths_alone() -> None:
    some = Authenticator({}, anonymous=Anonymous(paths=("/livez",)))
    assert await some.authenticate(request({}, path="/livez")) is ANONYMOUS
    for path in ("/livez/", "/livez/ping", "/LIVEZ", "//livez", "/x/../livez", "/api"):
        assert await refused(some, request({}, path=path))
    assert await refused(Authenticator({}, anonymous=Anonymous(enabled=False)), request({}))


@pytest.mark.parametrize(
    "header",
    [
        several("Bearer good", "Bearer good"),
        several("Bearer good", "Bearer bad"),
        several("Basic x", "Bearer good"),
        several("", "Bearer good"),
        "Bearer good evil",
        "Bearer good,Bearer good",
    ],
)
async def test_two_credentials_in_one_are_refused(header: str) -> None:
    authenticator = Authenticator(parse_token_file(["good,joe,1"]))
    assert await refused(authenticator, request({"authorization": header})), "nor taken for nobody's"


async def test_a_token_goes_no_further_than_here() -> None:
    asked = request({"authorization": "Bearer good"})
    await Authenticator(parse_token_file(["good,joe,1"])).authenticate(asked)
    assert "authorization" not in asked.headers


async def test_attempts_are_counted_by_how_they_end() -> None:
    authenticator = Authenticator(parse_token_file(["good,joe@x,1"]), anonymous=Anonymous(paths=("/livez",)))
    for path, headers in (
        ("/livez", {}),
        ("/", {"authorization": "Bearer good"}),
        ("/", {}),
        ("/", {"authorization": "Bearer bad"}),
        ("/", {"authorization": "Bearer worse"}),
    ):
        with suppress(StatusError):
            await authenticator.authenticate(request(headers, path=path))
    counted = {result: sum(found.counts) for result, found in authenticator.counts.durations.items()}
    assert counted == {"success": 2, "failure": 1, "error": 2}
    assert authenticator.counts.users == {"other": 1, "email_id": 1}
    counts = AuthenticationCounts()
    for name in ("admin", "jane", "a@b"):
        counts.request_of(name)
    assert counts.users == {"admin": 1, "other": 1, "email_id": 1}
