"""What is counted about flow control, by priority level and FlowSchema; `apilayer.server.flow_metrics` shows it."""

from __future__ import annotations

from apilayer.pipeline.metrics import Histogram

SECONDS_BUCKETS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
SEATS_BUCKETS = (1.0, 2.0, 4.0, 10.0)


class FlowCounts:
    """The requests of one FlowSchema in one level."""

    __slots__ = (
        *("at_once", "dispatched", "executing", "of_one_seat", "ran", "rejected", "seats", "waited", "waiting"),
        "widths",
    )

    def __init__(self) -> None:
        self.dispatched = 0
        self.at_once = 0
        """Those that did not wait: they are no part of `waited`."""
        self.executing = 0
        self.of_one_seat = 0
        """Those of the usual width: they are no part of `widths`."""
        self.seats = 0
        self.waiting = 0
        self.rejected: dict[str, int] = {}
        """By reason."""
        self.waited = (Histogram(SECONDS_BUCKETS), Histogram(SECONDS_BUCKETS))
        """Seconds in a queue of those that were not served, and of those that were."""
        self.ran = (Histogram(SECONDS_BUCKETS), Histogram(SECONDS_BUCKETS))
        """Seconds that requests took, and that watches took to begin."""
        self.widths = Histogram(SEATS_BUCKETS)

    @property
    def idle(self) -> bool:
        """Whether nothing that was counted runs or waits."""
        return not self.executing and not self.waiting
