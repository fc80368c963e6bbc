"""Tokens of service accounts: who they name, and what makes them worth nothing."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from apilayer.pipeline.account_keys import KeyFileError, key_set, read_signing_key, read_verifying_keys
from apilayer.pipeline.account_tokens import MAX_TOKEN_CHARS, AccountTokens, Bindings
from apilayer.pipeline.authentication import Authenticator, InvalidToken, NotOurs, TokenError, User, parse_token_file

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ISSUER = "https://issuer"


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


EC_KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ACCOUNT: Object = {"metadata": {"name": "sa", "namespace": "ns", "uid": "u-sa"}}
POD: Object = {"metadata": {"name": "p", "namespace": "ns", "uid": "u-p"}}
NODE: Object = {"metadata": {"name": "n", "uid": "u-n"}}


class Cluster:
    """What there is, and a clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.refreshed = 0
        self.objects = {("serviceaccounts", "ns", "sa"): ACCOUNT, ("pods", "ns", "p"): POD, ("nodes", "", "n"): NODE}

    def lookup(self, resource: str, namespace: str, name: str) -> Object | None:
        return self.objects.get((resource, namespace, name))

    async def refresh(self) -> None:
        self.refreshed += 1

    def tokens(self, key: Any = EC_KEY, further: bytes = b"", issuers: tuple[str, ...] = (ISSUER,)) -> AccountTokens:
        verifying = read_verifying_keys(further) if further else []
        signing = read_signing_key(private_pem(key))
        return AccountTokens(signing, verifying, issuers, ["api"], self.lookup, self.refresh, lambda: self.now)


def claims(token: str) -> Object:
    found: Object = jwt.decode(token, options={"verify_signature": False})
    return found


async def user_of(cluster: Cluster, token: str, tokens: AccountTokens | None = None) -> User:
    return (await (tokens or cluster.tokens()).authenticate(token)).user


@pytest.mark.parametrize(("key", "algorithm"), [(EC_KEY, "ES256"), (RSA_KEY, "RS256")])
async def test_a_token_names_its_account(key: Any, algorithm: str) -> None:
    cluster = Cluster()
    tokens = cluster.tokens(key)
    token = tokens.issue(ACCOUNT, Bindings(pod=POD, node=NODE), ["api", "other"], 600)
    header = jwt.get_unverified_header(token)
    assert header == {"alg": algorithm, "kid": next(iter(tokens.keys))}
    said = claims(token)
    assert (said["exp"] - said["iat"], said["aud"], said["iss"]) == (600, ["api", "other"], ISSUER)
    assert said["kubernetes.io"] == {
        "namespace": "ns",
        "node": {"name": "n", "uid": "u-n"},
        "pod": {"name": "p", "uid": "u-p"},
        "serviceaccount": {"name": "sa", "uid": "u-sa"},
    }
    found = await tokens.authenticate(token)
    assert found.audiences == ("api",)
    assert found.user == User(
        "system:serviceaccount:ns:sa",
        "u-sa",
        ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"),
        (
            ("authentication.kubernetes.io/credential-id", (f"JTI={said['jti']}",)),
            ("authentication.kubernetes.io/node-name", ("n",)),
            ("authentication.kubernetes.io/node-uid", ("u-n",)),
            ("authentication.kubernetes.io/pod-name", ("p",)),
            ("authentication.kubernetes.io/pod-uid", ("u-p",)),
        ),
    )
    assert (await tokens.authenticate(token, ["other", "third"])).audiences == ("other",)


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(0, ""), (600, ""), (601, "service account token has expired"), (-1, "service account token is not valid yet")],
)
async def test_a_token_has_its_time(seconds: int, reason: str) -> None:
    cluster = Cluster()
    tokens = cluster.tokens()
    token = tokens.issue(ACCOUNT, Bindings(), ["api"], 600)
    await user_of(cluster, token, tokens)  # its signature is remembered, its time is not
    cluster.now = NOW + timedelta(seconds=seconds)
    if not reason:
        await user_of(cluster, token, tokens)
        return
    with pytest.raises(InvalidToken, match=reason):
        await user_of(cluster, token, tokens)


@pytest.mark.parametrize(
    ("bindings", "key", "obj"),
    [
        (Bindings(), ("serviceaccounts", "ns", "sa"), None),
        (Bindings(), ("serviceaccounts", "ns", "sa"), {"metadata": {"uid": "another"}}),
        (
            Bindings(),
            ("serviceaccounts", "ns", "sa"),
            {"metadata": {"uid": "u-sa", "deletionTimestamp": "2026-01-01T11:58:00Z"}},
        ),
        (Bindings(pod=POD), ("pods", "ns", "p"), None),
        (Bindings(pod=POD), ("pods", "ns", "p"), {"metadata": {"uid": "another"}}),
        (Bindings(secret=POD), ("pods", "ns", "p"), POD),
        (Bindings(node=NODE), ("nodes", "", "n"), None),
    ],
)
async def test_a_token_goes_with_what_it_is_bound_to(
    bindings: Bindings, key: tuple[str, str, str], obj: Object | None
) -> None:
    cluster = Cluster()
    token = cluster.tokens().issue(ACCOUNT, bindings, ["api"], 600)
    cluster.objects[key] = obj  # type: ignore[assignment]
    with pytest.raises(InvalidToken, match="service account token has been invalidated"):
        await user_of(cluster, token)
    assert cluster.refreshed == 1, "the cache might not have known it yet"


