"""Where authorizers read the cluster: indexes that follow the watch cache, brought up to date when they are asked."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Protocol

from apilayer.pipeline.node import graph
from apilayer.pipeline.rbac import index
from apilayer.storage.feed import Feed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.registry.registry import Registry

Object = dict[str, Any]
_LAST_CHANGE = attrgetter("last_change")


class _Index(Protocol):
    def forget(self, resource: str) -> None: ...
    def put(self, resource: str, path: str, obj: Object | None) -> None: ...


class _Followed:
    """Some resources of the cluster."""

    def __init__(self, registry: Registry, resources: Iterable[str]) -> None:
        caches = {name: registry.cache.of(registry.of(name).resource) for name in resources}
        self._caches = tuple(caches.values())
        self._feeds = [(name, Feed(cache)) for name, cache in caches.items()]
        self._seen: list[int] = []
        """The last changes that were told, or never were any."""

    def bring_up_to_date(self, known: _Index) -> bool:
        """Tells the index what has changed since the last call; answers whether anything has."""
        latest = [*map(_LAST_CHANGE, self._caches)]
        if latest == self._seen:
            return False
        self._seen, changed = latest, False
        for resource, feed in self._feeds:
            news = feed.news()
            if news is None:
                continue
            changed = True
            if news.anew:
                known.forget(resource)
            for path, entry in news.objects:
                known.put(resource, path, None if entry is None else entry.object())
        return changed


class CachedRoles(_Followed):
    """`apilayer.pipeline.rbac.RoleSource` over the watch cache."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry, index.FOLLOWED)


class CachedGraph(_Followed):
    """`apilayer.pipeline.node.authorizer.GraphSource` over the watch cache."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry, graph.FOLLOWED)
        self._graph = graph.NodeGraph()

    def current(self) -> graph.NodeGraph:
        """See `GraphSource`."""
        self.bring_up_to_date(self._graph)
        return self._graph
