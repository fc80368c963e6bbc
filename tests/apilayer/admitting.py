"""For tests of admission plugins: a cluster that is only a watch cache, and one write reviewed over it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, cast

import attrs
import orjson
import pytest

from apilayer.admission.listers import Listers
from apilayer.admission.plugin import Attributes, Plugin, Setup
from apilayer.api.resources import RESOURCES
from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import User
from apilayer.registry.options import WriteOptions
from apilayer.storage.interface import Change, Store
from apilayer.storage.watch_cache import WatchCache

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Mapping

    from apilayer.admission.plugin import Operation
    from apilayer.api.resources import Resource

Object = dict[str, Any]

ROWS: dict[str, Resource] = {row.group_resource: row for row in RESOURCES if row.stored_as is None and not row.virtual}
ALICE = User("alice", groups=("devs", "system:authenticated"))


class Cluster:
    """Objects in a watch cache that no store feeds."""

    def __init__(self) -> None:
        self._cache = WatchCache(cast("Store", None), ROWS.values())
        self.listers = Listers(self._cache, ROWS)

    def put(self, group_resource: str, obj: Object, namespace: str = "") -> Cluster:
        """Adds an object; answers the cluster itself."""
        cache = self._cache.of(ROWS[group_resource])
        name = obj["metadata"]["name"]
        if namespace:
            obj["metadata"]["namespace"] = namespace
        path = f"{namespace}/{name}" if namespace else name
        cache.apply(Change(cache.prefix + path.encode(), cache.codec.encode(obj), cache.last_change + 1))
        return self

    def namespace(self, name: str = "ns", phase: str = "Active", **metadata: Any) -> Cluster:
        """Adds a namespace."""
        return self.put("namespaces", {"metadata": {"name": name, **metadata}, "status": {"phase": phase}})


def setup(cluster: Cluster, configuration: Mapping[str, Any] | None = None, **more: Any) -> Setup:
    """What a plugin is made of."""
    return Setup(cluster.listers, configuration, **more)


@attrs.frozen
class Outcome:
    """What came of a review: the object, and what was said; `error` None when it went through."""

    obj: Object
    error: StatusError | None
    attributes: Attributes

    @property
    def refusal(self) -> str:
        """The text of the refusal, "" without one."""
        return "" if self.error is None else str(self.error.status["message"])


def finish(decision: Awaitable[None] | None) -> None:
    """Sees a decision through that waits for nothing, because who is asked answers at once."""
    if decision is not None:
        with pytest.raises(StopIteration):
            cast("Coroutine[Any, None, None]", decision).send(None)


def review(
    plugin: Plugin,
    operation: Operation,
    group_resource: str,
    obj: Object | None,
    old: Object | None = None,
    *,
    namespace: str = "ns",
    subresource: str = "",
    user: User = ALICE,
    name: str | None = None,
) -> Outcome:
    """Puts one write to one plugin, if that is interested: mutate, then validate. `obj` stays as it was."""
    row = ROWS[group_resource]
    new, before = copy.deepcopy(obj), copy.deepcopy(old)
    called = name if name is not None else ((obj or old or {}).get("metadata") or {}).get("name", "")
    options = WriteOptions()
    attributes = Attributes(
        operation, row, subresource, namespace if row.namespaced else "", called, user, options, new, before
    )
    error = None
    if any(interest.covers(operation, attributes.path) for interest in plugin.interests):
        try:
            finish(plugin.mutate(attributes))
            once = orjson.dumps(new)
            finish(plugin.mutate(attributes))
            assert orjson.dumps(new) == once, "mutating twice does more than mutating once"
            finish(plugin.validate(attributes))
            assert orjson.dumps(new) == once, "validating changes the object"
        except StatusError as refusal:
            error = refusal
        assert before == old, "the stored object was changed"
    return Outcome(new or {}, error, attributes)
