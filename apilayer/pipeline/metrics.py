"""What is counted about requests: a dictionary entry and a few additions each, so that it costs next to nothing.

Nothing here knows a metrics library: who wants the numbers reads them (`apilayer.server.metrics`). Labels are
bounded: only resources that are served, and a fixed set of other paths, are told apart.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, TypeVar

from apilayer.api.managed import is_apply
from apilayer.api.resources import find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apilayer.pipeline.request_info import RequestInfo

REQUEST_BUCKETS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5),
    *(2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
"""Upper bounds in seconds, as kube-apiserver's."""
SIZE_BUCKETS = tuple(10.0**power for power in range(3, 10))
"""Upper bounds in bytes, as kube-apiserver's."""
WATCH_LIST_BUCKETS = (*(0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0), *(10.0, 15.0, 20.0, 30.0, 45.0, 60.0))
AUTHORIZATION_BUCKETS = tuple(0.001 * 2**power for power in range(15))
MAX_FRESH = 128
K = TypeVar("K")
_OTHER_PATHS = frozenset({"api", "apis", "healthz", "livez", "metrics", "openapi", "readyz", "version"})
_VERBS = {"create": "POST", "update": "PUT", "deletecollection": "DELETE"}
_CONNECTING = frozenset({"attach", "exec", "log", "portforward", "proxy"})
_SIZED = frozenset({"GET", "LIST"})


def bound_text(bound: float) -> str:
    """An upper bound as kube-apiserver writes it, so that who asks for the bucket ``1`` finds it: 0.005, 1, 1e+06."""
    return f"{bound:g}"


