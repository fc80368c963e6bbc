"""From the claims of a verified token to a user: pure.

Source: Kubernetes documentation, "OpenID Connect Tokens" and "Authentication configuration from a file".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.gotext import quote
from apilayer.pipeline.authentication import InvalidToken, User

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""Those that a provider may use: with a public key, all of them."""
NOT_BEFORE_LEEWAY_SECONDS = 300
_KINDS = {dict: "object", list: "array", bool: "bool", int: "number", float: "number", str: "string"}


@attrs.frozen
class JwtIssuer:
    """One issuer whose tokens are accepted, and what their claims mean."""

    url: str
    audiences: tuple[str, ...]
    discovery_url: str = ""
    """Where the discovery document is; "": below `url`."""
    authorities: bytes = attrs.field(default=b"", repr=False)
    """Certificates (PEM) that vouch for the issuer's server; b"": those of the system."""
    username_claim: str = "sub"
    username_prefix: str = ""
    groups_claim: str = ""
    groups_prefix: str = ""
    uid_claim: str = ""
    required: tuple[tuple[str, str], ...] = ()
    """Claims that must have this value."""
    algorithms: tuple[str, ...] = ALGORITHMS


def check_times(claims: Mapping[str, Any], now: float) -> None:
    """Raises InvalidToken for a token whose time is over, or has not come."""
    end, begin = claims.get("exp", 0), claims.get("nbf", 0)
    for name, value in (("exp", end), ("nbf", begin)):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) < 1e11:
            raise InvalidToken(f"oidc: verify token: oidc: failed to unmarshal claims: {name} is no time")
    if end < now:
        raise InvalidToken(f"oidc: verify token: oidc: token is expired (Token Expiry: {_time(end)})")
    if now + NOT_BEFORE_LEEWAY_SECONDS < begin:
        raise InvalidToken(
            f"oidc: verify token: oidc: current time {_time(now)} before the nbf (not before) time: {_time(begin)}"
        )


def check_audience(issuer: JwtIssuer, claims: Mapping[str, Any]) -> None:
    """Raises InvalidToken for a token that is for nobody whom the issuer's tokens are accepted for."""
    given = claims.get("aud")
    found = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if not any(name in issuer.audiences for name in found if isinstance(name, str)):
        wanted, got = _listed(sorted(issuer.audiences)), _listed([str(name) for name in found])
        raise InvalidToken(f"oidc: verify token: oidc: expected audience in {wanted} got {got}")


def user_of(issuer: JwtIssuer, claims: Mapping[str, Any]) -> User:
    """Whom the claims name. Raises InvalidToken when one that is needed is not there, or not what it must be."""
    _refuse_distributed(issuer, claims)
    name = _username(issuer, claims)
    groups = _groups(issuer, claims)
    uid = (
        _string(claims, issuer.uid_claim, f"oidc: parse uid claim {quote(issuer.uid_claim)}")
        if issuer.uid_claim
        else ""
    )
    for claim, wanted in issuer.required:
        if claim not in claims:
            raise InvalidToken(f"oidc: required claim {claim} not present in ID token")
        value = _string(claims, claim, f"oidc: parse claim {claim}")
        if value != wanted:
            raise InvalidToken(f"oidc: required claim {claim} value does not match. Got = {value}, want = {wanted}")
    return User(name, uid, groups)


def _username(issuer: JwtIssuer, claims: Mapping[str, Any]) -> str:
    claim = issuer.username_claim
    name = _string(claims, claim, f"oidc: parse username claims {quote(claim)}")
    if claim == "email" and "email_verified" in claims:
        verified = claims["email_verified"]
        if not isinstance(verified, bool):
            raise InvalidToken(f"oidc: parse 'email_verified' claim: {_mismatch(verified, 'bool')}")
        if not verified:
            raise InvalidToken("oidc: email not verified")
    if not name:
        raise InvalidToken(f"oidc: parse username claims {quote(claim)}: claim is empty")
    return issuer.username_prefix + name


def _groups(issuer: JwtIssuer, claims: Mapping[str, Any]) -> tuple[str, ...]:
    claim = issuer.groups_claim
    value = claims.get(claim) if claim else None
    if value is None:
        return ()
    groups = [value] if isinstance(value, str) else value
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise InvalidToken(f"oidc: parse groups claim {quote(claim)}: {_mismatch(value, 'string')}")
    return tuple(issuer.groups_prefix + group for group in groups)


def _refuse_distributed(issuer: JwtIssuer, claims: Mapping[str, Any]) -> None:
    """Groups that are kept elsewhere would have to be fetched: without them the user would be another."""
    names, claim = claims.get("_claim_names"), issuer.groups_claim
    if claim and claim not in claims and isinstance(names, dict) and claim in names:
        raise InvalidToken("oidc: could not expand distributed claims: they are not part of this server")


def _string(claims: Mapping[str, Any], claim: str, what: str) -> str:
    if claim not in claims:
        raise InvalidToken(f"{what}: claim not present")
    value = claims[claim]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidToken(f"{what}: {_mismatch(value, 'string')}")
    return value


def _mismatch(value: object, wanted: str) -> str:
    return f"json: cannot unmarshal {_KINDS.get(type(value), 'value')} into Go value of type {wanted}"


def _listed(names: Sequence[str]) -> str:
    return f"[{' '.join(quote(name) for name in names)}]"


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} +0000 UTC"
