"""Tokens: how long they live, what ends them, and what is not believed."""

from __future__ import annotations

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from kvraft.auth import tokens as simple
from kvraft.auth.identity import Credentials, Identity
from kvraft.auth.jwt import MAX_REMEMBERED, JwtTokens
from kvraft.auth.tokens import SimpleTokens, digest, index_of, join, new_secret


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def granted(tokens: SimpleTokens, user: str) -> str:
    secret = new_secret()
    tokens.assign(digest(secret), user)
    return join(secret, 7)


def test_a_token_lives_as_long_as_it_is_used() -> None:
    clock = Clock()
    tokens = SimpleTokens(300, clock)
    used, unused = granted(tokens, "alice"), granted(tokens, "alice")
    clock.now += 200
    assert tokens.user_of(used) == "alice"
    clock.now += 100
    assert tokens.user_of(unused) is None
    assert tokens.user_of(used) == "alice"
    clock.now += 300
    assert tokens.user_of(used) is None
    assert len(tokens) == 0


def test_the_tokens_of_one_user_end_together() -> None:
    tokens = SimpleTokens(300, Clock())
    alice, again, bob = granted(tokens, "alice"), granted(tokens, "alice"), granted(tokens, "bob")
    tokens.invalidate("alice")
    assert [tokens.user_of(token) for token in (alice, again, bob)] == [None, None, "bob"]
    tokens.clear()
    assert tokens.user_of(bob) is None


def test_the_same_grant_may_be_applied_twice() -> None:
    tokens = SimpleTokens(300, Clock())
    secret = new_secret()
    tokens.assign(digest(secret), "alice")
    tokens.assign(digest(secret), "alice")
    assert len(tokens) == 1
    tokens.invalidate("alice")
    assert len(tokens) == 0


def test_there_is_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simple, "MAX_TOKENS", 2)
    tokens = SimpleTokens(300, Clock())
    first, second = granted(tokens, "alice"), granted(tokens, "bob")
    assert tokens.user_of(first) == "alice"  # now the second is the one that ends first
    third = granted(tokens, "carol")
    assert [tokens.user_of(token) for token in (first, second, third)] == ["alice", None, "carol"]


@pytest.mark.parametrize("token", ["", "x", ".", "x.", "x.y", "x.-1", "x.1.2", "x.٣", "x" * 200 + ".1"])
def test_what_is_no_simple_token(token: str) -> None:
    assert index_of(token) is None
    assert SimpleTokens(300, Clock()).user_of(token) is None


def test_secrets_differ_and_do_not_show() -> None:
    assert new_secret() != new_secret()
    assert "s3cret" not in repr(Credentials("s3cret.1", "cn"))


# ---------------------------------------------------------------------- signed tokens

PRIVATE = {
    "RS256": rsa.generate_private_key(65537, 2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
PRIVATE["PS384"] = PRIVATE["RS256"]
HMAC_KEY = b"k" * 64


def private_pem(method: str) -> bytes:
    return PRIVATE[method].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def public_pem(method: str) -> bytes:
    return (
        PRIVATE[method]
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def files(method: str) -> dict[str, bytes]:
    if method.startswith("HS"):
        return {"priv": HMAC_KEY}
    return {"priv": private_pem(method), "pub": public_pem(method)}


def made(method: str, clock: Clock, **others: str) -> JwtTokens:
    return JwtTokens({"sign-method": method, "priv-key": "priv", **others}, files(method).__getitem__, clock)


@pytest.mark.parametrize("method", ["HS256", "HS512", *PRIVATE])
def test_what_was_signed_is_believed_until_its_end(method: str) -> None:
    clock = Clock()
    tokens = made(method, clock, ttl="5m")
    token = tokens.sign(Identity("alice", 12))
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims == {"username": "alice", "revision": 12, "exp": 1300}
    assert tokens.read(token) == Identity("alice", 12)
    clock.now = 1299
    assert tokens.read(token) == Identity("alice", 12)
    clock.now = 1300
    assert tokens.read(token) is None


def test_who_has_the_public_key_alone_can_read() -> None:
    clock = Clock()
    reader = JwtTokens({"sign-method": "RS256", "pub-key": "pub"}, files("RS256").__getitem__, clock)
    assert reader.verify_only
    assert reader.read(made("RS256", clock).sign(Identity("alice", 1))) == Identity("alice", 1)


def test_what_is_not_believed() -> None:
    clock = Clock()
    tokens = made("RS256", clock)
    good = tokens.sign(Identity("alice", 1))
    head, body, signature = good.split(".")
    other = rsa.generate_private_key(65537, 2048)
    for bad in (
        "",
        "x.y.z",
        f"{head}.{body}.{signature[::-1]}",
        jwt.encode({"username": "alice", "revision": 1, "exp": 2000}, other, algorithm="RS256"),
        jwt.encode({"username": "alice", "revision": 1, "exp": 2000}, HMAC_KEY, algorithm="HS256"),
        jwt.encode({"username": "alice", "revision": 1, "exp": 2000}, "", algorithm="none"),
        jwt.encode({"username": 3, "revision": 1, "exp": 2000}, PRIVATE["RS256"], algorithm="RS256"),
        jwt.encode({"username": "alice", "revision": "1", "exp": 2000}, PRIVATE["RS256"], algorithm="RS256"),
        jwt.encode({"username": "alice", "exp": 2000}, PRIVATE["RS256"], algorithm="RS256"),
        jwt.encode({"username": "alice", "revision": 1, "exp": 999}, PRIVATE["RS256"], algorithm="RS256"),
        "a" * 20_000,
    ):
        assert tokens.read(bad) is None, bad
    assert tokens.read(good) is not None


def test_what_is_remembered_has_a_bound() -> None:
    tokens = made("HS256", Clock())
    for number in range(MAX_REMEMBERED + 5):
        assert tokens.read(tokens.sign(Identity(f"user{number}", 1)))
    assert len(tokens._remembered) == MAX_REMEMBERED


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"priv-key": "priv"}, 'sign-method: unknown method ""'),
        ({"sign-method": "none", "priv-key": "priv"}, 'sign-method: unknown method "none"'),
        ({"sign-method": "RS256"}, "pub-key, priv-key: one of them is required"),
        ({"sign-method": "HS256"}, "priv-key: is required"),
        ({"sign-method": "ES256", "priv-key": "priv"}, "priv-key: is no key for ES256"),
        ({"sign-method": "ES256", "pub-key": "pub"}, "pub-key: is no key for ES256"),
        ({"sign-method": "RS256", "priv-key": "priv", "pub-key": "other"}, "pub-key: does not belong to priv-key"),
        ({"sign-method": "RS256", "priv-key": "priv", "ttl": "5 minutes"}, "ttl: invalid duration"),
        ({"sign-method": "RS256", "priv-key": "priv", "ttl": "0s"}, "ttl: must be positive"),
        ({"sign-method": "RS256", "priv-key": "priv", "alg": "x"}, 'unknown option "alg"'),
        ({"sign-method": "RS256", "priv-key": "garbage"}, "."),
    ],
)
def test_options_that_do_not_fit(options: dict[str, str], reason: str) -> None:
    other = rsa.generate_private_key(65537, 2048).public_key()
    known = {
        **files("RS256"),
        "garbage": b"garbage",
        "other": other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
    }
    with pytest.raises(ValueError, match=reason):
        JwtTokens(options, known.__getitem__, Clock())
