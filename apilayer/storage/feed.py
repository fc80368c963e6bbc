"""What has become of one resource since it was last asked, for indexes that are kept and not made anew.

Nothing is called when something changes: who needs the index asks first, which costs a comparison when all is as it
was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.storage.codec import Entry
    from apilayer.storage.resource_cache import ResourceCache


@attrs.frozen
class News:
    """Objects that changed, oldest first, by their path in the resource (``namespace/name``); None for what is gone.

    `anew`: they are all there are, and what was known before is worth nothing.
    """

    objects: Sequence[tuple[str, Entry | None]]
    anew: bool = False


class Feed:
    """Follows one resource's cache."""

    def __init__(self, cache: ResourceCache) -> None:
        self._cache = cache
        self._seen = -1
        self._prefix_length = len(cache.prefix)

    def news(self) -> News | None:
        """What happened since the last call; None for nothing."""
        cache = self._cache
        if cache.last_change == self._seen:
            return None
        events = cache.since(self._seen)
        self._seen = cache.last_change
        if events is None:
            return News([(self._path(entry.key), entry) for entry in cache.entries()], anew=True)
        return News([(self._path(event.key), event.entry) for event in events])

    def _path(self, key: bytes) -> str:
        return key[self._prefix_length :].decode()
