"""Starts child processes, restarts those that die, ends them all. Single-threaded; waits on pidfds (Linux).

Knows nothing of what the children are. Each runs in a session of its own, so that Ctrl-C in the terminal reaches
the supervisor alone, and writes its output to a log file that is kept within bounds.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from apilayer.cli.cluster.child import PARENT_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

MAX_LOG_BYTES = 16 * 1024 * 1024
"""A log file that has grown past this is moved to ``NAME.log.1``, which holds one such file."""

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 10.0
STABLE_S = 30.0
"""A child that ran this long before it died starts again at the first delay."""

GRACE_S = 10.0
"""From SIGTERM to SIGKILL."""

_HOUSEKEEPING_S = 5.0


class Spec(NamedTuple):
    """A child to run: a module and its arguments, as for ``python -m``. ``loads``: what it imports before all else."""

    name: str
    module: str
    arguments: tuple[str, ...]
    log: Path
    loads: tuple[str, ...] = ()


class Ended(NamedTuple):
    """A child's death. ``code`` is the exit code, negative for a signal."""

    name: str
    pid: int
    code: int

    def __str__(self) -> str:
        if self.code < 0:
            try:
                how = f"was killed by {signal.Signals(-self.code).name}"
            except ValueError:
                how = f"was killed by signal {-self.code}"
        else:
            how = f"ended with exit code {self.code}"
        return f"{self.name} (pid {self.pid}) {how}"


class Child:
    """One child's spec and where it is in its life: running, or waiting until ``restart_at``."""

    __slots__ = ("delay_s", "log_start", "pidfd", "process", "restart_at", "restarts", "spec", "started_at")

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.process: subprocess.Popen[bytes] | None = None
        self.pidfd = -1
        self.restarts = 0
        self.restart_at: float | None = None
        self.delay_s = FIRST_DELAY_S
        self.started_at = 0.0
        self.log_start = 0

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None