async def test_what_is_being_deleted_may_say_goodbye_and_a_pods_node_may_go() -> None:
    cluster = Cluster()
    token = cluster.tokens().issue(ACCOUNT, Bindings(pod=POD, node=NODE), ["api"], 600)
    ending = {"metadata": {**POD["metadata"], "deletionTimestamp": "2026-01-01T11:59:30Z"}}
    cluster.objects["pods", "ns", "p"] = ending
    del cluster.objects["nodes", "", "n"]
    await user_of(cluster, token)
    assert cluster.refreshed == 0


async def test_another_audience() -> None:
    cluster = Cluster()
    token = cluster.tokens().issue(ACCOUNT, Bindings(), ["vault"], 600)
    with pytest.raises(InvalidToken) as caught:
        await user_of(cluster, token)
    assert str(caught.value) == 'token audiences ["vault"] is invalid for the target audiences ["api"]'


def encoded(part: Object) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def good_claims() -> Object:
    return claims(Cluster().tokens().issue(ACCOUNT, Bindings(), ["api"], 600))


def unsigned() -> str:
    return f"{encoded({'alg': 'none'})}.{encoded(good_claims())}."


def confused() -> str:
    """Signed with the public key as if that were a shared secret."""
    import hashlib
    import hmac

    body = f"{encoded({'alg': 'HS256', 'typ': 'JWT'})}.{encoded(good_claims())}"
    signature = hmac.new(public_pem(EC_KEY), body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def tampered() -> str:
    head, _, signature = Cluster().tokens().issue(ACCOUNT, Bindings(), ["api"], 600).split(".")
    said = {**good_claims(), "sub": "system:serviceaccount:ns:admin"}
    said["kubernetes.io"]["serviceaccount"]["name"] = "admin"
    return f"{head}.{encoded(said)}.{signature}"


def signed(key: Any = EC_KEY, **changed: Any) -> str:
    return jwt.encode({**good_claims(), **changed}, key, "ES256")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b.c",
        "nope",
        "\udce4.x.y",
        "." * 100,
        "a" * (MAX_TOKEN_CHARS + 1),
        encoded({"alg": "ES256", "kid": ["x"]}) + ".e30.AAAA",
        "[" * 5000 + ".e30.AAAA",
        unsigned(),
        confused(),
        tampered(),
        signed(OTHER_KEY),
        signed(iss="https://elsewhere"),
        signed(sub="system:serviceaccount:ns:admin"),
        signed(sub="system:admin"),
        signed(**{"kubernetes.io": None}),
        signed(**{"kubernetes.io": {"namespace": "ns"}}),
        signed(exp="soon"),
        signed(**{"kubernetes.io": {**good_claims()["kubernetes.io"], "pod": "p"}}),
    ],
)
async def test_what_is_no_token_of_ours(token: str) -> None:
    with pytest.raises(NotOurs):
        await user_of(Cluster(), token)


async def test_keys_are_replaced_one_after_the_other() -> None:
    """Tokens of the former key hold as long as it verifies; so do those of a former issuer."""
    cluster = Cluster()
    old = cluster.tokens(OTHER_KEY, issuers=("https://former",)).issue(ACCOUNT, Bindings(), ["api"], 600)
    new = cluster.tokens(EC_KEY, public_pem(OTHER_KEY) + public_pem(RSA_KEY), (ISSUER, "https://former"))
    await user_of(cluster, old, new)
    assert len(new.keys) == 3
    keys = key_set(new.keys.values())["keys"]
    assert [sorted(key) for key in keys] == [
        ["alg", "crv", "kid", "kty", "use", "x", "y"],
        ["alg", "crv", "kid", "kty", "use", "x", "y"],
        ["alg", "e", "kid", "kty", "n", "use"],
    ]
    # Whoever has the set can verify: a library that is not ours does.
    published = jwt.PyJWKSet.from_dict({"keys": keys})
    assert jwt.decode(old, published.keys[1], audience="api", options={"verify_exp": False, "verify_nbf": False})


@pytest.mark.parametrize("pem", [b"", b"nothing", public_pem(EC_KEY)])
def test_files_without_a_private_key(pem: bytes) -> None:
    with pytest.raises(KeyFileError, match="data does not contain a valid RSA or ECDSA private key"):
        read_signing_key(pem)


