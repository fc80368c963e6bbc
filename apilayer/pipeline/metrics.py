"""What is counted about requests: a dictionary entry and a few additions each, so that it costs next to nothing.

Nothing here knows a metrics library: who wants the numbers reads them (`apilayer.server.metrics`). Labels are
bounded: only resources that are served, and a fixed set of other paths, are told apart.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import lru_cache
from typing import TYPE_CHECKING

from apilayer.api.resources import find

if TYPE_CHECKING:
    from apilayer.pipeline.request_info import RequestInfo

REQUEST_BUCKETS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5),
    *(2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
"""Upper bounds in seconds, as kube-apiserver's."""
AUTHORIZATION_BUCKETS = tuple(0.001 * 2**power for power in range(15))
_OTHER_PATHS = frozenset({"api", "apis", "healthz", "livez", "metrics", "openapi", "readyz", "version"})
_VERBS = {"create": "POST", "update": "PUT"}


class Histogram:
    """Counts by bucket, their sum and number."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Adds one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Pairs of upper bound and how many values are not above it, the last one ``+Inf``."""
        found, seen = [], 0
        for bound, count in zip((*map(str, self._bounds), "+Inf"), self.counts, strict=True):
            seen += count
            found.append((bound, float(seen)))
        return found


Labels = tuple[str, ...]


class RequestMetrics:
    """Counts of requests by their labels: verb, group, version, resource, subresource and scope (and code)."""

    def __init__(self) -> None:
        self.requests: dict[tuple[Labels, int], int] = {}
        self.durations: dict[Labels, Histogram] = {}
        self.watch_events: dict[tuple[str, str, str], int] = {}
        """Events sent by (group, version, kind)."""
        self.authorizations: dict[str, Histogram] = {}
        """How long it took to find out who may, by what came of it."""

    def observe(self, info: RequestInfo | None, code: int, seconds: float) -> None:
        """Counts an answer. A watch is counted when it begins, without its duration."""
        labels = _labels(info)
        key = (labels, code)
        self.requests[key] = self.requests.get(key, 0) + 1
        if labels[0] == "WATCH":
            return
        histogram = self.durations.get(labels)
        if histogram is None:
            histogram = self.durations[labels] = Histogram(REQUEST_BUCKETS)
        histogram.observe(seconds)

    def authorized(self, outcome: str, seconds: float) -> None:
        """Counts a decision about a request."""
        histogram = self.authorizations.get(outcome)
        if histogram is None:
            histogram = self.authorizations[outcome] = Histogram(AUTHORIZATION_BUCKETS)
        histogram.observe(seconds)

    def sent(self, kind: tuple[str, str, str], events: int) -> None:
        """Counts events of a watch."""
        self.watch_events[kind] = self.watch_events.get(kind, 0) + events


@lru_cache(maxsize=4096)
def _labels(info: RequestInfo | None) -> Labels:
    if info is None:
        return ("", "", "", "", "", "")
    verb = _VERBS.get(info.verb, info.verb.upper())
    if not info.is_resource:
        root = info.path.strip("/").partition("/")[0]
        return (verb, "", "", "", f"/{root}" if root in _OTHER_PATHS else "", "")
    row = find(info.group, info.version, info.resource)
    if row is None:
        return (verb, "", "", "", "", "")
    known = not info.subresource or row.subresource(info.subresource) is not None
    scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
    return (verb, info.group, info.version, info.resource, info.subresource if known else "", scope)
