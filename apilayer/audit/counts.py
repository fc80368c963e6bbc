"""What is counted about audit events, under kube-apiserver's names; nothing here knows a metrics library."""

from __future__ import annotations

import logging
from time import monotonic

import attrs

from apilayer.audit.policy import LEVELS

WARN_SECONDS = 10.0
"""So far apart are warnings of one sink that fails again and again."""

log = logging.getLogger("apilayer.audit")


@attrs.define(eq=False)
class AuditCounts:
    """Numbers since the start."""

    events: int = 0
    """Events made and handed to the sinks."""
    rejected: int = 0
    """Requests that were refused because they could not be recorded."""
    levels: list[int] = attrs.field(factory=lambda: [0] * len(LEVELS))
    """Requests by the level that the policy gave them."""
    errors: dict[str, int] = attrs.field(factory=dict)
    """Events that were lost, by the part that lost them."""
    _warned: dict[str, float] = attrs.field(factory=dict)

    def lost(self, part: str, events: int, reason: object) -> None:
        """Counts events that did not get where they should, and says so in the log once in a while."""
        self.errors[part] = self.errors.get(part, 0) + events
        now = monotonic()
        if now - self._warned.get(part, -WARN_SECONDS) >= WARN_SECONDS:
            self._warned[part] = now
            log.error("Error in audit plugin '%s' affecting %d audit events: %s", part, events, reason)
