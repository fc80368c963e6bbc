"""Commands that go on, as processes: watches, locks, elections, kept leases; and how signals end them."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.cli import checks, datascale
from kvraft.cli.main import main
from kvraft.cli.perf import LOADS, Load, Measured, verdict
from kvraft.cli.progress import ProgressBar, line
from kvraft.client import open_client
from tests.kvraft.certificates import Authority
from tests.kvraft.members import open_members

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.kvraft.members import Members

PATIENCE_SECONDS = 60.0
slow = pytest.mark.slow


class Running:
    """A kvraft process; ``line`` waits for a line of its output."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._got = b""

    async def line(self) -> str:
        """The next line of standard output; "" at the end."""
        assert self.process.stdout is not None
        with trio.fail_after(PATIENCE_SECONDS):
            while b"\n" not in self._got:
                data = await self.process.stdout.receive_some()
                if not data:
                    break
                self._got += data
        line, _, self._got = self._got.partition(b"\n")
        return line.decode()

    async def type(self, text: str) -> None:
        """A line on its standard input."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(text.encode() + b"\n")

    async def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Send a signal, or wait; the exit code and what stands on standard error."""
        if number is not None:
            self.process.send_signal(number)
        errors = b""
        assert self.process.stderr is not None
        with trio.fail_after(PATIENCE_SECONDS):
            while data := await self.process.stderr.receive_some():
                errors += data
            return await self.process.wait(), errors.decode()


