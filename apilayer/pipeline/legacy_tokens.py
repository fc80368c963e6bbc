"""Tokens of service accounts of the old kind: without an end, kept in Secrets, worth as much as their Secret is there.

Source: Kubernetes documentation, "Manually create a long-lived API token for a ServiceAccount".
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.pipeline.authentication import InvalidToken, digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    Object = dict[str, Any]

ISSUER = "kubernetes/serviceaccount"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_CLAIM = "kubernetes.io/serviceaccount/"


@attrs.frozen
class LegacyToken:
    """What a token of the old kind says."""

    namespace: str
    secret: str
    account: str
    uid: str


def claims_of(account: Object, secret: Object) -> Object:
    """What a token says that is kept in the Secret."""
    metadata = account["metadata"]
    return {
        "iss": ISSUER,
        _CLAIM + "namespace": metadata["namespace"],
        _CLAIM + "secret.name": secret["metadata"]["name"],
        _CLAIM + "service-account.name": metadata["name"],
        _CLAIM + "service-account.uid": metadata["uid"],
        "sub": f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
    }


def parse_legacy(claims: Mapping[str, Any]) -> LegacyToken | None:
    """What the claims say, None when one is missing or the subject is another."""
    said = [claims.get(_CLAIM + name) for name in ("namespace", "secret.name", "service-account.name")]
    uid = claims.get(_CLAIM + "service-account.uid")
    if not all(isinstance(value, str) and value for value in (*said, uid)):
        return None
    namespace, secret, account = (str(value) for value in said)
    if claims.get("sub") != f"system:serviceaccount:{namespace}:{account}":
        return None
    return LegacyToken(namespace, secret, account, str(uid))


def check_legacy(said: LegacyToken, token: str, secret: Object | None, account: Object | None) -> None:
    """Raises InvalidToken unless the Secret holds this very token and the account is the one that it was for. Pure."""
    if secret is None or "deletionTimestamp" in secret["metadata"]:
        raise InvalidToken("Token has been invalidated")
    if not hmac.compare_digest(digest(_text(secret)), digest(token)):
        raise InvalidToken("Token does not match server's copy")
    if account is None or "deletionTimestamp" in account["metadata"]:
        raise InvalidToken(f"ServiceAccount {said.namespace}/{said.account} has been deleted")
    uid = account["metadata"].get("uid")
    if uid != said.uid:
        raise InvalidToken(f"ServiceAccount UID ({uid}) does not match claim ({said.uid})")
    if (secret["metadata"].get("labels") or {}).get(INVALID_SINCE):
        where, whose = f"{said.namespace}/{said.secret}", f"{said.namespace}/{said.account}"
        raise InvalidToken(
            f"the token in secret {where} for service account {whose} has been marked invalid."
            " Use tokens from the TokenRequest API or manually created secret-based tokens, or"
            f" remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
        )


def _text(secret: Object) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get("token") or "").decode()
    except (binascii.Error, ValueError):
        return ""
