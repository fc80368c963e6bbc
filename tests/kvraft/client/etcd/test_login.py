"""Users and passwords over etcd's protocol: who is asked for a token gets one, and another when it has ended."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.embed import open_member
from kvraft.errors import AuthFailed, PermissionDenied, UserEmpty
from kvraft.types import PermissionType, prefix_end
from tests.kvraft.client.etcd.stores import PROGRAMS, connect, start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from tests.kvraft.processes import Processes

PREFIX = (b"a/", prefix_end(b"a/"))


@contextmanager
def _processes(program: str, directory: Path) -> Iterator[Processes]:
    yield from start(program, directory, 1)


@asynccontextmanager
async def store(program: str, directory: Path) -> AsyncIterator[Sequence[str]]:
    """The client URLs of a store of the test's own."""
    if program == "kvraft":
        async with open_member(directory / "member") as member:
            yield member.client_urls
    else:
        with _processes(program, directory) as processes:
            yield processes.urls


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
async def test_tokens_are_got_and_renewed(program: str, tmp_path: Path) -> None:
    async with store(program, tmp_path) as urls:
        async with connect(urls) as nobody:
            await nobody.auth.role_add("root")
            await nobody.auth.user_add("root", "secret")
            await nobody.auth.user_grant_role("root", "root")
            await nobody.auth.role_add("reader")
            await nobody.auth.role_grant_permission("reader", PermissionType.READWRITE, *PREFIX)
            await nobody.auth.user_add("bob", "open sesame")
            await nobody.auth.user_grant_role("bob", "reader")
            await nobody.auth.enable()
            with pytest.raises(UserEmpty):
                await nobody.put(b"a/k", b"v")
        async with connect(urls, user="root", password="wrong") as client:
            with pytest.raises(AuthFailed):
                await client.put(b"a/k", b"v")
        async with (
            connect(urls, user="root", password="secret") as root,
            connect(urls, user="bob", password="open sesame") as bob,
            bob.watch(*PREFIX) as stream,
        ):
            assert (await root.auth.user_list()).users == ["bob", "root"]
            assert (await root.auth.user_get("bob")).roles == ["reader"]
            with pytest.raises(PermissionDenied):
                await bob.put(b"b/k", b"v")
            expected = []
            for number in range(3):
                expected.append((await bob.put(b"a/k", b"%d" % number)).revision)
                await root.auth.user_add(f"u{number}", "p")  # which ends every token in etcd
            seen: list[int] = []
            with trio.fail_after(30):
                while len(seen) < 3:
                    seen += [event.kv.mod_revision for event in (await anext(stream)).events]
            assert seen == expected
