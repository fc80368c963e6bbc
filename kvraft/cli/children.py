"""Programs that a command runs on behalf of its user."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import trio

from kvraft.cli.quoting import encode, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GRACE_SECONDS = 5.0
"""After so long a program that was asked to end is killed."""


class ProgramFailed(Exception):
    """The program could not be started, or ended badly. ``code`` is its exit code, 1 when it has none."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


async def run_program(
    words: Sequence[str],
    environment: Mapping[str, str],
    started: Callable[[trio.Process], object] = lambda process: None,
) -> None:
    """Run it to its end, with our output and no input. Cancelled: it is ended. Raises ``ProgramFailed``."""
    if shutil.which(words[0]) is None:
        raise ProgramFailed(f'exec: "{words[0]}": executable file not found in $PATH')
    try:
        process = await trio.lowlevel.open_process(list(words), env=environment, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise ProgramFailed(f"fork/exec {words[0]}: {(error.strerror or str(error)).lower()}") from error
    started(process)
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            await _end(process)
    if code < 0:
        raise ProgramFailed(f"signal: {-code}")
    if code:
        raise ProgramFailed(f"exit status {code}", code)


async def _end(process: trio.Process) -> None:
    process.terminate()
    with trio.CancelScope(shield=True):
        with trio.move_on_after(GRACE_SECONDS):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()


def go_list(words: Sequence[str]) -> str:
    """``["sh" "-c"]``, as Go shows a list."""
    return f"[{' '.join(quote(encode(word)) for word in words)}]"