class Histogram:
    """Counts by bucket, and the sum of the values. They are sorted into the buckets many at a time."""

    __slots__ = ("_bounds", "_counts", "_fresh", "_total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._total = 0.0
        self._fresh: list[float] = []
        """Values that are not in `_counts` and `_total` yet."""

    @property
    def counts(self) -> list[int]:
        """How many values are in each bucket, the last one being for those above all bounds."""
        self._settle()
        return self._counts

    @property
    def total(self) -> float:
        """The sum of all values."""
        self._settle()
        return self._total

    def observe(self, value: float) -> None:
        """Adds one value."""
        fresh = self._fresh
        fresh.append(value)
        if len(fresh) >= MAX_FRESH:
            self._settle()

    def _settle(self) -> None:
        fresh = self._fresh
        if not fresh:
            return
        self._total += sum(fresh)
        fresh.sort()
        before = 0
        for index, bound in enumerate(self._bounds):
            up_to = bisect_right(fresh, bound, before)
            self._counts[index] += up_to - before
            before = up_to
        self._counts[-1] += len(fresh) - before
        fresh.clear()

    def take_back(self, value: float) -> None:
        """Undoes one `observe`."""
        self.counts[bisect_left(self._bounds, value)] -= 1
        self._total -= value

    def add(self, other: Histogram) -> None:
        """Takes in what another one with the same bounds has seen."""
        self._counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self._total += other.total

    def cumulative(self) -> list[tuple[str, float]]:
        """Pairs of upper bound, as Go writes it, and how many values are not above it; the last one is ``+Inf``."""
        found, seen = [], 0
        for bound, count in zip((*map(bound_text, self._bounds), "+Inf"), self.counts, strict=True):
            seen += count
            found.append((bound, float(seen)))
        return found


class Count:
    """A number that rises."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


Labels = tuple[str, ...]
"""Of a request: verb, group, version, resource, subresource, scope and dry run."""


class _Answers:
    """Answers with one code to requests with the same labels."""

    __slots__ = ("count", "durations", "sizes")

    def __init__(self, durations: Histogram, sizes: Histogram | None) -> None:
        self.count = 0
        self.durations = durations
        self.sizes = sizes


class RequestMetrics:
    """Counts of requests by their labels (see `labels_of`)."""

    def __init__(self) -> None:
        self._answers: dict[tuple[Labels, int], _Answers] = {}
        """With the code of the answer: one look-up for all that is counted about it."""
        self.durations: dict[Labels, Histogram] = {}
        self.queued: dict[Labels, Histogram] = {}
        """What `durations` would have beside, and less, if those that waited for a seat had not."""
        self.sizes: dict[Labels, Histogram] = {}
        """Bytes of what was read, before it is compressed; dry runs are not told apart."""
        self.watching: dict[Labels, int] = {}
        """Watches that last."""
        self.listed: dict[tuple[str, str, str, str], Histogram] = {}
        """Seconds until a watch had sent the present state, by group, version, resource and scope."""
        self.terminated: dict[Labels, int] = {}
        """Those whose time was over."""
        self.aborted: dict[Labels, int] = {}
        """Those that were given up for another reason, which mostly is that the client has gone."""
        self.watch_events: dict[tuple[str, str, str], Count] = {}
        """Events sent by (group, version, kind)."""
        self.authorizations: dict[str, Histogram] = {}
        """How long it took to find out who may, by what came of it."""
        self.failed_handshakes = 0
        """Connections that never came to a request."""

    def observe(self, labels: Labels, code: int, seconds: float, size: int = 0, waited_seconds: float = 0.0) -> None:
        """Counts an answer of `size` bytes to a request that waited so long for its turn, all in all `seconds`."""
        answers = self._answers.get((labels, code)) or self._first(labels, code)
        answers.count += 1
        answers.durations.observe(seconds)
        if answers.sizes is not None:
            answers.sizes.observe(size)
        if waited_seconds:
            change = _histogram(self.queued, labels, REQUEST_BUCKETS)
            change.take_back(seconds)
            change.observe(seconds - waited_seconds)

    def _first(self, labels: Labels, code: int) -> _Answers:
        sizes = _histogram(self.sizes, labels[:-1], SIZE_BUCKETS) if labels[0] in _SIZED else None
        answers = _Answers(_histogram(self.durations, labels, REQUEST_BUCKETS), sizes)
        self._answers[labels, code] = answers
        return answers

    @property
    def requests(self) -> dict[tuple[Labels, int], int]:
        """How many there were, by labels and the code of the answer."""
        return {key: answers.count for key, answers in self._answers.items()}

    def given_up(self, labels: Labels, *, timed_out: bool) -> None:
        """Counts a request that got no answer from its handler."""
        counts = self.terminated if timed_out else self.aborted
        counts[labels] = counts.get(labels, 0) + 1

    def watch_began(self, labels: Labels) -> None:
        """Counts a watch for as long as it lasts."""
        self.watching[labels] = self.watching.get(labels, 0) + 1

    def watch_listed(self, labels: Labels, seconds: float) -> None:
        """A watch has sent the present state."""
        _, group, version, resource, _, scope, _ = labels
        _histogram(self.listed, (group, version, resource, scope), WATCH_LIST_BUCKETS).observe(seconds)

    def watch_ended(self, labels: Labels, seconds: float) -> None:
        """Counts the request of a watch, which is over."""
        self.watching[labels] -= 1
        self.observe(labels, 200, seconds)

    def authorized(self, outcome: str, seconds: float) -> None:
        """Counts a decision about a request."""
        found = self.authorizations.get(outcome) or _histogram(self.authorizations, outcome, AUTHORIZATION_BUCKETS)
        found.observe(seconds)

    def events_of(self, kind: tuple[str, str, str]) -> Count:
        """Where the events of a kind's watches are counted."""
        return self.watch_events.setdefault(kind, Count())


def _histogram(found: dict[K, Histogram], key: K, bounds: tuple[float, ...]) -> Histogram:
    histogram = found.get(key)
    if histogram is None:
        histogram = found[key] = Histogram(bounds)
    return histogram


UNREAD: Labels = ("", "", "", "", "", "", "")
"""Of a request that cannot be read."""


def labels_of(info: RequestInfo, query: Mapping[str, Sequence[str]]) -> Labels:
    """What a request is counted under, see `as_patched`."""
    labels = _labels(info)
    if query and "dryRun" in query:
        labels = (*labels[:-1], "All" if set(query["dryRun"]) == {"All"} else "invalid")
    return labels


def as_patched(labels: Labels, content_type: str | None) -> Labels:
    """The labels of a patch whose body is of this type: an apply is counted by itself."""
    return ("APPLY", *labels[1:]) if labels[0] == "PATCH" and is_apply(content_type) else labels


def _labels(info: RequestInfo) -> Labels:
    verb = _VERBS.get(info.verb, info.verb.upper())
    if not info.is_resource:
        root = info.path.strip("/").partition("/")[0]
        return (verb, "", "", "", f"/{root}" if root in _OTHER_PATHS else "", "", "")
    row = find(info.group, info.version, info.resource)
    if row is None:
        return (verb, "", "", "", "", "", "")
    subresource, scope = info.subresource, "cluster"
    if subresource in row.not_offered:
        verb = "CONNECT" if subresource in _CONNECTING else verb
    elif row.subresource(subresource) is None:
        subresource = ""
    if info.name or info.verb == "create":
        scope = "resource"
    elif info.namespace:
        scope = "namespace"
    return (verb, info.group, info.version, info.resource, subresource, scope, "")
