"""Commands that go on until somebody ends them: SIGINT and SIGTERM end the waiting, and what is held is let go."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from kvraft.client import Client


class UntilSignal:
    """The scope that a signal cancels; or, while ``program`` runs, SIGTERM goes to that and SIGINT it has already."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.program: trio.Process | None = None

    def watch_over(self, program: trio.Process) -> None:
        """From now on ``program`` says when this ends."""
        self.program = program

    async def _listen(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if self.program is None:
                self.scope.cancel()
            elif number == signal.SIGTERM and self.program.returncode is None:
                self.program.terminate()


@contextmanager
def until_signal(client: Client) -> Iterator[UntilSignal]:
    """Run the block until it ends or a signal comes."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        until = UntilSignal()
        client.start_soon(lambda: until._listen(signals))
        with until.scope:
            yield until
