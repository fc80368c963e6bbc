"""An event as a sink wants it written: within its size, in its format. Pure.

Source: Kubernetes' ``apiserver/plugin/pkg/audit/truncate`` and ``.../log``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import msgspec

from apilayer.audit.event import encoded, json_line, text_line

if TYPE_CHECKING:
    from apilayer.audit.event import Event

TRUNCATED = "audit.k8s.io/truncated"
JSON, LEGACY, LIST_ITEM = "json", "legacy", "item"
_WITHOUT_BODIES = ("None", "Metadata")


class TooLarge(Exception):
    """The event cannot be made small enough."""


@attrs.frozen
class Shape:
    """Format, and how many bytes of JSON an event may have (0: no bound)."""

    form: str
    max_event_bytes: int = 0

    def of(self, event: Event) -> bytes:
        """The event in this shape. Raises TooLarge."""
        data = b""
        if self.max_event_bytes or self.form != LEGACY:
            data = encoded(event)
            if self.max_event_bytes and len(data) > self.max_event_bytes:
                event, data = self._cut(event)
        if self.form == LEGACY:
            return f"{text_line(event)}\n".encode("utf-8", "replace")
        return json_line(data) if self.form == JSON else data

    def _cut(self, event: Event) -> tuple[Event, bytes]:
        """Without its bodies, which it says."""
        if event.level in _WITHOUT_BODIES:
            raise TooLarge("event is too large even after truncating")
        notes = {**(event.annotations or {}), TRUNCATED: "true"}
        event = msgspec.structs.replace(event, request_object=None, response_object=None, annotations=notes)
        data = encoded(event)
        if len(data) > self.max_event_bytes:
            raise TooLarge("event is too large even after truncating")
        return event, data
