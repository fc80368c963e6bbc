"""A member that stops cleanly says so: its watches go on elsewhere, its calls are answered or asked elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from kvraft.types import prefix_end
from tests.kvraft.client.etcd.stores import connect
from tests.kvraft.members import open_members

if TYPE_CHECKING:
    from pathlib import Path

PREFIX = (b"w/", prefix_end(b"w/"))
WRITES = 30


async def test_nobody_notices_that_a_member_stops(tmp_path: Path) -> None:
    async with (
        open_members(tmp_path) as members,
        connect(members.urls) as writing,
        connect(members.urls) as watching,
        watching.watch(*PREFIX) as stream,
    ):
        expected = [(await writing.put(b"w/%d" % number, b"v")).revision for number in range(WRITES)]
        asked = next(name for name, url in members.client_urls.items() if url == watching.answering)
        await members.stop(asked)
        expected += [(await writing.put(b"w/%d" % number, b"v")).revision for number in range(WRITES)]
        seen: list[int] = []
        with trio.fail_after(30):
            while len(seen) < len(expected):
                seen += [event.kv.mod_revision for event in (await anext(stream)).events]
        assert seen == expected
        assert watching.answering != members.client_urls[asked]
