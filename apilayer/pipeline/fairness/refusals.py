"""When to come again: longer the more requests of a level were refused lately, as kube-apiserver reckons. Sans-IO."""

from __future__ import annotations

from collections import deque

MAX_SECONDS = 32


class RetryAfter:
    """Of one priority level; times are whole seconds."""

    def __init__(self) -> None:
        self.seconds = 1
        """What to tell a client that is refused now."""
        self._history: deque[tuple[int, int]] = deque()
        self._second = 0
        self._count = 0
        self._raised = 0

    def refused(self, second: int) -> None:
        """A request is refused in this second."""
        if second == self._second:
            self._count += 1
            return
        self._history.append((self._second, self._count))
        while self._history[0][0] < self._second - MAX_SECONDS:
            self._history.popleft()
        self._second, self._count = second, 1
        self._adjust(second)

    def _adjust(self, second: int) -> None:
        """Doubled once three a second are refused, at most once in that time; one less when it is less than one."""
        lately = sum(count for at, count in self._history if second - self.seconds <= at < second)
        if lately >= 3 * self.seconds and second - self._raised >= self.seconds:
            self.seconds = min(self.seconds * 2, MAX_SECONDS)
            self._raised = second
        elif lately < self.seconds and self.seconds > 1:
            self.seconds -= 1
