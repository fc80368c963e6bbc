"""How many seats a level wanted over a while: average, spread and maximum, in constant space. Sans-IO."""

from __future__ import annotations

from math import sqrt

SMOOTHING = 0.977
"""What a past demand is worth one adjustment later: half of it after about five minutes."""


class Demand:
    """Gathers between two calls of `settle`."""

    __slots__ = ("_squares", "_sum", "high", "highest", "seconds", "smoothed")

    def __init__(self) -> None:
        self.smoothed = 0.0
        """What the level is taken to want: it follows a rise at once and a fall slowly."""
        self.high = 0
        """The most seats at once in the period that was settled last."""
        self.highest = 0
        """The most seats that were wanted at once in this period, see `raised`."""
        self._sum = self._squares = 0.0
        self.seconds = 0.0
        """How long the period has lasted."""

    def raised(self, seats: int) -> None:
        """So many are wanted now."""
        if seats > self.highest:
            self.highest = seats

    def lasted(self, seats: int, seconds: float) -> None:
        """So many were wanted for so long."""
        weighted = seats * seconds
        self._sum += weighted
        self._squares += weighted * seats
        self.seconds += seconds

    def settle(self, seats: int) -> None:
        """Ends a period; `seats` are wanted at this moment."""
        average = deviation = 0.0
        if self.seconds > 0:
            average = self._sum / self.seconds
            deviation = sqrt(max(0.0, self._squares / self.seconds - average * average))
        envelope = average + deviation
        self.smoothed = max(envelope, SMOOTHING * self.smoothed + (1 - SMOOTHING) * envelope)
        self.high, self.highest = self.highest, seats
        self._sum = self._squares = self.seconds = 0.0
