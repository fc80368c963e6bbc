"""How a server ends: not ready at once, then (after the delay) nothing new, watches ended, running requests awaited.

Source: Kubernetes documentation, "kube-apiserver" flags ``--shutdown-*``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from apilayer.pipeline.request import Response

if TYPE_CHECKING:
    from apilayer.server.application import Application
    from apilayer.server.listener import Listener
    from apilayer.storage.watch_cache import WatchCache

DRAIN_SECONDS = 60.0
STEP_SECONDS = 0.05
QUIET_STEPS = 4
"""New requests are refused for at least so many steps without a running one."""
PROBES = frozenset({"healthz", "livez", "readyz"})
RETRY_AFTER_SECONDS = 5
MESSAGE = b"The apiserver is shutting down, please try again later.\n"

log = logging.getLogger("apilayer.server")


class ShutdownFlags(Protocol):
    """What the flags say (see `ServerOptions`); times in seconds."""

    @property
    def shutdown_delay_duration(self) -> float: ...
    @property
    def shutdown_send_retry_after(self) -> bool: ...
    @property
    def shutdown_watch_termination_grace_period(self) -> float: ...


def is_probe(path: str) -> bool:
    """Whether the path is one that says how the server is."""
    return path.split("/", 2)[1:2] in ([probe] for probe in PROBES)


def try_elsewhere() -> Response:
    """429 for a request that another server is to answer; the connection is to be closed."""
    headers = ((b"Retry-After", b"%d" % RETRY_AFTER_SECONDS), (b"X-Content-Type-Options", b"nosniff"))
    return Response(429, MESSAGE, b"text/plain; charset=utf-8", headers)


async def drain(flags: ShutdownFlags, app: Application, listener: Listener, cache: WatchCache) -> None:
    """Ends everything that runs; readiness has failed already. Never longer than it may take."""
    await trio.sleep(flags.shutdown_delay_duration)
    log.info("shutting down: running requests are awaited")
    with trio.move_on_after(DRAIN_SECONDS + flags.shutdown_watch_termination_grace_period) as scope:
        if flags.shutdown_send_retry_after:
            app.refusing = True
            await _until_quiet(app)
        await _end_watches(cache, flags.shutdown_watch_termination_grace_period)
        listener.shut_down()
        await trio.sleep_forever()
    assert scope.cancelled_caught
    log.warning("requests were still running after %d seconds; they are cut off", DRAIN_SECONDS)
    listener.cut_off()


async def _until_quiet(app: Application) -> None:
    """Until no request has been running for a moment."""
    quiet = 0
    while quiet < QUIET_STEPS:
        await trio.sleep(STEP_SECONDS)
        quiet = 0 if any(app.flow_control.running) else quiet + 1


async def _end_watches(cache: WatchCache, grace_seconds: float) -> None:
    """One after the other within the grace period, so that their clients do not all come to the next server at once."""
    steps = max(1, int(grace_seconds / STEP_SECONDS))
    watchers = cache.watchers()
    for step in range(steps):
        for watcher in watchers[len(watchers) * step // steps : len(watchers) * (step + 1) // steps]:
            watcher.close()
        if step < steps - 1:
            await trio.sleep(STEP_SECONDS)
    for watcher in cache.watchers():  # those that came meanwhile
        watcher.close()
