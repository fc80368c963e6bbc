"""What sealing has done, for metrics."""

from __future__ import annotations

import attrs

TO_STORAGE, FROM_STORAGE = "to_storage", "from_storage"
OK, FAILED = "OK", "Unknown"
SUCCESS, FAILURE = "success", "failure"


@attrs.define
class SealingCounts:
    """Times are seconds since the epoch."""

    transformations: dict[tuple[str, str, str, str], int] = attrs.field(factory=dict)
    """How often, by resource, direction, prefix of the stored value, and outcome."""
    reloads: dict[str, int] = attrs.field(factory=dict)
    last_reload: dict[str, float] = attrs.field(factory=dict)
    """By outcome."""

    def transformed(self, resource: str, direction: str, prefix: str, outcome: str) -> None:
        """One value was sealed or opened."""
        key = resource, direction, prefix, outcome
        self.transformations[key] = self.transformations.get(key, 0) + 1

    def reloaded(self, outcome: str, now: float) -> None:
        """The configuration has changed, and was taken up or not."""
        self.reloads[outcome] = self.reloads.get(outcome, 0) + 1
        self.last_reload[outcome] = now
