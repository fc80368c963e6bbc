"""Writers that know what was acknowledged to them, for clusters that are disturbed meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from kvraft.client import open_client
from kvraft.errors import KvraftError
from tests.kvraft.members import until

if TYPE_CHECKING:
    from kvraft.client import Client
    from tests.kvraft.processes import Processes

EVERYTHING = (b"\0", b"\0")


class Load:
    """Writers of keys that are each written once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.acknowledged: dict[bytes, int] = {}
        self.unknown: set[bytes] = set()
        self.stop = False

    async def write(self, place: int) -> None:
        """Put one key after the other."""
        number = 0
        while not self.stop:
            number += 1
            key = b"w/%d/%d" % (place, number)
            try:
                self.acknowledged[key] = (await self._client.put(key, b"v" * 100)).revision
            except KvraftError as error:
                if not error.definite:
                    self.unknown.add(key)

    async def reach(self, more: int) -> None:
        """Wait for ``more`` acknowledged writes."""
        goal = len(self.acknowledged) + more
        await until(lambda: len(self.acknowledged) >= goal)

    async def check(self, processes: Processes) -> None:
        """Every acknowledged write is there, once, at its revision; every member has the same."""
        found = {kv.key: kv for kv in (await self._client.range(*EVERYTHING)).kvs}
        assert set(self.acknowledged) <= set(found) <= set(self.acknowledged) | self.unknown
        assert all(found[key].mod_revision == revision for key, revision in self.acknowledged.items())
        assert all(kv.version == 1 for kv in found.values())
        revision = await self._client.revision()
        for url in processes.urls:
            async with open_client([url]) as client:
                while (await client.status(url)).revision < revision:  # noqa: ASYNC110 (another process)
                    await trio.sleep(0.05)
                answer = await client.range(*EVERYTHING, serializable=True)
                assert {kv.key: kv for kv in answer.kvs} == found
