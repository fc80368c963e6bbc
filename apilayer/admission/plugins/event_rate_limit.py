"""How many events a second are taken: of all together, per namespace, per user, per source and object.

Source: Kubernetes' ``plugin/pkg/admission/eventratelimit``.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.admission.plugin import CREATE, UPDATE, ConfigurationError, Plugin, on
from apilayer.api import status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apilayer.admission.plugin import Attributes, Setup

TYPES = ("Namespace", "Server", "SourceAndObject", "User")
DEFAULT_CACHE_SIZE = 4096
MAX_CACHE_SIZE = 1_000_000
_VERSION = "eventratelimit.admission.k8s.io/v1alpha1"
_OBJECT = ("kind", "namespace", "name", "uid", "apiVersion")


@attrs.define
class _Bucket:
    """Holds what is left of the burst, and when that was so."""

    tokens: float
    at: float


class _Limit:
    """One limit: a bucket of tokens per key, the least recently used of which are forgotten."""

    def __init__(self, kind: str, per_second: float, burst: int, size: int, clock: Callable[[], float]) -> None:
        self.kind = kind
        self._per_second = per_second
        self._burst = burst
        self._size = 1 if kind == "Server" else size
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def takes(self, key: str) -> bool:
        """Whether one more is within the limit; takes a token if so."""
        now = self._clock()
        bucket = self._buckets.pop(key, None) or _Bucket(self._burst, now)
        self._buckets[key] = bucket
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_second)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True


class EventRateLimit(Plugin):
    """Acts on events."""

    name = "EventRateLimit"
    interests = (on("events", operations=(CREATE, UPDATE)),)

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds. Raises ConfigurationError, also without a configuration."""
        super().__init__(setup)
        self._limits = _limits(setup.configuration, clock)

    def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 429. Each limit counts the event, whatever the others say."""
        refused = ""
        for limit in self._limits:
            key = _key(limit.kind, attributes)
            if not limit.takes(key):
                refused = f"limit reached on type {limit.kind} for key {key}"
        if refused:
            error = status.too_many_requests(f"Too many requests: {refused}")
            del error.status["details"]
            raise status.StatusError(429, error.status)


def _key(kind: str, attributes: Attributes) -> str:
    if kind == "Namespace":
        return attributes.namespace
    if kind == "User":
        return attributes.user.name
    if kind == "Server":
        return ""
    source, concerned = attributes.new.get("source") or {}, attributes.new.get("involvedObject") or {}
    parts = [source.get("component"), source.get("host"), *(concerned.get(part) for part in _OBJECT)]
    return "".join(part or "" for part in parts)


def _limits(document: Mapping[str, Any] | None, clock: Callable[[], float]) -> list[_Limit]:
    if document is None:
        raise ConfigurationError("limits: must not be empty")
    if document.get("kind") != "Configuration" or document.get("apiVersion") != _VERSION:
        raise ConfigurationError(f"not a Configuration of apiVersion {_VERSION}")
    limits = document.get("limits")
    if not isinstance(limits, list) or not limits:
        raise ConfigurationError("limits: must not be empty")
    return [_limit(f"limits[{index}]", item, clock) for index, item in enumerate(limits)]


def _limit(path: str, item: Any, clock: Callable[[], float]) -> _Limit:
    if not isinstance(item, dict) or item.get("type") not in TYPES:
        raise ConfigurationError(f"{path}.type: must be one of {', '.join(TYPES)}")
    for key in ("qps", "burst"):
        if not isinstance(item.get(key), int) or item[key] <= 0:
            raise ConfigurationError(f"{path}.{key}: must be positive")
    size = item.get("cacheSize") or DEFAULT_CACHE_SIZE
    if not isinstance(size, int) or not 0 < size <= MAX_CACHE_SIZE:
        raise ConfigurationError(f"{path}.cacheSize: must be between 0 and {MAX_CACHE_SIZE}")
    return _Limit(item["type"], item["qps"], item["burst"], size, clock)
