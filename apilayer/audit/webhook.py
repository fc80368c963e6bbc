"""Events to a webhook: an EventList is posted, and again when that fails, up to a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.audit.delivery import WriteError
from apilayer.audit.event import event_list
from apilayer.outbound.client import OutboundError
from apilayer.outbound.webhook import Backoff, Webhook

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.outbound.client import Client


class WebhookWriter:
    """`Writer` of encoded events to the target of a client."""

    name = "webhook"
    parallel = True

    def __init__(self, client: Client, initial_backoff_seconds: float) -> None:
        self._client = client
        self._webhook = Webhook(client, Backoff(initial_backoff_seconds), _whatever_failed)

    def write_now(self, parts: Sequence[bytes]) -> bool:
        """See `Writer.write_now`: never."""
        del parts
        return False

    async def write(self, parts: Sequence[bytes]) -> None:
        """See `Writer.write`."""
        try:
            await self._webhook.post_bytes(event_list(parts))
        except OutboundError as error:
            raise WriteError(str(error)) from error

    async def run(self) -> None:
        """See `Writer.run`."""

    async def aclose(self) -> None:
        """See `Writer.aclose`."""
        await self._client.aclose()


def _whatever_failed(error: OutboundError) -> bool:
    """An event is worth another try whatever the reason, as upstream."""
    del error
    return True
