"""The store over any etcd v3 cluster, by etcd's own protocol.

What differs from kvraft: an old etcd cannot be asked how far a watch is (before 3.4.31, and from 3.5.0 to 3.5.12, it
may answer before it has sent everything, so that a read would miss a write). There a key of no meaning is written
under the watched prefix instead: once its change has arrived, so has everything before it. Nearly always what is
waited for is a change that is on its way, so that is given a moment first.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from apilayer.storage.kvraft_backend import KvraftChanges, KvraftStore
from kvraft.errors import KvraftError

if TYPE_CHECKING:
    from apilayer.storage.interface import ChangeBatch
    from apilayer.storage.prefix import Prefix
    from kvraft.client import Client, WatchStream

FENCE = b"apilayer/fence"
FENCE_AFTER_SECONDS = 0.015
"""For so long a change may be on its way before a fence is written."""
FENCE_AGAIN_SECONDS = 1.0

log = logging.getLogger("apilayer.storage.etcd")


class EtcdStore(KvraftStore):
    """`Store` over an open client that speaks etcd's protocol."""

    def _changes(self, stream: WatchStream, prefix: bytes) -> KvraftChanges:
        return EtcdChanges(stream, self._prefix, self._client, prefix + FENCE)


class EtcdChanges(KvraftChanges):
    """`ChangeStream` over the client's watch; `fence` is the key to write where the store cannot tell progress."""

    def __init__(self, stream: WatchStream, prefix: Prefix, client: Client, fence: bytes) -> None:
        super().__init__(stream, prefix)
        self._client = client
        self._fence = fence
        self._due = 0.0
        """When the next fence may be written; 0: nobody waits for anything."""

    async def __anext__(self) -> ChangeBatch:
        batch = await super().__anext__()
        self._due = 0.0
        return batch

    async def request_progress(self) -> None:
        """See `ChangeStream.request_progress`."""
        if await self._stream.request_progress():
            return
        now = trio.current_time()
        if not self._due:
            self._due = now + FENCE_AFTER_SECONDS
        elif now >= self._due:
            self._due = now + FENCE_AGAIN_SECONDS
            try:
                await self._client.put(self._fence, b"")
            except KvraftError as error:
                log.debug("no fence could be written: %s", error)  # who waits asks again
