"""Webhooks: a JSON document goes out, one comes back; what fails for a moment is tried again.

Source: Kubernetes' generic webhook client.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import trio

from apilayer.outbound.client import Client, ConnectionLost, OutboundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apilayer.outbound.client import Answer

MAX_RETRY_AFTER_SECONDS = 60.0
RETRIED = (429, 500, 504)
_JSON = [("Accept", "application/json, */*"), ("Content-Type", "application/json")]


class WebhookRefused(OutboundError):
    """It answered with a status that is no success, or with something else than a JSON object."""

    def __init__(self, message: str, status: int = 0, *, retried: bool = False, after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retried = retried
        self.after_seconds = after_seconds


@attrs.frozen
class Backoff:
    """How often, and how long apart: `initial_seconds`, each time `factor` times as long, and up to `jitter` more."""

    initial_seconds: float = 0.5
    factor: float = 1.5
    jitter: float = 0.2
    tries: int = 5

    def pauses(self) -> Iterator[float]:
        """Seconds between one try and the next."""
        pause = self.initial_seconds
        for _ in range(self.tries - 1):
            yield pause * (1 + self.jitter * random.random())
            pause *= self.factor


def should_retry(error: OutboundError) -> bool:
    """Whether the next try may fare better; a refused connection is none of these, as upstream."""
    return isinstance(error, ConnectionLost) or (isinstance(error, WebhookRefused) and error.retried)


class Webhook:
    """Posts documents to the URL of its client."""

    def __init__(
        self,
        client: Client,
        backoff: Backoff = Backoff(),  # it never changes
        retry: Callable[[OutboundError], bool] = should_retry,
    ) -> None:
        self.client = client
        self._backoff = backoff
        self._retry = retry

    async def post(self, document: Any) -> Any:
        """The JSON object that it answers. Raises OutboundError (WebhookRefused for an answer that is none)."""
        answer = await self.post_bytes(orjson.dumps(document))
        try:
            found = orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise WebhookRefused("the webhook's answer is not JSON", answer.status) from error
        if not isinstance(found, dict):
            raise WebhookRefused("the webhook's answer is not an object", answer.status)
        return found

    async def post_bytes(self, body: bytes) -> Answer:
        """The answer, which has a status of success. Raises OutboundError."""
        pauses = self._backoff.pauses()
        while True:
            try:
                return await self._once(body)
            except OutboundError as error:
                pause = next(pauses, None) if self._retry(error) else None
                if pause is None:
                    raise
                if isinstance(error, WebhookRefused):
                    pause = max(pause, error.after_seconds)
            await trio.sleep(pause)

    async def _once(self, body: bytes) -> Answer:
        answer = await self.client.send("POST", f"?timeout={self.client.timeout_seconds:g}s", body, _JSON)
        if 200 <= answer.status < 300:
            return answer
        after = answer.headers.get("retry-after", "")
        seconds = min(float(after), MAX_RETRY_AFTER_SECONDS) if after.isdecimal() and len(after) < 9 else 0.0
        raise WebhookRefused(
            _said(answer), answer.status, retried=answer.status in RETRIED or bool(seconds), after_seconds=seconds
        )


def _said(answer: Answer) -> str:
    """The message of a Status, else that there is none."""
    try:
        found = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        found = None
    if isinstance(found, dict) and found.get("kind") == "Status" and isinstance(found.get("message"), str):
        return str(found["message"])
    return f"the webhook answered with status {answer.status}"
