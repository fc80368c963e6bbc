"""Configuration files that are read again when they have changed: what came of it, for metrics."""

from __future__ import annotations

import hashlib

import attrs

SUCCESS, FAILURE = "success", "failure"
LOOK_SECONDS = 5.0
"""Between two looks at a file."""


@attrs.define
class Reloads:
    """How often a file was taken up or not, and when last (seconds since the epoch); and a digest of what holds."""

    counts: dict[str, int] = attrs.field(factory=dict)
    last: dict[str, float] = attrs.field(factory=dict)
    digest: str = ""

    def holds(self, data: bytes) -> None:
        """What was read at the start, or is in use from now on."""
        self.digest = digest_of(data)

    def taken_up(self, data: bytes, now: float) -> None:
        """The file has changed, and counts as it is now."""
        self.holds(data)
        self._ended(SUCCESS, now)

    def failed(self, now: float) -> None:
        """The file has changed, and cannot be used."""
        self._ended(FAILURE, now)

    def _ended(self, outcome: str, now: float) -> None:
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        self.last[outcome] = now


def digest_of(data: bytes) -> str:
    """A digest as kube-apiserver's metrics show it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
