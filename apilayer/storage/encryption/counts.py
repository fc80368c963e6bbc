"""What sealing has done, for metrics."""

from __future__ import annotations

import attrs

from apilayer.reloads import Reloads

TO_STORAGE, FROM_STORAGE = "to_storage", "from_storage"
OK, FAILED = "OK", "Unknown"


@attrs.define
class SealingCounts:
    """By resource, direction and outcome; and changes of the configuration."""

    transformations: dict[tuple[str, str, str, str], int] = attrs.field(factory=dict)
    """How often, by resource, direction, prefix of the stored value, and outcome."""
    reloads: Reloads = attrs.field(factory=Reloads)

    def transformed(self, resource: str, direction: str, prefix: str, outcome: str) -> None:
        """One value was sealed or opened."""
        key = resource, direction, prefix, outcome
        self.transformations[key] = self.transformations.get(key, 0) + 1
