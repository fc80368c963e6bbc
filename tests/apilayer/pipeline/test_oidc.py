"""Tokens of an OpenID Connect provider that runs here, and everything that somebody might pass off as one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from apilayer.pipeline.authentication import InvalidToken, NotOurs, User
from apilayer.pipeline.oidc.claims import JwtIssuer, user_of
from apilayer.pipeline.oidc.provider import MAX_AGE_SECONDS, MIN_REFRESH_SECONDS, OidcTokens, Provider
from apilayer.pipeline.oidc.signatures import MAX_KEYS, MAX_TOKEN_CHARS, parse_keys
from tests.apilayer.authority import Authority
from tests.apilayer.https_server import Reply
from tests.apilayer.oidc_provider import NOW, OidcProvider, ec_key, oidc_provider, rsa_key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trio

Object = dict[str, Any]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("oidc"))
    made.leaf("server", server=True)
    return made


@asynccontextmanager
async def issuing(authority: Authority, **changed: Any) -> AsyncIterator[tuple[OidcProvider, OidcTokens]]:
    """A provider, and the way of authentication that believes it."""
    async with oidc_provider(authority.server_context()) as provider:
        issuer = JwtIssuer(provider.url, ("kube", "other"), authorities=authority.pem, groups_claim="groups")
        issuer = attrs.evolve(issuer, **changed)
        keys = Provider(issuer)
        async with aclosing(keys):
            yield provider, OidcTokens(issuer, keys, ["api"], lambda: NOW)


async def test_a_token_names_its_user(authority: Authority, mock_clock: trio.testing.MockClock) -> None:
    async with issuing(authority) as (provider, tokens):
        assert provider.fetched("openid-configuration") == 0, "nobody is asked before there is a token"
        found = await tokens.authenticate(provider.token())
        assert (found.user, found.audiences) == (User("jane", groups=("devs",)), ("api",))
        await tokens.authenticate(provider.token(aud=["x", "other"]))
        await tokens.authenticate(provider.token(header={"alg": "PS512"}))
        with pytest.raises(NotOurs):
            await tokens.authenticate(provider.token(), ["vault"])
        assert (provider.fetched("openid-configuration"), provider.fetched("/keys?v=1")) == (1, 1)


async def test_keys_are_replaced(authority: Authority, mock_clock: trio.testing.MockClock) -> None:
    """A token of a new key makes us ask, at once; one that was taken back is believed for a while only."""
    async with issuing(authority) as (provider, tokens):
        old = provider.token()
        await tokens.authenticate(old)
        mock_clock.jump(MIN_REFRESH_SECONDS)
        provider.keys = [ec_key("two")]
        await tokens.authenticate(provider.token())
        assert provider.fetched("/keys?v=1") == 2
        with pytest.raises(InvalidToken, match="failed to verify id token signature"):
            await tokens.authenticate(old)
        provider.keys = [ec_key("three")]
        for _ in range(10):
            with pytest.raises(InvalidToken):
                await tokens.authenticate(old)
        assert provider.fetched("/keys?v=1") == 2, "bad tokens do not make us ask again and again"
        newest = provider.token()
        provider.broken = Reply(status=503)
        mock_clock.jump(MAX_AGE_SECONDS)
        two = provider.token(ec_key("two"))
        await tokens.authenticate(two)  # the keys that are known stay while the provider is away
        provider.broken = None
        mock_clock.jump(MIN_REFRESH_SECONDS)
        await tokens.authenticate(newest)
        with pytest.raises(InvalidToken):
            await tokens.authenticate(two)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Reply(status=500), {}),
        (Reply(b"{"), {}),
        (Reply(b"[]"), {}),
        (Reply(b"x" * 1_100_000), {}),
        (Reply(status=302, headers=(("Location", "/realm/keys?v=1"),)), {}),
        (None, {"issuer": "https://elsewhere"}),
        (None, {"jwks_uri": "http://127.0.0.1/keys"}),
        (None, {"jwks_uri": 7}),
        (None, {"jwks_uri": "https://127.0.0.1:1/keys"}),
    ],
)
async def test_a_provider_that_says_nothing_useful(
    authority: Authority, mock_clock: trio.testing.MockClock, broken: Reply | None, said: Object
) -> None:
    async with issuing(authority) as (provider, tokens):
        provider.broken, provider.said = broken, said
        with pytest.raises(InvalidToken, match="oidc: authenticator not initialized"):
            await tokens.authenticate(provider.token())
        provider.broken, provider.said = None, {}
        mock_clock.jump(MIN_REFRESH_SECONDS)
        await tokens.authenticate(provider.token())


async def test_a_provider_with_another_certificate_is_not_asked(authority: Authority, tmp_path: Any) -> None:
    async with issuing(authority, authorities=Authority(tmp_path).pem) as (provider, tokens):
        with pytest.raises(InvalidToken, match="not initialized"):
            await tokens.authenticate(provider.token())
        assert provider.fetched("") == 0


# ---------------------------------------------------------------------- what is no token of the provider


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def resigned(provider: OidcProvider, header: Object, key: bytes = b"") -> str:
    """With a header of our own, and a MAC by that key."""
    body = f"{part(header)}.{part(provider.claims())}"
    mac = hmac.new(key, body.encode(), hashlib.sha256).digest() if key else b""
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tampered(provider: OidcProvider) -> str:
    head, _, signature = provider.token().split(".")
    return f"{head}.{part(provider.claims(sub='root'))}.{signature}"


HOSTILE: dict[str, tuple[Any, str]] = {
    "expired": (lambda p: p.token(exp=int(NOW) - 1), "token is expired"),
    "without an end": (lambda p: p.token(exp=None), "token is expired"),
    "with an end that is no time": (lambda p: p.token(exp="never"), "exp is no time"),
    "with an end beyond time": (lambda p: p.token(exp=1e300), "exp is no time"),
    "not yet valid": (lambda p: p.token(nbf=int(NOW) + 301), "before the nbf"),
    "for another audience": (
        lambda p: p.token(aud="vault"),
        'expected audience in \\["kube" "other"\\] got \\["vault"\\]',
    ),
    "for no audience": (lambda p: p.token(aud=None), "expected audience"),
    "for an audience that is no text": (lambda p: p.token(aud=[["kube"]]), "expected audience"),
    "unsigned": (lambda p: resigned(p, {"alg": "none"}), "unexpected signature algorithm"),
    "unsigned, spelled otherwise": (lambda p: resigned(p, {"alg": "nOnE", "kid": "one"}), "unexpected signature"),
    "signed with the public key as a secret": (
        lambda p: resigned(p, {"alg": "HS256", "kid": "one"}, rsa_key("one").as_pem(private=False)),
        "unexpected signature algorithm",
    ),
    "with an algorithm of another kind of key": (
        lambda p: resigned(p, {"alg": "ES256", "kid": "one"}, b"x"),
        "failed to verify",
    ),
    "with an algorithm that is no text": (lambda p: resigned(p, {"alg": ["RS256"]}), "unexpected signature"),
    "with a header that must be understood": (
        lambda p: resigned(p, {"alg": "RS256", "crit": ["b64"], "b64": False}, b"x"),
        "unsupported header",
    ),
    "with its own key": (
        lambda p: p.token(rsa_key("mine"), {"jwk": rsa_key("mine").as_dict(private=False), "kid": "one"}),
        "failed to verify",
    ),
    "with the name of another key": (lambda p: p.token(header={"kid": "other"}), "failed to verify"),
    "tampered with": (tampered, "failed to verify"),
    "cut short": (lambda p: p.token()[:-4], "failed to verify"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_tokens(authority: Authority, mock_clock: trio.testing.MockClock, name: str) -> None:
    make, reason = HOSTILE[name]
    async with issuing(authority) as (provider, tokens):
        with pytest.raises((InvalidToken, NotOurs), match=reason):
            await tokens.authenticate(make(provider))


async def test_what_is_none_of_the_issuers_tokens(authority: Authority) -> None:
    """Nobody is asked, and nothing computed, for what is of another form or issuer, huge or nested."""
    nested = "[" * 100_000 + "]" * 100_000
    deep = base64.urlsafe_b64encode(('{"iss":' + nested + "}").encode()).decode()
    async with issuing(authority) as (provider, tokens):
        for token in (
            "",
            "a.b",
            "a.b.c.d",
            ".".join("abc"),
            "." * 1000,
            "\udce4.x.y",
            f"e30.{part([])}.x",
            f"e30.{part({'iss': 7})}.x",
            f"e30.{deep[: MAX_TOKEN_CHARS - 10]}.x",
            f"e30.{base64.urlsafe_b64encode(nested[80_000:120_000].encode()).decode()}.x",
            provider.token(padding="x" * MAX_TOKEN_CHARS),
            provider.token(iss="https://elsewhere"),
            provider.token(iss=provider.url + "/"),
        ):
            with pytest.raises(NotOurs):
                await tokens.authenticate(token)
        assert provider.fetched("") == 0


def test_keys_that_cannot_verify_are_left_out() -> None:
    good = rsa_key("one").as_dict(private=False)
    odd = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {**good, "use": "enc"},
        rsa_key("one").as_dict(private=True),
        "no object",
    ]
    known = parse_keys({"keys": [good, *odd]})
    assert [key.key_id for key in known if key.algorithms] == ["one"]
    (bound,) = parse_keys({"keys": [{**good, "alg": "RS384"}]})
    assert bound.algorithms == {"RS384"}
    for document in (None, [], {}, {"keys": {}}, {"keys": [good] * (MAX_KEYS + 1)}):
        with pytest.raises(ValueError, match=r"not a JSON Web Key Set|more than 100 keys"):
            parse_keys(document)


# ---------------------------------------------------------------------- what claims mean

ISSUER = JwtIssuer(
    "https://i",
    ("kube",),
    username_prefix="p:",
    groups_claim="groups",
    groups_prefix="g:",
    uid_claim="oid",
    required=(("hd", "acme"),),
)
CLAIMS: Object = {"sub": "jane", "groups": ["a", "b"], "oid": "7", "hd": "acme"}


@pytest.mark.parametrize(
    ("issuer", "claims", "user"),
    [
        ({}, {}, User("p:jane", "7", ("g:a", "g:b"))),
        ({}, {"groups": "one"}, User("p:jane", "7", ("g:one",))),
        ({}, {"groups": None}, User("p:jane", "7")),
        ({"groups_claim": "", "username_prefix": "", "uid_claim": ""}, {}, User("jane")),
        ({"username_claim": "email"}, {"email": "e", "email_verified": True}, User("p:e", "7", ("g:a", "g:b"))),
        ({"username_claim": "email"}, {"email": "e"}, User("p:e", "7", ("g:a", "g:b"))),
    ],
)
def test_claims_to_users(issuer: Object, claims: Object, user: User) -> None:
    assert user_of(attrs.evolve(ISSUER, **issuer), {**CLAIMS, **claims}) == user


MISSING = object()


@pytest.mark.parametrize(
    ("issuer", "claims", "message"),
    [
        ({}, {"sub": MISSING}, 'oidc: parse username claims "sub": claim not present'),
        (
            {},
            {"sub": 7},
            'oidc: parse username claims "sub": json: cannot unmarshal number into Go value of type string',
        ),
        ({}, {"sub": ""}, 'oidc: parse username claims "sub": claim is empty'),
        (
            {},
            {"groups": [1]},
            'oidc: parse groups claim "groups": json: cannot unmarshal array into Go value of type string',
        ),
        ({}, {"oid": MISSING}, 'oidc: parse uid claim "oid": claim not present'),
        ({}, {"hd": MISSING}, "oidc: required claim hd not present in ID token"),
        ({}, {"hd": "evil"}, "oidc: required claim hd value does not match. Got = evil, want = acme"),
        ({}, {"hd": ["acme"]}, "oidc: parse claim hd: json: cannot unmarshal array into Go value of type string"),
        ({"username_claim": "email"}, {"email": "e", "email_verified": False}, "oidc: email not verified"),
        (
            {"username_claim": "email"},
            {"email": "e", "email_verified": "true"},
            "oidc: parse 'email_verified' claim: json: cannot unmarshal string into Go value of type bool",
        ),
        (
            {},
            {"groups": MISSING, "_claim_names": {"groups": "src"}},
            "oidc: could not expand distributed claims: they are not part of this server",
        ),
    ],
)
def test_claims_that_name_nobody(issuer: Object, claims: Object, message: str) -> None:
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not MISSING}
    with pytest.raises(InvalidToken) as caught:
        user_of(attrs.evolve(ISSUER, **issuer), said)
    assert str(caught.value) == message
