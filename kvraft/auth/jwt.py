"""Tokens that are signed: JSON Web Tokens with the claims ``username``, ``revision`` and ``exp``, as etcd has them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from kvraft.auth.identity import Identity
from kvraft.durations import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable

OPTIONS = ("sign-method", "pub-key", "priv-key", "ttl")
DEFAULT_TTL_SECONDS = 300.0
MAX_REMEMBERED = 1024
MAX_TOKEN_CHARACTERS = 16 << 10
_FAMILIES: dict[str, tuple[type, ...]] = {
    "RS": (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    "PS": (rsa.RSAPrivateKey, rsa.RSAPublicKey),
    "ES": (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey),
    "Ed": (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey),
}
METHODS = frozenset(
    {*(family + size for family in ("HS", "RS", "PS", "ES") for size in ("256", "384", "512")), "EdDSA"},
)


class JwtTokens:
    """Signs and reads tokens. ``clock`` gives seconds since the epoch.

    Raises ``ValueError`` for options, or keys, that do not fit together; the text names the option.
    """

    def __init__(self, options: dict[str, str], read: Callable[[str], bytes], clock: Callable[[], float]) -> None:
        for name in options:
            if name not in OPTIONS:
                raise ValueError(f'unknown option "{name}"')
        self._method = options.get("sign-method", "")
        if self._method not in METHODS:
            raise ValueError(f'sign-method: unknown method "{self._method}"')
        try:
            ttl = options.get("ttl")
            self._ttl_seconds = parse_duration(ttl) if ttl else DEFAULT_TTL_SECONDS
        except ValueError as error:
            raise ValueError(f"ttl: {error}") from error
        if self._ttl_seconds <= 0:
            raise ValueError("ttl: must be positive")
        self._clock = clock
        private = read(options["priv-key"]) if options.get("priv-key") else b""
        public = read(options["pub-key"]) if options.get("pub-key") else b""
        if self._method.startswith("HS"):
            if not private:
                raise ValueError("priv-key: is required")
            self._signing: Any = private
            self._verifying: Any = private
        else:
            self._signing, self._verifying = self._key_pair(private, public)
        self._remembered: dict[bytes, tuple[Identity, float]] = {}
        self._try()

    def _key_pair(self, private: bytes, public: bytes) -> tuple[Any, Any]:
        private_kind, public_kind = _FAMILIES[self._method[:2]]
        signing = verifying = None
        if private:
            signing = load_pem_private_key(private, None)
            if not isinstance(signing, private_kind):
                raise ValueError(f"priv-key: is no key for {self._method}")
            verifying = signing.public_key()
        if public:
            given = load_pem_public_key(public)
            if not isinstance(given, public_kind):
                raise ValueError(f"pub-key: is no key for {self._method}")
            if verifying is not None and given != verifying:
                raise ValueError("pub-key: does not belong to priv-key")
            verifying = given
        if verifying is None:
            raise ValueError("pub-key, priv-key: one of them is required")
        return signing, verifying

    def _try(self) -> None:
        """A key that the method cannot work with is better found out now."""
        try:
            if self._signing is not None:
                self.read(self.sign(Identity("", 0)))
        except (jwt.PyJWTError, TypeError) as error:
            raise ValueError(f"priv-key: {error}") from error

    @property
    def verify_only(self) -> bool:
        """Whether there is no key to sign with: somebody else hands tokens out."""
        return self._signing is None

    def sign(self, identity: Identity) -> str:
        """A token that says so, until its time is over."""
        claims = {
            "username": identity.user,
            "revision": identity.auth_revision,
            "exp": int(self._clock() + self._ttl_seconds),
        }
        return jwt.encode(claims, self._signing, algorithm=self._method)

    def read(self, token: str) -> Identity | None:
        """Who it is for, and at which revision; None when it is not valid, or not any more."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return None
        now = self._clock()
        key = hashlib.sha256(token.encode()).digest()
        known = self._remembered.get(key)
        if known is not None and now < known[1]:
            return known[0]
        try:
            claims = jwt.decode(
                token, self._verifying, algorithms=[self._method], options={"verify_exp": False, "verify_aud": False}
            )
        except (jwt.PyJWTError, ValueError):
            return None
        user = claims.get("username")
        revision, end = _number(claims.get("revision")), _number(claims.get("exp", float("inf")))
        if not isinstance(user, str) or revision is None or end is None or now >= end:
            return None
        identity = Identity(user, int(revision))
        self._remembered.pop(key, None)
        if len(self._remembered) >= MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[key] = (identity, end)
        return identity


def _number(claim: object) -> float | None:
    return claim if isinstance(claim, (int, float)) and not isinstance(claim, bool) else None
