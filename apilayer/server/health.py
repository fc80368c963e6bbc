"""/healthz, /livez and /readyz: named checks, one by one or all, in the text form that Kubernetes answers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from apilayer.pipeline.request import Response
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apilayer.registry.options import Query
    from apilayer.storage.interface import Store
    from apilayer.storage.watch_cache import WatchCache

DEFAULT_STORE_SECONDS = 2.0
TEXT = b"text/plain; charset=utf-8"
NO_SNIFF = ((b"X-Content-Type-Options", b"nosniff"),)


@attrs.frozen
class Check:
    """A named condition; `passes` answers whether it holds."""

    name: str
    passes: Callable[[], Awaitable[bool]]


class Result:
    """How often a check has failed and passed, and what it did last."""

    __slots__ = ("counts", "last")

    def __init__(self) -> None:
        self.counts = [0, 0]
        self.last = False


def not_found() -> Response:
    """What a path that nothing serves answers."""
    return Response(404, b"404 page not found\n", TEXT, NO_SNIFF)


class Health:
    """The checks of each endpoint. `shutting_down` fails readiness so that clients go elsewhere.

    The store has `live_seconds` to answer the check `etcd`, and `ready_seconds` for `etcd-readiness`.
    """

    def __init__(
        self,
        store: Store,
        cache: WatchCache,
        *,
        live_seconds: float = DEFAULT_STORE_SECONDS,
        ready_seconds: float = DEFAULT_STORE_SECONDS,
    ) -> None:
        self.shutting_down = False
        self.started = False
        """Whether the system namespaces are there and controllers run."""
        self._store = store
        self._cache = cache
        ping, log, etcd = (
            Check("ping", _true),
            Check("log", _true),
            Check("etcd", partial(self.store_answers, live_seconds)),
        )
        started = Check("poststarthook/start-system-namespaces-controller", self._has_started)
        synced = Check("informer-sync", self._synced)
        self.results: dict[tuple[str, str], Result] = {}
        """What came of checks when all of an endpoint were asked for, by endpoint and check."""
        self._endpoints: dict[str, tuple[Check, ...]] = {
            "healthz": (ping, log, etcd, started),
            "livez": (ping, log, started),
            "readyz": (
                ping,
                log,
                etcd,
                Check("etcd-readiness", partial(self.store_answers, ready_seconds)),
                synced,
                started,
                Check("shutdown", self._stays),
            ),
        }

    def add(self, check: Check) -> None:
        """One more condition of every endpoint."""
        self._endpoints = {endpoint: (*checks, check) for endpoint, checks in self._endpoints.items()}

    async def ready(self) -> bool:
        """Whether every readiness check passes."""
        return all([await check.passes() for check in self._endpoints["readyz"]])

    @property
    def paths(self) -> list[str]:
        """Every path that is served here."""
        found = []
        for endpoint, checks in self._endpoints.items():
            found.append(f"/{endpoint}")
            found.extend(f"/{endpoint}/{check.name}" for check in checks)
        return found

    async def respond(self, path: str, query: Query) -> Response | None:
        """The answer for a health path, None when `path` is none."""
        endpoint, _, name = path.strip("/").partition("/")
        checks = self._endpoints.get(endpoint)
        if checks is None:
            return None
        if name:
            chosen = [check for check in checks if check.name == name]
            return await self._single(chosen[0]) if chosen else not_found()
        return await self._all(endpoint, checks, query)

    async def _passes(self, endpoint: str, check: Check) -> bool:
        """Looks, and counts what came of it."""
        passes = await check.passes()
        result = self.results.setdefault((endpoint, check.name), Result())
        result.counts[passes] += 1
        result.last = passes
        return passes

    async def _single(self, check: Check) -> Response:
        if await check.passes():
            return Response(200, b"ok", TEXT, NO_SNIFF)
        return Response(
            500, b"internal server error: %s failed: reason withheld\n" % check.name.encode(), TEXT, NO_SNIFF
        )

    async def _all(self, endpoint: str, checks: tuple[Check, ...], query: Query) -> Response:
        excluded = {name for value in query.get("exclude", []) for name in value.split(",") if name}
        lines, failed = [], False
        for check in checks:
            if check.name in excluded:
                excluded.discard(check.name)
                lines.append(f"[+]{check.name} excluded: ok")
            elif await self._passes(endpoint, check):
                lines.append(f"[+]{check.name} ok")
            else:
                failed = True
                lines.append(f"[-]{check.name} failed: reason withheld")
        if excluded:
            names = ", ".join(f'"{name}"' for name in sorted(excluded))
            lines.append(f"warn: some health checks cannot be excluded: no matches for {names}")
        if not failed and "verbose" not in query:
            return Response(200, b"ok", TEXT, NO_SNIFF)
        lines.append(f"{endpoint} check {'failed' if failed else 'passed'}")
        return Response(500 if failed else 200, "\n".join(lines).encode() + b"\n", TEXT, NO_SNIFF)

    async def store_answers(self, seconds: float = DEFAULT_STORE_SECONDS) -> bool:
        """Whether the store answers in time."""
        with trio.move_on_after(seconds):
            try:
                await self._store.current_revision()
            except StoreError:
                return False
            return True
        return False

    async def _synced(self) -> bool:
        return self._cache.synced

    async def _has_started(self) -> bool:
        return self.started

    async def _stays(self) -> bool:
        return not self.shutting_down


async def _true() -> bool:
    return True
