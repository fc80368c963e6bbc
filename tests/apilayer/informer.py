"""Who lists and watches a registry as client-go's reflector does, and random writes to follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from apilayer.api.status import StatusError
from apilayer.registry.options import DeleteOptions, ListOptions, WriteOptions
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    import random

    from apilayer.registry.registry import Registry, ResourceApi

PLAIN = WriteOptions()
RETRY_SECONDS = 0.01


class Informer:
    """Keeps a copy of a resource as client-go's reflector does, and holds every event against it."""

    def __init__(self, api: ResourceApi) -> None:
        self._api = api
        self._listed = False
        self.copy: dict[str, int] = {}
        self.revision = 0
        self.watches = 0
        self.changed = trio.Event()

    def move(self, api: ResourceApi) -> None:
        """Goes on at another server, from where it is."""
        self._api = api

    async def run(self) -> None:
        """Lists first, and again when its revision is too old."""
        self._listed = False
        await self.run_on()

    async def run_on(self) -> None:
        """Watches from where it is, if it has been anywhere."""
        while True:
            try:
                if not self._listed:
                    await self._list()
                while await self._watch():
                    pass
                self._listed = False
            except StatusError as error:
                assert error.code in (503, 504), error  # the cache is being loaded
            except StoreError:
                await trio.sleep(RETRY_SECONDS)  # the store has no leader
            await trio.lowlevel.checkpoint()

    async def _list(self) -> None:
        listing = await self._api.lists.list("", ListOptions(resource_version=str(self.revision)))
        assert listing.revision >= self.revision, "a list never goes back"
        self.revision = listing.revision
        self._listed = True
        self.copy = {entry.key.decode(): entry.revision for entry in listing.entries}
        self.changed.set()

    async def _watch(self) -> bool:
        """Follows until the watch ends; False when the revision is too old."""
        self.watches += 1
        options = ListOptions(watch=True, resource_version=str(self.revision), allow_bookmarks=True)
        watch = await self._api.watches.open("", "", options)
        try:
            if watch.failure is not None:
                assert watch.failure.code == 410
                return False
            while (batch := await watch.next_batch()) is not None:
                for event_type, event in batch:
                    self._take(event_type, event.key.decode(), event.shown(event_type).revision)
            return True
        finally:
            watch.close()

    def _take(self, event_type: str, key: str, revision: int) -> None:
        assert revision > self.revision, f"{event_type} {key} at {revision} comes after {self.revision}"
        assert (event_type == "ADDED") == (key not in self.copy), f"a gap or a duplicate: {event_type} {key}"
        self.revision = revision
        if event_type == "DELETED":
            del self.copy[key]
        else:
            self.copy[key] = revision
        self.changed.set()

    async def wait_for(self, expected: dict[str, int]) -> None:
        """Returns once the copy is this."""
        while self.copy != expected:
            self.changed = trio.Event()
            await self.changed.wait()


async def change(registry: Registry, rnd: random.Random) -> None:
    """One random write to one of six objects. Raises StoreError."""
    api = registry.of("configmaps")
    name = f"c{rnd.randrange(6)}"
    try:
        if rnd.random() < 0.4:
            await api.store.delete("default", name, DeleteOptions())
        elif rnd.random() < 0.5:
            await registry.create(api, "default", {"metadata": {"name": name}}, PLAIN)
        else:
            data = {"k": str(rnd.random())}
            await api.store.patch("default", name, lambda old: {**old, "data": data}, PLAIN)
    except StatusError as error:
        assert error.code in (404, 409), error