class Supervisor:
    """The children of one cluster.

    ``report`` takes one line for a person; ``changed`` is called when a child has another pid. While ``restarting``
    is False (the cluster is starting or stopping) a death is only returned by ``wait``. ``own_log`` is where the
    supervisor's own output goes, kept within bounds like the children's.
    """

    def __init__(
        self,
        specs: Iterable[Spec],
        *,
        report: Callable[[str], None],
        changed: Callable[[], None],
        own_log: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.children = {spec.name: Child(spec) for spec in specs}
        self.restarting = False
        self._report = report
        self._changed = changed
        self._clock = clock
        self._logs = [child.spec.log for child in self.children.values()] + ([own_log] if own_log else [])
        self._poll = select.poll()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._wake_read, select.POLLIN)
        self._by_fd: dict[int, Child] = {}
        self._release = -1
        self._next_housekeeping = clock() + _HOUSEKEEPING_S

    def start(self, *, hold: bool = False) -> None:
        """Start every child, in order. ``hold``: they load, and begin when they are released.

        Raises ``OSError``; ``stop`` ends those already started.
        """
        gate, self._release = os.pipe2(os.O_CLOEXEC)
        try:
            for child in self.children.values():
                self._spawn(child, gate)
        finally:
            os.close(gate)
        if not hold:
            self.release()
        self._changed()

    def release(self) -> None:
        """Let the children begin: what they need is there."""
        if self._release >= 0:
            os.close(self._release)
            self._release = -1

    def wake(self) -> None:
        """Make a ``wait`` under way, or else the next one, return at once. May be called from a signal handler."""
        with contextlib.suppress(BlockingIOError):  # full: a wake-up is already waiting
            os.write(self._wake_write, b"!")

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """Until a child dies, ``wake`` is called or the time is over; restarts what is due. Returns the deaths."""
        until = None if timeout_s is None else self._clock() + timeout_s
        while True:
            deaths, woken = self._reap(self._pause(until))
            self._restart_due()
            if self._clock() >= self._next_housekeeping:
                self._next_housekeeping = self._clock() + _HOUSEKEEPING_S
                self._bound_logs()
            if deaths or woken or (until is not None and self._clock() >= until):
                return deaths

    def stop(
        self, groups: Sequence[Sequence[str]], *, grace_s: float = GRACE_S, hurry: Callable[[], bool] = bool
    ) -> None:
        """End the children group by group: SIGTERM, after the grace (or once ``hurry()``) SIGKILL.

        ``wake`` makes it look at ``hurry`` again.
        """
        self.restarting = False
        for group in groups:
            running = [self.children[name] for name in group if self.children[name].process]
            for child in running:
                _signal(child, signal.SIGTERM)
            until = self._clock() + grace_s
            while any(child.process for child in running) and self._clock() < until and not hurry():
                self.wait(until - self._clock())
            for child in running:
                if child.process:
                    self._report(f"{child.spec.name} (pid {child.pid}) does not end, killing it")
                    _signal(child, signal.SIGKILL)
            while any(child.process for child in running):
                self.wait(None)

    def close(self) -> None:
        """Free the descriptors. Every child has ended by now."""
        self.release()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _bound_logs(self) -> None:
        for path in self._logs:
            try:
                _bound_log(path)
            except OSError as error:  # no room for the copy, say: said again each time, the cluster goes on
                self._report(f"cannot rotate {path}: {error}")

    def _pause(self, until: float | None) -> list[tuple[int, int]]:
        """Sleep in ``poll`` until the nearest of: something happens, ``until``, a restart, housekeeping."""
        times = [child.restart_at for child in self.children.values() if child.restart_at is not None]
        times.append(self._next_housekeeping)
        if until is not None:
            times.append(until)
        return self._poll.poll(max(0.0, min(times) - self._clock()) * 1000 + 1)

    def _reap(self, events: list[tuple[int, int]]) -> tuple[list[Ended], bool]:
        deaths, woken = [], False
        for descriptor, _ in events:
            if descriptor == self._wake_read:
                os.read(self._wake_read, 4096)
                woken = True
                continue
            child = self._by_fd.pop(descriptor)
            self._poll.unregister(descriptor)
            os.close(descriptor)
            assert child.process is not None
            ended = Ended(child.spec.name, child.process.pid, child.process.wait())
            child.process = None
            deaths.append(ended)
            if self.restarting:
                self._schedule(child, str(ended))
        if deaths:
            self._changed()
        return deaths, woken

    def _schedule(self, child: Child, why: str) -> None:
        now = self._clock()
        if now - child.started_at >= STABLE_S:
            child.delay_s = FIRST_DELAY_S
        child.restarts += 1
        child.restart_at = now + child.delay_s
        self._report(f"{why}; restart {child.restarts} in {child.delay_s:g} s")
        child.delay_s = min(child.delay_s * 2, MAX_DELAY_S)

    def _restart_due(self) -> None:
        if not self.restarting:
            return
        now = self._clock()
        for child in self.children.values():
            if child.restart_at is None or child.restart_at > now:
                continue
            child.restart_at = None
            try:
                self._spawn(child)
            except OSError as error:
                self._schedule(child, f"{child.spec.name} cannot be started: {error}")
            self._changed()

    def _spawn(self, child: Child, stdin: int = subprocess.DEVNULL) -> None:
        _bound_log(child.spec.log)
        spec = child.spec
        argv = [sys.executable, "-m", "apilayer.cli.cluster.child", ",".join(spec.loads), spec.module, *spec.arguments]
        with open(child.spec.log, "ab") as log:
            child.log_start = log.tell()
            process = subprocess.Popen(  # noqa: S603 - our own modules, by our own interpreter, without a shell
                argv,
                stdin=stdin,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, PARENT_VARIABLE: str(os.getpid())},
            )
        child.process = process
        child.started_at = self._clock()
        child.pidfd = os.pidfd_open(process.pid)
        self._by_fd[child.pidfd] = child
        self._poll.register(child.pidfd, select.POLLIN)


def _signal(child: Child, number: signal.Signals) -> None:
    """To the process, and when it is to be killed, to whatever it has started as well."""
    assert child.process is not None
    if number == signal.SIGKILL:
        with contextlib.suppress(ProcessLookupError):  # it has not made its session yet: the next line reaches it
            os.killpg(child.process.pid, number)
    child.process.send_signal(number)


def _bound_log(path: Path) -> None:
    """Copy and truncate: the child holds the file open for appending and goes on at its new end."""
    with contextlib.suppress(FileNotFoundError):  # nothing written yet
        if path.stat().st_size > MAX_LOG_BYTES:
            shutil.copyfile(path, path.with_name(path.name + ".1"))
            os.truncate(path, 0)
