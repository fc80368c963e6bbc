"""Authentication on three members: what one knows all know, and what is taken away is gone everywhere."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from kvraft.client import open_client
from kvraft.errors import InvalidAuthToken, PermissionDenied
from kvraft.types import HashKVRequest, HashKVResponse
from tests.kvraft.members import open_members, until
from tests.kvraft.server.test_auth import CHEAP, enable

if TYPE_CHECKING:
    from pathlib import Path


async def test_every_member_knows_a_token_and_forgets_a_permission_at_once(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        members = await stack.enter_async_context(open_members(tmp_path, **CHEAP))
        anybody = await stack.enter_async_context(open_client(members.urls))
        await enable(anybody)
        root = await stack.enter_async_context(open_client(members.urls, user="root", password="rootpw"))
        token = (await anybody.auth.authenticate("alice", "alicepw")).token
        single = [await stack.enter_async_context(open_client([url])) for url in members.urls]
        for client in single:
            (await client.any_connection()).bear(token)
            # A read of the follower's own state, though it may not have applied yet what made the token known.
            await client.range(b"a/1", serializable=True)
            assert (await client.range(b"a/1")).count == 0
        for member in members.running.values():  # members ask each other without being users
            for peer in member.peers.connected():
                assert isinstance(await member.ask(peer, HashKVRequest()), HashKVResponse)
        await root.auth.role_revoke_permission("a", b"a/", b"a0")
        for client in single:
            with pytest.raises(PermissionDenied):
                await client.range(b"a/1")
        await members.applied_everywhere()
        for client in single:
            with pytest.raises(PermissionDenied):
                await client.range(b"a/1", serializable=True)


async def test_a_member_that_was_down_knows_users_from_the_snapshot(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        members = await stack.enter_async_context(
            open_members(tmp_path, snapshot_count=20, snapshot_catchup_entries=5, **CHEAP)
        )
        leader = await members.leader()
        away = next(name for name in members.client_urls if name != leader)
        await members.crash(away)
        urls = [url for name, url in members.client_urls.items() if name != away]
        anybody = await stack.enter_async_context(open_client(urls))
        await enable(anybody)
        root = await stack.enter_async_context(open_client(urls, user="root", password="rootpw"))
        await root.put(b"a/0", b"x")
        raft = members.running[leader].driver.raft
        (missed,) = [known.member_id for known in members.running[leader].machine.members if known.name == away]
        await until(lambda: not raft.status().progress[missed].active)  # until then the log is kept for it
        granted = members.running[leader].machine.applied_index
        for number in range(60):
            await root.put(b"a/%d" % number, b"x")
            members.running[leader].driver.commit_if_due(due=True)
        assert members.running[leader].driver.raft.compacted_index > granted
        back = members.start(away)
        await back.ready.wait()
        await members.applied_everywhere()
        assert (back.machine.auth.enabled, back.machine.auth.users()) == (True, ["alice", "root"])
        client = await stack.enter_async_context(open_client([members.client_urls[away]]))
        (await client.any_connection()).bear(root.token)
        with pytest.raises(InvalidAuthToken):  # granted while it was away, and covered by the snapshot
            await client.range(b"a/1", serializable=True)
