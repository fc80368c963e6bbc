"""Instructions of a process, which others on the machine do not change as they change its time: with ``perf``."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PERF = shutil.which("perf")
EVENT = "instructions:u"
_SECONDS = 10.0


@contextmanager
def counted(pid: int) -> Iterator[list[int]]:
    """After the block the list has what the process executed meanwhile in user mode; nothing without ``perf``."""
    found: list[int] = []
    if PERF is None:
        yield found
        return
    orders, ordering = os.pipe()
    answers, answering = os.pipe()
    command = [
        PERF,
        "stat",
        "-x",
        ",",
        "-e",
        EVENT,
        "-D",
        "-1",
        "--control",
        f"fd:{orders},{answering}",
        "-p",
        str(pid),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, pass_fds=(orders, answering))
    os.close(orders)
    os.close(answering)
    try:
        _order(ordering, answers, b"enable\n")
        yield found
        _order(ordering, answers, b"disable\n")
    finally:
        os.close(ordering)
        os.close(answers)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=_SECONDS)
    found += [int(line.split(",")[0]) for line in said.splitlines() if EVENT in line and line[0].isdecimal()]


def _order(ordering: int, answers: int, order: bytes) -> None:
    """Waits until it has been carried out, or ``perf`` has ended because it may not count here."""
    try:
        os.write(ordering, order)
        os.read(answers, 16)
    except BrokenPipeError:
        return