@asynccontextmanager
async def kvraft(members: Members, *words: str) -> AsyncIterator[Running]:
    """A command against a cluster."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "kvraft.cli.main", f"--endpoints={','.join(members.urls)}", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                assert stream is not None
                await stream.aclose()


@slow
async def test_a_watch_shows_events_as_they_come(tmp_path: Path) -> None:
    words = ("watch", "--prefix", "a", "--rev=2", "--", "printenv", "ETCD_WATCH_KEY")
    async with (
        open_members(tmp_path, 1) as members,
        open_client(members.urls) as client,
        kvraft(members, *words) as watch,
    ):
        await client.put(b"ab", b"\x01v")
        assert [await watch.line() for _ in range(4)] == ["PUT", "ab", "\x01v", '"ab"']
        await client.put(b"b", b"not this")
        await client.delete_range(b"ab")
        assert [await watch.line() for _ in range(4)] == ["DELETE", "ab", "", '"ab"']
        assert (await watch.end(signal.SIGINT))[0] == 130


@slow
async def test_watches_are_typed_in(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await client.put(b"a", b"1")
        await client.put(b"b", b"2")
        async with kvraft(members, "watch", "-i") as watch:
            await watch.type('watch "a" --rev 2')
            assert [await watch.line() for _ in range(3)] == ["PUT", "a", "1"]
            await watch.type("watch b --rev 2")
            assert [await watch.line() for _ in range(3)] == ["PUT", "b", "2"]
            await watch.type("progress")
            assert [await watch.line() for _ in range(2)] == ["progress notify: 3", "progress notify: 3"]
            await watch.type("watch b --rev 3 -- false")
            code, errors = await watch.end()
        assert code == 1
        assert errors == 'command ["false"] error (exit status 1)\n'


@slow
async def test_a_lock_is_held_until_a_signal(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        async with kvraft(members, "lock", "name") as first:
            key = await first.line()
            assert key.startswith("name/")
            async with kvraft(members, "lock", "name", "--", "sh", "-c", 'echo "$ETCD_LOCK_KEY"; exit 7') as second:
                assert (await first.end(signal.SIGTERM))[0] == 0
                assert (await second.line()).startswith("name/")
                assert await second.end() == (7, "Error: exit status 7\n")
        assert not (await client.range(b"name/", b"name0")).kvs
        assert await client.leases() == []


@slow
async def test_a_program_ends_with_its_lock(tmp_path: Path) -> None:
    async with (
        open_members(tmp_path, 1) as members,
        open_client(members.urls) as client,
        kvraft(members, "lock", "name", "--", "sh", "-c", "echo held; exec sleep 60") as lock,
    ):
        assert await lock.line() == "held"
        (lease,) = await client.leases()
        await client.lease_revoke(lease)
        assert await lock.end() == (1, "Error: session expired\n")


@slow
async def test_an_election_is_seen(tmp_path: Path) -> None:
    async with (
        open_members(tmp_path, 1) as members,
        kvraft(members, "elect", "-l", "e") as observer,
        kvraft(members, "elect", "e", "me") as first,
    ):
        assert (await first.line()).startswith("e/")
        assert await first.line() == "me"
        assert [(await observer.line())[:2], await observer.line()] == ["e/", "me"]
        async with kvraft(members, "elect", "e", "you") as second:
            assert (await first.end(signal.SIGINT))[0] == 0
            assert [(await second.line())[:2], await second.line()] == ["e/", "you"]
            assert [(await observer.line())[:2], await observer.line()] == ["e/", "you"]
        assert (await observer.end(signal.SIGTERM))[0] == 0


@slow
async def test_a_lease_is_kept_alive_until_it_is_gone(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        lease = (await client.lease_grant(3)).lease_id
        async with kvraft(members, "lease", "keep-alive", f"{lease:x}") as keeper:
            for _ in range(2):
                assert await keeper.line() == f"lease {lease:016x} keepalived with TTL(3)"
            await client.lease_revoke(lease)
            assert await keeper.line() == f"lease {lease:016x} expired or revoked."
            assert (await keeper.end())[0] == 0


@slow
async def test_tls_and_users(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    authority = Authority(tmp_path / "pki")
    cert, key = authority.issue("somebody")
    flags = (f"--cacert={authority.ca_file}", f"--cert={cert}", f"--key={key}")
    async with open_members(tmp_path / "members", 1, client_tls=authority.tls("member")) as members:
        endpoint = members.urls[0].removeprefix("https://")

        async def kvraft_says(*words: str, code: int = 0) -> str:
            assert await _main(f"--endpoints={endpoint}", *words) == code
            shown = capfd.readouterr()
            return shown.err if code else shown.out

        assert await kvraft_says(*flags, "put", "a", "b") == "OK\n"
        assert await kvraft_says("endpoint", "health", *flags, "-w", "json") != ""
        stranger = Authority(tmp_path / "others", "others").ca_file
        refused = await kvraft_says(f"--cacert={stranger}", "get", "a", "--command-timeout=500ms", code=1)
        assert "CERTIFICATE_VERIFY_FAILED" in refused
        assert await kvraft_says("get", "a", *flags[1:], "--insecure-skip-tls-verify") == "a\nb\n"
        await kvraft_says(*flags, "user", "add", "root:secret")
        await kvraft_says(*flags, "auth", "enable")
        assert await kvraft_says(*flags, "--user=root:secret", "get", "a", "-w", "fields") != ""
        wrong = await kvraft_says(*flags, "--user=root:wrong", "get", "a", code=2)
        assert wrong == "Error: etcdserver: authentication failed, invalid user ID or password\n"


@slow
async def test_a_cluster_is_looked_at_member_by_member(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with open_members(tmp_path, 3) as members:
        url = members.urls[0]
        async with open_client(members.urls) as client:
            with trio.fail_after(PATIENCE_SECONDS):
                while not all(member.client_urls for member in (await client.member_list()).members):
                    await trio.lowlevel.checkpoint()  # they tell their URLs once they have started
        assert await _main("put", "a", "b", "--endpoints", ",".join(members.urls)) == 0
        assert await _main("endpoint", "health", "--cluster", "--endpoints", url) == 0
        assert capfd.readouterr().out.count(" is healthy: ") == 3
        assert await _main("endpoint", "status", "--cluster", "--endpoints", url, "-w", "table") == 0
        table = capfd.readouterr().out.splitlines()
        assert [len(table), sum("true |      false" in line for line in table)] == [7, 1]
        await members.applied_everywhere()
        assert await _main("endpoint", "hashkv", "--cluster", "--endpoints", url) == 0
        assert len({line.split(", ")[1] for line in capfd.readouterr().out.splitlines()}) == 1
        assert await _main("defrag", "--cluster", "--endpoints", url) == 0
        assert capfd.readouterr().out.count("Finished defragmenting etcd member[") == 3
        leader = await members.leader()
        other = next(name for name in members.running if name != leader)
        target = f"{members.running[other].member_id:x}"
        assert await _main("move-leader", target, "--endpoints", members.client_urls[other]) == 128
        assert capfd.readouterr().err.startswith("Error: no leader endpoint given at [http://127.0.0.1:")
        assert await _main("move-leader", target, "--endpoints", ",".join(members.urls)) == 0
        assert capfd.readouterr().out.startswith("Leadership transferred from ")
        await members.crash(other)
        failed = await _main("endpoint", "health", "--endpoints", members.client_urls[other], "--command-timeout=1s")
        assert failed == 1
        assert "is unhealthy: failed to commit proposal: context deadline exceeded" in capfd.readouterr().err


@slow
async def test_performance_is_judged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOADS, "s", Load(writes_per_second=5, clients=2, seconds=1))
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        words = ("check", "perf", "--auto-compact", "--auto-defrag", "--endpoints", members.urls[0])
        code = await _main(*words)
        shown = capfd.readouterr()
        verdict_line = shown.out.splitlines()[-1]
        assert (code, verdict_line) in ((0, "PASS"), (1, "FAIL"))  # this machine may be slow
        assert "Compacted with revision " in shown.out
        assert "Defragmented " in shown.out
        assert " 1 / 1  100.00% 1s\n" in shown.out
        assert (await client.range(b"\0", b"\0", count_only=True)).count == 0
        await client.put(b"/etcdctl-check-perf/x", b"")
        assert await _main(*words) == 3
        assert 'prefix "/etcdctl-check-perf/" has keys' in capfd.readouterr().err


@slow
async def test_memory_is_measured(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(datascale.LOADS, "s", datascale.Load(keys=20, clients=2))
    monkeypatch.setattr(checks, "DELETED_AT_ONCE", 8)
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        words = ("check", "datascale", "--load=small", "--auto-compact", "--endpoints", members.urls[0])
        assert await _main(*words) == 0
        lines = capfd.readouterr().out.splitlines()
        assert lines[0] == (
            "Start data scale check for work load [20 key-value pairs, 1024 bytes per key-value, 2 concurrent clients]."
        )
        assert " 20 / 20  100.00% " in lines[-4]
        assert lines[-3:-1] == ["Compacting with revision 24", "Compacted with revision 24"]
        assert re.fullmatch(r"PASS: Approximate system memory used : -?\d+\.\d\d MB\.", lines[-1])
        assert (await client.range(b"\0", b"\0", count_only=True)).count == 0
        await client.put(b"/etcdctl-check-datascale/x", b"")
        assert await _main(*words) == 3
        assert 'prefix "/etcdctl-check-datascale/" has keys' in capfd.readouterr().err
        monkeypatch.setattr(datascale, "METRIC", "no_such_metric")
        assert await _main(*words, "--prefix=other/") == 1
        assert capfd.readouterr().out.splitlines() == [
            "could not find: no_such_metric",
            "FAIL: Could not read no_such_metric before the put operations.",
        ]
        assert (await client.range(b"\0", b"\0", count_only=True)).count == 1, "nothing was put"


async def test_the_progress_of_a_check(autojump_clock: trio.testing.MockClock) -> None:
    stream = io.BytesIO()
    bar = ProgressBar(stream, 40)
    async with bar.drawn():
        for _ in range(4):
            await trio.sleep(50)
            bar.add(10)
    drawn = stream.getvalue().decode().split("\r")
    assert drawn[1] == " 0 / 40    0.00%"
    assert " 10 / 40   25.00% 02m29s" in drawn
    assert drawn[-1] == " 40 / 40  100.00% 3m20s\n"
    assert line(0, 4, "", 30) == " 0 / 4 B             !   0.00%"
    assert line(1, 4, " 5s", 30) == " 1 / 4 Boom       !  25.00% 5s"
    assert line(4, 4, "", 30) == " 4 / 4 Booooooooooooo! 100.00%"
    assert line(1, 4, "", 17) == " 1 / 4   25.00%  "


def test_the_verdict() -> None:
    load = Load(10, 1, 2)
    lines, passed = verdict(Measured([0.1] * 20, seconds=2.0), load)
    assert passed
    assert lines == [
        "PASS: Throughput is 11 writes/s",
        "PASS: Slowest request took 0.100000s",
        "PASS: Stddev is 0.000000s",
        "PASS",
    ]
    lines, passed = verdict(Measured([0.1, 0.9], Counter({"no": 2}), 2.0), load)
    assert not passed
    assert lines == [
        "FAIL: too many errors",
        "FAIL: ERROR(no) -> 2",
        "FAIL: Throughput too low: 2 writes/s",
        "Slowest request took too long: 0.900000s",
        "Stddev too high: 0.400000s",
        "FAIL",
    ]


async def _main(*words: str) -> int:
    """A command in this process, beside the members that run in it."""
    return await trio.to_thread.run_sync(main, list(words))
