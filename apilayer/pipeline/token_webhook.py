"""Bearer tokens that somebody else knows: a webhook is sent a TokenReview and says who it is.

Source: Kubernetes documentation, "Webhook Token Authentication".
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from apilayer.outbound.client import OutboundError
from apilayer.pipeline.authentication import InvalidToken, NotOurs, TokenUser, User

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apilayer.outbound.webhook import Webhook

log = logging.getLogger("apilayer.pipeline.token_webhook")


class TokenWebhook:
    """Asks `webhook`; `own` are the API server's audiences, for which a webhook that knows none answers."""

    def __init__(self, webhook: Webhook, version: str, own: Sequence[str]) -> None:
        self._webhook = webhook
        self._api_version = f"authentication.k8s.io/{version}"
        self._own = tuple(own)

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """See `TokenWay`."""
        wanted = tuple(audiences) or self._own
        spec: dict[str, Any] = {"token": token, **({"audiences": list(wanted)} if wanted else {})}
        review = {
            "kind": "TokenReview",
            "apiVersion": self._api_version,
            "metadata": {"creationTimestamp": None},
            "spec": spec,
            "status": {"user": {}},
        }
        try:
            answer = await self._webhook.post(review)
        except OutboundError as error:
            log.warning("failed to make webhook authenticator request: %s", str(error).replace(token, "<token>"))
            raise InvalidToken(str(error)) from error
        if answer.get("kind") != "TokenReview" or answer.get("apiVersion") != self._api_version:
            raise InvalidToken(f"the webhook's answer is no TokenReview of {self._api_version}")
        return decided(answer.get("status"), wanted, self._own)


def decided(said: object, wanted: Sequence[str], own: Sequence[str]) -> TokenUser:
    """What the status of a review means for those audiences. Raises NotOurs, InvalidToken. Pure."""
    if not isinstance(said, dict):
        raise InvalidToken("the webhook's answer has no status")
    audiences = said.get("audiences") or list(own)
    if not _strings(audiences):
        raise InvalidToken("status.audiences: must be strings")
    meant = tuple(name for name in wanted if name in audiences)
    if wanted and not meant:
        raise NotOurs("meant for others")
    if said.get("authenticated") is not True:
        if said.get("error"):
            raise InvalidToken(str(said["error"]))
        raise NotOurs("not known")
    user = said.get("user")
    return TokenUser(_user(user if isinstance(user, dict) else {}), meant)


def _user(user: Mapping[str, Any]) -> User:
    name, uid, groups, extra = (user.get(key) for key in ("username", "uid", "groups", "extra"))
    if not isinstance(name, str) or not name or not isinstance(uid or "", str):
        raise InvalidToken("status.user: must have a username")
    if not _strings(groups or []):
        raise InvalidToken("status.user.groups: must be strings")
    if not isinstance(extra or {}, dict) or not all(_strings(values) for values in (extra or {}).values()):
        raise InvalidToken("status.user.extra: must be lists of strings")
    further = tuple(sorted((key.lower(), tuple(values)) for key, values in (extra or {}).items()))
    return User(name, uid or "", tuple(groups or ()), further)


def _strings(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
