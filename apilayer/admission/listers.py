"""The cluster as the watch cache has it, for plugins to look things up in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from apilayer.api.resources import Resource
    from apilayer.storage.codec import Entry
    from apilayer.storage.watch_cache import WatchCache

Object = dict[str, Any]


class Listers:
    """Looks objects up by their resource's qualified name, e.g. ``priorityclasses.scheduling.k8s.io``."""

    def __init__(self, cache: WatchCache, resources: Mapping[str, Resource]) -> None:
        self._caches = {name: cache.of(resource) for name, resource in resources.items()}

    def entry(self, group_resource: str, namespace: str, name: str) -> Entry | None:
        """One object as it is stored; `namespace` "" for cluster-scoped resources."""
        cache = self._caches[group_resource]
        path = f"{namespace}/{name}" if namespace else name
        return cache.get(cache.prefix + path.encode())

    def get(self, group_resource: str, namespace: str, name: str) -> Object | None:
        """One object, parsed afresh."""
        entry = self.entry(group_resource, namespace, name)
        return None if entry is None else entry.object()

    def look(self, group_resource: str, namespace: str, name: str) -> Object | None:
        """One object, not to be changed: it is parsed once only."""
        entry = self.entry(group_resource, namespace, name)
        return None if entry is None else entry.shared

    def look_at_all(self, group_resource: str) -> Iterable[Object]:
        """Every object of the resource, not to be changed: each is parsed once only."""
        return (entry.shared for entry in self._caches[group_resource].entries())

    def list(self, group_resource: str, namespace: str = "") -> list[Object]:
        """Every object of a namespace, or of the whole resource for "", by name; parsed afresh."""
        cache = self._caches[group_resource]
        prefix = cache.prefix + namespace.encode() + b"/" if namespace else b""
        return [entry.object() for entry in cache.entries(prefix)]
