"""A progress bar on one line of standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import BinaryIO

WIDTH = 60


class ProgressBar:
    """``total`` seconds, of which so many have passed."""

    def __init__(self, stream: BinaryIO, total: int) -> None:
        self._stream = stream
        self._total = total

    def show(self, passed: int) -> None:
        """Draw it anew."""
        filled = WIDTH * passed // self._total
        share = 100 * passed / self._total
        bar = "[" + "=" * filled + " " * (WIDTH - filled) + "]"
        self._stream.write(f"\r {passed} / {self._total} {bar} {share:6.2f}% {self._total - passed:d}s ".encode())
        self._stream.flush()

    def finish(self) -> None:
        """Draw it full, and go to the next line."""
        self.show(self._total)
        self._stream.write(b"\n")
        self._stream.flush()
