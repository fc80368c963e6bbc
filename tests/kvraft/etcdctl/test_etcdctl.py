"""The unmodified etcdctl against a cluster: every command that has landed, with what it prints."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from tests.kvraft.certificates import Authority
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member
    from tests.kvraft.members import Members

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("etcdctl") is None, reason="etcdctl is not installed (Debian: etcd-client)"),
]
TIMEOUT_SECONDS = 60.0


class Etcdctl:
    """Runs etcdctl against some endpoints."""

    def __init__(self, urls: list[str], *flags: str) -> None:
        self._command = ["etcdctl", "--endpoints", ",".join(urls), *flags]
        self.environment = {**os.environ, "ETCDCTL_API": "3"}

    async def __call__(self, *args: str, stdin: str = "", fails: bool = False) -> str:
        """What it prints; on standard error when it is to fail."""
        with trio.fail_after(TIMEOUT_SECONDS):
            done = await trio.run_process(
                [*self._command, *args],
                stdin=stdin.encode(), capture_stdout=True, capture_stderr=True, check=False, env=self.environment,
            )  # fmt: skip
        assert (done.returncode != 0) == fails, (done.stdout, done.stderr)
        return (done.stderr if fails else done.stdout).decode()

    @asynccontextmanager
    async def open(self, *args: str) -> AsyncIterator[trio.Process]:
        """A command that goes on, its output in ``stdout``, until the block ends."""
        process = await trio.lowlevel.open_process(
            [*self._command, *args], stdout=subprocess.PIPE, env=self.environment
        )
        try:
            yield process
        finally:
            process.terminate()
            await process.wait()
            assert process.stdout is not None
            await process.stdout.aclose()


async def _read(process: trio.Process, until_lines: int) -> list[str]:
    assert process.stdout is not None
    got = b""
    with trio.fail_after(TIMEOUT_SECONDS):
        while got.count(b"\n") < until_lines:
            data = await process.stdout.receive_some()
            assert data, got
            got += data
    return got.decode().splitlines()


@pytest.fixture
async def members(tmp_path: Path) -> AsyncIterator[Members]:
    async with open_members(tmp_path / "members") as members:
        yield members


@pytest.fixture
def etcdctl(members: Members) -> Etcdctl:
    return Etcdctl(members.urls)


async def test_keys(etcdctl: Etcdctl) -> None:
    assert await etcdctl("put", "a", "1") == "OK\n"
    assert await etcdctl("get", "a") == "a\n1\n"
    assert await etcdctl("put", "a", "2", "--prev-kv") == "OK\na\n1\n"
    for number in range(3):
        await etcdctl("put", f"k{number}", f"v{number}")
    assert await etcdctl("get", "--prefix", "k", "--keys-only") == "k0\n\nk1\n\nk2\n\n"
    assert await etcdctl("get", "--prefix", "k", "--limit=1", "--order=DESCEND", "--sort-by=KEY") == "k2\nv2\n"
    assert await etcdctl("get", "a", "k1", "--print-value-only") == "2\nv0\n"
    assert await etcdctl("get", "a", "--rev=2", "--consistency=s") == "a\n1\n"
    assert '"count":3' in await etcdctl("get", "--prefix", "k", "-w", "json")
    assert await etcdctl("del", "a") == "1\n"
    assert await etcdctl("del", "--prefix", "k", "--prev-kv") == "3\nk0\nv0\nk1\nv1\nk2\nv2\n"
    assert "key is not provided" in await etcdctl("get", "", fails=True)
    assert "required revision is a future revision" in await etcdctl("get", "a", "--rev=99", fails=True)


async def test_transactions(etcdctl: Etcdctl) -> None:
    await etcdctl("put", "a", "1")
    guarded = 'value("a") = "1"\n\nput b 2\nget a\n\nput b 3\n\n'
    assert await etcdctl("txn", stdin=guarded) == "SUCCESS\n\nOK\n\na\n1\n"
    assert await etcdctl("txn", stdin=guarded.replace('"1"', '"x"')) == "FAILURE\n\nOK\n"
    assert await etcdctl("get", "b") == "b\n3\n"


async def test_watches(etcdctl: Etcdctl, members: Members) -> None:
    await etcdctl("put", "a", "1")
    async with etcdctl.open("watch", "a", "--rev=2") as watch:
        assert await _read(watch, 3) == ["PUT", "a", "1"]
        await etcdctl("put", "other", "x")
        await etcdctl("del", "a")
        assert (await _read(watch, 2))[:2] == ["DELETE", "a"]
    await etcdctl("put", "b", "2")
    assert await etcdctl("compaction", "4") == "compacted revision 4\n"
    await members.applied_everywhere()  # whichever is asked
    assert "required revision has been compacted" in await etcdctl("watch", "a", "--rev=2", fails=True)
    assert "required revision has been compacted" in await etcdctl("compaction", "3", fails=True)
    assert await etcdctl("compaction", "5", "--physical") == "compacted revision 5\n"


async def test_leases(etcdctl: Etcdctl) -> None:
    lease = (await etcdctl("lease", "grant", "100")).split()[1]
    await etcdctl("put", "a", "1", f"--lease={lease}")
    assert f"lease {lease} granted with TTL(100s)" in await etcdctl("lease", "timetolive", lease)
    assert "attached keys([a])" in await etcdctl("lease", "timetolive", lease, "--keys")
    assert await etcdctl("lease", "list") == f"found 1 leases\n{lease}\n"
    assert await etcdctl("lease", "keep-alive", "--once", lease) == f"lease {lease} keepalived with TTL(100)\n"
    assert await etcdctl("lease", "revoke", lease) == f"lease {lease} revoked\n"
    assert await etcdctl("get", "a") == ""
    assert "already expired" in await etcdctl("lease", "timetolive", lease)
    assert "requested lease not found" in await etcdctl("lease", "revoke", lease, fails=True)
    assert "requested lease not found" in await etcdctl("put", "a", "1", "--lease=77", fails=True)


async def test_locks_and_elections(etcdctl: Etcdctl) -> None:
    assert await etcdctl("lock", "l", "echo", "mine") == "mine\n"
    async with AsyncExitStack() as stack:
        async with etcdctl.open("lock", "l") as holder:
            key = (await _read(holder, 1))[0]
            assert key.startswith("l/")
            waiter = await stack.enter_async_context(etcdctl.open("lock", "l"))
        other = (await _read(waiter, 1))[0]
        assert other != key
    async with etcdctl.open("elect", "e", "me") as elected:
        assert (await _read(elected, 2))[1] == "me"
        async with etcdctl.open("elect", "-l", "e") as observer:
            assert (await _read(observer, 2))[1] == "me"


async def test_maintenance(etcdctl: Etcdctl, members: Members, tmp_path: Path) -> None:
    await etcdctl("put", "a", "1")
    rows = (await etcdctl("endpoint", "status")).splitlines()
    assert len(rows) == 3
    assert sum("true, false" in row for row in rows) == 1
    await etcdctl("endpoint", "health")
    await members.applied_everywhere()
    hashes = {row.rpartition(", ")[2] for row in (await etcdctl("endpoint", "hashkv")).splitlines()}
    assert len(hashes) == 1
    assert (await etcdctl("defrag")).count("Finished defragmenting") == 3
    assert await etcdctl("alarm", "list") == ""
    assert await etcdctl("alarm", "disarm") == ""
    one = Etcdctl(members.urls[:1])
    assert "Snapshot saved at" in await one("snapshot", "save", str(tmp_path / "snapshot"))
    assert (await trio.Path(tmp_path / "snapshot").stat()).st_size % 512 == 32


async def test_users(etcdctl: Etcdctl, members: Members) -> None:
    assert await etcdctl("role", "add", "r") == "Role r created\n"
    assert await etcdctl("role", "grant-permission", "r", "readwrite", "a", "c") == "Role r updated\n"
    assert await etcdctl("role", "get", "r") == "Role r\nKV Read:\n\t[a, c)\nKV Write:\n\t[a, c)\n"
    for name in ("root", "alice"):
        assert await etcdctl("user", "add", f"{name}:p") == f"User {name} created\n"
    assert await etcdctl("user", "grant-role", "alice", "r") == "Role r is granted to user alice\n"
    assert "Roles: r" in await etcdctl("user", "get", "alice")
    assert await etcdctl("user", "list") == "alice\nroot\n"
    assert await etcdctl("role", "list") == "r\n"
    # etcdctl 3.4 gives root its role by itself when that is all that is missing.
    await etcdctl("user", "grant-role", "root", "root")
    assert await etcdctl("auth", "enable") == "Authentication Enabled\n"
    alice, root = (Etcdctl(members.urls, "--user", f"{name}:p") for name in ("alice", "root"))
    assert await alice("put", "b", "1") == "OK\n"
    assert "permission denied" in await alice("put", "z", "1", fails=True)
    assert "user name is empty" in await etcdctl("get", "a", fails=True)
    wrong = Etcdctl(members.urls, "--user", "alice:wrong")
    assert "authentication failed, invalid user ID or password" in await wrong("get", "a", fails=True)
    assert await root("user", "passwd", "alice", "--interactive=false", stdin="new\n") == "Password updated\n"
    assert await root("user", "revoke-role", "alice", "r") == "Role r is revoked from user alice\n"
    assert (
        await root("role", "revoke-permission", "r", "a", "c") == "Permission of range [a, c) is revoked from role r\n"
    )
    assert await root("role", "delete", "r") == "Role r deleted\n"
    assert await root("user", "delete", "alice") == "User alice deleted\n"
    assert await root("auth", "disable") == "Authentication Disabled\n"


async def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    cert, key = authority.issue("client")
    async with open_members(tmp_path / "members", client_tls=authority.tls("member")) as members:
        etcdctl = Etcdctl(members.urls, "--cacert", str(authority.ca_file), "--cert", cert, "--key", key)
        assert await etcdctl("put", "a", "1") == "OK\n"
        assert await etcdctl("get", "a") == "a\n1\n"


async def test_a_watch_survives_its_member(members: Members) -> None:
    """The client goes on elsewhere when a member says goodbye, and misses nothing."""
    etcdctl = Etcdctl(members.urls)
    async with etcdctl.open("watch", "a") as watch:
        await until(lambda: sum(_watches(each) for each in members.running.values()) == 1)
        watched = next(name for name, each in members.running.items() if _watches(each))
        await etcdctl("put", "a", "1")
        assert await _read(watch, 3) == ["PUT", "a", "1"]
        await members.stop(watched)
        others = Etcdctl([url for name, url in members.client_urls.items() if name != watched])
        await others("put", "a", "2")
        assert await _read(watch, 3) == ["PUT", "a", "2"]


def _watches(member: Member) -> int:
    return sum(member.machine.watch.statistics().values())


async def test_members(etcdctl: Etcdctl, members: Members) -> None:
    rows = (await etcdctl("member", "list")).splitlines()
    assert len(rows) == 3
    assert all(", started, m" in row and row.endswith(", false") for row in rows)
    assert "added to cluster" in await etcdctl("member", "add", "m4", "--learner", "--peer-urls=http://127.0.0.1:1")
    (added,) = [row for row in (await etcdctl("member", "list")).splitlines() if "unstarted" in row]
    member_id = added.split(",")[0]
    assert added.endswith(", true")
    # The same URLs in the same second would have the same member ID, as in etcd.
    assert "Peer URLs already exists" in await etcdctl(
        "member", "add", "m5", "--peer-urls=http://127.0.0.1:1,http://127.0.0.1:5", fails=True
    )
    assert "too many learner members" in await etcdctl(
        "member", "add", "m5", "--learner", "--peer-urls=http://127.0.0.1:3", fails=True
    )
    assert "updated in cluster" in await etcdctl("member", "update", member_id, "--peer-urls=http://127.0.0.1:2")
    assert "in sync with leader" in await etcdctl("member", "promote", member_id, fails=True)
    assert "removed from cluster" in await etcdctl("member", "remove", member_id)
    assert "member not found" in await etcdctl("member", "remove", member_id, fails=True)
    assert len((await etcdctl("member", "list")).splitlines()) == 3


async def test_leadership_moves(etcdctl: Etcdctl, members: Members) -> None:
    leader = await members.leader()
    target = next(each for name, each in members.running.items() if name != leader)
    moved = await etcdctl("move-leader", f"{target.member_id:x}")
    assert moved.startswith("Leadership transferred from ")
    assert await members.leader() != leader
    one = Etcdctl([members.client_urls[leader]])
    assert "no leader endpoint given at" in await one("move-leader", f"{target.member_id:x}", fails=True)