def test_keys_that_are_too_weak() -> None:
    weak = private_pem(ec.generate_private_key(ec.SECP192R1()))
    with pytest.raises(KeyFileError, match="must be RSA, or ECDSA over"):
        read_signing_key(weak)
    with pytest.raises(KeyFileError, match="1024 bits is too short"):
        read_verifying_keys(public_pem(rsa.generate_private_key(65537, 1024)))  # noqa: S505 - it is refused
    with pytest.raises(KeyFileError):
        read_verifying_keys(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")


async def test_tokens_of_both_kinds() -> None:
    cluster = Cluster()
    tokens = cluster.tokens()
    authenticator = Authenticator(parse_token_file(["secret,admin,1"]), tokens, ["api"])
    assert (await authenticator.of_token("secret")).user.name == "admin"
    assert (await authenticator.of_token("secret", ["api", "x"])).audiences == ("api",)
    token = tokens.issue(ACCOUNT, Bindings(), ["api"], 600)
    assert (await authenticator.of_token(token)).user.name == "system:serviceaccount:ns:sa"
    for wrong, text in (("nope", "invalid bearer token"), (token, "[invalid bearer token, token audiences")):
        with pytest.raises(TokenError) as caught:
            await authenticator.of_token(wrong, ["x"])
        assert str(caught.value).startswith(text)
    with pytest.raises(TokenError, match="invalid bearer token"):
        await authenticator.of_token("secret", ["x"])


OLD_CLAIM = "kubernetes.io/serviceaccount/"
OLD: Object = {
    "iss": "kubernetes/serviceaccount",
    "sub": "system:serviceaccount:ns:sa",
    OLD_CLAIM + "namespace": "ns",
    OLD_CLAIM + "secret.name": "sa-token",
    OLD_CLAIM + "service-account.name": "sa",
    OLD_CLAIM + "service-account.uid": "u-sa",
}
OLD_TOKEN = Cluster().tokens().issue_legacy(ACCOUNT, {"metadata": {"name": "sa-token"}})


def kept(token: str = OLD_TOKEN, **metadata: Any) -> Object:
    """The Secret that holds a token of the old kind."""
    return {"metadata": metadata, "data": {"token": base64.b64encode(token.encode()).decode()}}


async def test_a_token_of_the_old_kind_is_worth_as_much_as_its_secret() -> None:
    cluster = Cluster()
    cluster.objects["secrets", "ns", "sa-token"] = kept()
    tokens = cluster.tokens()
    assert claims(OLD_TOKEN) == OLD
    found = await tokens.authenticate(OLD_TOKEN)
    groups = ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert (found.user, found.audiences) == (User("system:serviceaccount:ns:sa", "u-sa", groups), ("api",))
    with pytest.raises(InvalidToken, match="audiences"):
        await tokens.authenticate(OLD_TOKEN, ["vault"])
    again = jwt.encode({**OLD, "jti": "2"}, EC_KEY, "ES256")
    marked = kept(labels={"kubernetes.io/legacy-token-invalid-since": "2026-01-01"})
    gone: Object = {"metadata": {"uid": "u-sa", "deletionTimestamp": "2026-01-01T11:59:59Z"}}
    cases: list[tuple[Object | None, Object | None, str]] = [
        (None, ACCOUNT, "Token has been invalidated"),
        (kept(deletionTimestamp="x"), ACCOUNT, "Token has been invalidated"),
        (kept(again), ACCOUNT, "Token does not match server's copy"),
        ({"metadata": {}}, ACCOUNT, "Token does not match server's copy"),
        (kept(), None, "ServiceAccount ns/sa has been deleted"),
        (kept(), gone, "ServiceAccount ns/sa has been deleted"),
        (kept(), {"metadata": {"uid": "v"}}, r"ServiceAccount UID \(v\) does not match claim \(u-sa\)"),
        (marked, ACCOUNT, "has been marked invalid"),
    ]
    for secret, account, reason in cases:
        cluster.objects["secrets", "ns", "sa-token"] = secret  # type: ignore[assignment]
        cluster.objects["serviceaccounts", "ns", "sa"] = account  # type: ignore[assignment]
        with pytest.raises(InvalidToken, match=reason):
            await tokens.authenticate(OLD_TOKEN)
    tokens = AccountTokens(
        read_signing_key(private_pem(EC_KEY)), [], [ISSUER], ["api"], cluster.lookup, cluster.refresh, look_up=False
    )
    await tokens.authenticate(OLD_TOKEN)


@pytest.mark.parametrize("missing", [*OLD, "signature", "subject", "issuer"])
async def test_what_is_no_token_of_the_old_kind(missing: str) -> None:
    said = {name: value for name, value in OLD.items() if name != missing}
    if missing == "subject":
        said["sub"] = "system:serviceaccount:ns:admin"
    if missing == "issuer":
        said["iss"] = ISSUER  # where only tokens of the new kind come from
    key = OTHER_KEY if missing == "signature" else EC_KEY
    cluster = Cluster()
    token = jwt.encode(said, key, "ES256")
    cluster.objects["secrets", "ns", "sa-token"] = kept(token)
    with pytest.raises(NotOurs):
        await user_of(cluster, token)
    with pytest.raises(NotOurs):
        await user_of(cluster, signed(exp=None))
