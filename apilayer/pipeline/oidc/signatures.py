"""Signatures of tokens, and the published keys that verify them: pure.

A key verifies only the algorithms of its own kind, and only those that the issuer may use. So a token that names
none, or a shared secret's, is refused before anything is computed.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from apilayer.pipeline.authentication import InvalidToken, NotOurs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Object = dict[str, Any]

MAX_TOKEN_CHARS = 64 * 1024
MAX_KEYS = 100
MIN_RSA_BITS = 2048
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_BAD_SIGNATURE = "oidc: verify token: failed to verify signature: failed to verify id token signature"


@attrs.frozen(eq=False)
class PublishedKey:
    """A public key of an issuer, its name, and the algorithms that it may verify."""

    key_id: str
    algorithms: frozenset[str]
    key: Any


class UnknownKey(InvalidToken):
    """No key that is known verifies the token: the issuer may have newer ones."""


def parse_keys(document: object) -> tuple[PublishedKey, ...]:
    """The keys of a JSON Web Key Set that can verify; others are left out. Raises ValueError for what is no set."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("not a JSON Web Key Set")
    if len(listed) > MAX_KEYS:
        raise ValueError(f"more than {MAX_KEYS} keys")
    found = (_published(item) for item in listed if isinstance(item, dict))
    return tuple(key for key in found if key is not None)


def _published(item: Object) -> PublishedKey | None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from jwt import PyJWTError
    from jwt.algorithms import ECAlgorithm, RSAAlgorithm

    kind: Any = {"RSA": RSAAlgorithm, "EC": ECAlgorithm}.get(str(item.get("kty")))
    if kind is None or item.get("use", "sig") != "sig" or "d" in item:
        return None
    try:
        key = kind.from_jwk(item)
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    algorithms: frozenset[str] = frozenset()
    if isinstance(key, RSAPublicKey) and key.key_size >= MIN_RSA_BITS:
        algorithms = _RSA
    elif isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        algorithms = frozenset({_CURVES[key.curve.name]})
    if "alg" in item:
        algorithms &= {str(item["alg"])}
    return PublishedKey(str(item.get("kid", "")), algorithms, key)


def unverified_issuer(token: str) -> str:
    """Who a token says has issued it. Raises NotOurs for what is no token of this form."""
    if len(token) > MAX_TOKEN_CHARS:
        raise NotOurs("too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise NotOurs("of another form")
    issuer = _decoded(parts[1]).get("iss")
    if not isinstance(issuer, str):
        raise NotOurs("of no issuer")
    return issuer


def verified_claims(token: str, keys: Iterable[PublishedKey], allowed: Collection[str]) -> Object:
    """The claims of a token that one of the keys has signed. Raises InvalidToken, UnknownKey, NotOurs."""
    import jwt

    head, payload, _ = token.split(".")
    header = _decoded(head)
    algorithm, key_id = header.get("alg"), header.get("kid", "")
    if algorithm not in allowed:
        raise InvalidToken("oidc: verify token: oidc: malformed jwt: unexpected signature algorithm")
    if "crit" in header or not isinstance(key_id, str):
        raise InvalidToken("oidc: verify token: oidc: malformed jwt: unsupported header")
    for key in keys:
        if (key_id and key.key_id != key_id) or algorithm not in key.algorithms:
            continue
        try:
            jwt.api_jws.decode(token, key.key, algorithms=[algorithm])
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        return _decoded(payload)
    raise UnknownKey(_BAD_SIGNATURE)


def _decoded(part: str) -> Object:
    """Raises NotOurs; depth is bounded by the parser."""
    try:
        found = orjson.loads(urlsafe_b64decode(part.encode("ascii") + b"=" * (-len(part) % 4)))
    except (binascii.Error, ValueError) as error:
        raise NotOurs("of another form") from error
    if not isinstance(found, dict):
        raise NotOurs("of another form")
    return found
