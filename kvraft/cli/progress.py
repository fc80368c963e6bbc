"""A progress bar on one line of standard output, as etcdctl draws it."""

from __future__ import annotations

import math
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from kvraft.durations import format_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO

REDRAW_SECONDS = 0.2


class ProgressBar:
    """``total`` steps, of which so many are done. The bar itself is drawn on terminals only."""

    def __init__(self, stream: BinaryIO, total: int) -> None:
        self._stream = stream
        self._total = total
        self._done = 0
        self._began = self._changed = trio.current_time()

    def add(self, steps: int = 1) -> None:
        """So many more are done."""
        self._done += steps
        self._changed = trio.current_time()

    @asynccontextmanager
    async def drawn(self) -> AsyncIterator[None]:
        """Draw it anew as it grows, until the end of the block; then draw it last, and go to the next line."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_drawing)
            yield
            nursery.cancel_scope.cancel()
        elapsed = format_duration(math.floor(trio.current_time() - self._began))
        self._draw(f" {elapsed}")
        self._write("\n")

    async def _keep_drawing(self) -> None:
        while True:
            self._draw(self._time_left())
            await trio.sleep(REDRAW_SECONDS)

    def _time_left(self) -> str:
        if not self._done:
            return ""
        each = (self._changed - self._began) / self._done
        left = each * (self._total - self._done) - (trio.current_time() - self._changed)
        minutes, seconds = divmod(max(math.floor(left), 0), 60)
        hours, minutes = divmod(minutes, 60)
        return f" {f'{hours}h' if hours else ''}{minutes:02d}m{seconds:02d}s" if hours + minutes + seconds else ""

    def _draw(self, time: str) -> None:
        self._write("\r" + line(self._done, self._total, time, _width(self._stream)))

    def _write(self, text: str) -> None:
        self._stream.write(text.encode())
        self._stream.flush()


def line(done: int, total: int, time: str, width: int) -> str:
    """The line, with a bar that fills a terminal ``width`` columns wide; 0: none."""
    counters, share = f" {done} / {total} ", f" {100 * done / total:6.2f}%"
    room = width - len(counters) - len(share) - len(time) - 2
    bar = ""
    if room > 0:
        filled = min(math.ceil(done / total * room), room)
        growing = "o" * (filled - 1) + "m" if 0 < filled < room else "o" * filled
        bar = f"B{growing:<{room}}!"
    return f"{counters}{bar}{share}{time}".ljust(width)


def _width(stream: BinaryIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):  # no terminal, or no file
        return 0
