"""An OpenID Connect provider on loopback: real keys, a discovery document, a key set, tokens by another library."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from tests.apilayer.https_server import Asked, HttpsServer, Reply, https_server

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

Object = dict[str, Any]

NOW = 1_767_268_800.0
"""2026-01-01T12:00:00Z."""


@cache
def rsa_key(name: str) -> RSAKey:
    """A key of this name, made once per test run."""
    return RSAKey.generate_key(2048, {"kid": name, "use": "sig"})


@cache
def ec_key(name: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig"})


class OidcProvider:
    """What the provider publishes, and the tokens that it issues."""

    def __init__(self) -> None:
        self.server: HttpsServer | None = None
        self.keys: list[Any] = [rsa_key("one")]
        self.broken: Reply | None = None
        self.said: Object = {}

    @property
    def url(self) -> str:
        assert self.server is not None
        return f"{self.server.url}/realm"

    def fetched(self, end: str) -> int:
        """How often a document whose path ends so was asked for."""
        assert self.server is not None
        return sum(asked.target.endswith(end) for asked in self.server.asked)

    async def answer(self, asked: Asked) -> Reply:
        if self.broken is not None:
            return self.broken
        if asked.target == "/realm/.well-known/openid-configuration":
            return Reply({"issuer": self.url, "jwks_uri": f"{self.url}/keys?v=1", **self.said})
        if asked.target == "/realm/keys?v=1":
            return Reply(KeySet(self.keys).as_dict(private=False))
        return Reply(status=404)

    def claims(self, **changed: Any) -> Object:
        """Those of a good token; None leaves one out."""
        usual = {
            "iss": self.url,
            "aud": "kube",
            "sub": "jane",
            "exp": int(NOW) + 600,
            "iat": int(NOW),
            "groups": ["devs"],
        }
        return {name: value for name, value in {**usual, **changed}.items() if value is not None}

    def token(self, key: Any = None, header: Object | None = None, **changed: Any) -> str:
        """A token, signed by the first key unless another is given."""
        signing = self.keys[0] if key is None else key
        usual = {"alg": "RS256" if isinstance(signing, RSAKey) else "ES256", "kid": signing.kid}
        head = {**usual, **(header or {})}
        return jwt.encode(head, self.claims(**changed), signing, algorithms=[head["alg"]])


@asynccontextmanager
async def oidc_provider(context: ssl.SSLContext) -> AsyncIterator[OidcProvider]:
    """A running provider."""
    provider = OidcProvider()
    async with https_server(context, provider.answer) as provider.server:
        yield provider
