"""A member as a process: signals end it in bounded time, whatever hangs, and it dies of the signal as etcd does."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, NoReturn

import trio

from kvraft.cli.notify import tell_systemd
from kvraft.errors import KvraftError
from kvraft.logs import fields
from kvraft.server.config import ConfigError
from kvraft.server.joining import join
from kvraft.server.member import Member

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.server.config import MemberConfig

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
END_SECONDS = 1.4
"""From a signal to the end of the process, at the latest: what is not done by then is what the log is for."""


class Signals:
    """Waits for the signals in a thread of its own, which goes on when the loop, or a disk under it, stands still.

    Make it in the main thread, before other threads: the signals are blocked from then on, for all of them.
    """

    def __init__(self) -> None:
        self._before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        self.received: signal.Signals | None = None
        self._released = False
        self._stop: Callable[[], None] = lambda: die(self.received)
        self._thread = threading.Thread(target=self._wait, name="kvraft-signals", daemon=True)
        self._thread.start()

    def on_first(self, stop: Callable[[], None]) -> None:
        """What the first signal does; called from the thread. Until it is set, the process dies."""
        self._stop = stop

    def release(self) -> None:
        """Leave the signals as they were found, for whoever goes on in this process."""
        self._released = True
        assert self._thread.ident is not None
        signal.pthread_kill(self._thread.ident, SIGNALS[0])  # only it gets that one
        self._thread.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _wait(self) -> None:
        number = signal.sigwait(SIGNALS)
        if self._released:
            return
        self.received = signal.Signals(number)
        deadline = time.monotonic() + END_SECONDS
        log.info("received signal; shutting down", extra=fields(signal=self.received.name))
        self._stop()
        again = signal.sigtimedwait(SIGNALS, max(0.0, deadline - time.monotonic()))
        if again is None:
            log.warning("not stopped in time; ending at once", extra=fields(seconds=END_SECONDS))
        else:
            log.warning("received another signal; ending at once", extra=fields(signal=signal.Signals(again[0]).name))
        die(self.received)


def die(number: signal.Signals | None) -> NoReturn:
    """End the process by ``number``, so that whoever started it knows; as the first process of a container, with 0."""
    assert number is not None
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if os.getpid() != 1:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.kill(os.getpid(), number)
        time.sleep(1)  # the kernel may take another thread's turn to deliver it
    os._exit(0)


def run_member(config: MemberConfig) -> int:
    """Serve until a signal, of which the process dies then. 1, with one line on standard error, when it fails."""
    signals = Signals()
    sys.setswitchinterval(0.0001)  # the disk thread must not wait long for the loop when a sync is done
    try:
        joining = config.initial_cluster_state == "existing" and not config.has_data
        secure = joining and config.dials_peers_over_tls
        tls = config.peer_tls.client_context() if secure else None
        member = Member(config, trio.run(join, config, tls) if joining else None)
    except (ConfigError, KvraftError, OSError) as error:
        signals.release()
        print(f"kvraft: {error}".replace("\n", " "), file=sys.stderr)
        return 1
    gc.freeze()  # what is here now stays: to look for garbage in it would hold up the loop
    gc.enable()
    failure = trio.run(_serve, member, signals)
    if failure is not None:
        print(f"kvraft: {failure}".replace("\n", " "), file=sys.stderr)
        return 1
    log.info("stopped", extra=fields(name=config.name))
    if signals.received is not None:
        die(signals.received)
    return 0


async def _serve(member: Member, signals: Signals) -> Exception | None:
    failure: Exception | None = None
    asked = trio.Event()
    token = trio.lowlevel.current_trio_token()
    signals.on_first(lambda: token.run_sync_soon(asked.set))
    async with trio.open_nursery() as nursery:

        async def stop() -> None:
            await asked.wait()
            tell_systemd("STOPPING=1")
            await member.stop()

        async def ready() -> None:
            await member.ready.wait()
            tell_systemd("READY=1")

        nursery.start_soon(stop)
        nursery.start_soon(ready)
        try:
            await member.run()
        except (KvraftError, OSError) as error:
            failure = error
        nursery.cancel_scope.cancel()
    return failure
