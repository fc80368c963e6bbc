"""Bootstrap tokens: Secrets in kube-system by which new nodes ask for their first certificate.

Source: Kubernetes documentation, "Authenticating with Bootstrap Tokens".
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from apilayer.api import meta
from apilayer.pipeline.authentication import NotOurs, TokenUser, User, digest, intended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from apilayer.pipeline.account_tokens import Lookup

NAMESPACE = "kube-system"
NAME_PREFIX = "bootstrap-token-"
OBJECT_TYPE = "bootstrap.kubernetes.io/token"
USER_PREFIX = "system:bootstrap:"
GROUP = "system:bootstrappers"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    """Finds a token's Secret by the first half of the token, and compares the second."""

    def __init__(
        self, lookup: Lookup, audiences: Sequence[str] = (), clock: Callable[[], datetime] = meta.utc_now
    ) -> None:
        self._lookup = lookup
        self._audiences = tuple(audiences)
        self._clock = clock

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """See `TokenWay`. Why a token does not hold is not told: it would say which tokens there are."""
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            raise NotOurs("of another form")
        meant = intended(audiences, self._audiences)
        secret = self._lookup("secrets", NAMESPACE, NAME_PREFIX + parts[1])
        groups = groups_of(secret, parts[1], parts[2], self._clock()) if secret is not None else None
        if groups is None:
            raise NotOurs("no such token")
        return TokenUser(User(USER_PREFIX + parts[1], groups=groups), meant)


def groups_of(secret: Mapping[str, Any], name: str, value: str, now: datetime) -> tuple[str, ...] | None:
    """The groups of whoever has the token `name`.`value`, None when its Secret does not make it hold. Pure."""
    if secret.get("type") != OBJECT_TYPE or "deletionTimestamp" in secret["metadata"]:
        return None
    data = {key: _text(item) for key, item in (secret.get("data") or {}).items()}
    right = hmac.compare_digest(digest(data.get("token-secret", "")), digest(value))
    if not right or data.get("token-id") != name or _expired(data.get("expiration", ""), now):
        return None
    if data.get("usage-bootstrap-authentication") != "true":
        return None
    further = data.get("auth-extra-groups", "")
    names = set(further.split(",")) if further else set()
    if any(_GROUP.fullmatch(group) is None for group in names):
        return None
    return tuple(sorted({GROUP, *names}))


def _text(encoded: object) -> str:
    """A value of a Secret; "" for one that is no text."""
    try:
        return base64.b64decode(str(encoded)).decode()
    except (binascii.Error, ValueError):
        return ""


def _expired(text: str, now: datetime) -> bool:
    """Whether the time is over; one that cannot be read is."""
    if not text:
        return False
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        return True
    return end.tzinfo is None or now > end
