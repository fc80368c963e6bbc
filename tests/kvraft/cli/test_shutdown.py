"""The end of a member's process: leadership goes first, and whatever hangs it is over in time, by the signal."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio

from kvraft.channel import dial
from kvraft.client import open_client
from kvraft.errors import KvraftError
from kvraft.storage.writer import AT_ONCE_BYTES
from kvraft.types import RangeRequest
from kvraft.wire import native
from tests.kvraft.processes import start_processes

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.slow

BOUND_SECONDS = 1.5
STARTING_SECONDS = 1.5
"""What the machine that runs the tests, busy with others, may add."""


async def _ended(process: subprocess.Popen[bytes]) -> int:
    return await trio.to_thread.run_sync(process.wait, 20)


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_hands_leadership_over_and_ends_by_it(tmp_path: Path, number: signal.Signals) -> None:
    with start_processes(tmp_path) as processes:
        async with open_client(processes.urls, timeout_seconds=30) as client:
            await client.put(b"k", b"v")
            leader = await processes.leader(client)
            term = (await client.status(processes.client_urls[leader])).term
            processes.signal(leader, number)
            assert await _ended(processes.running[leader]) == -number
            await client.put(b"l", b"w")
            others = [await client.status(url) for name, url in processes.client_urls.items() if name != leader]
            assert {other.term for other in others} == {term + 1}
        lines = _lines(processes.log(leader))
        assert all({"level", "ts", "caller", "msg"} <= set(line) for line in lines)
        wanted = ["received signal; shutting down", "handing leadership over", "stopped"]
        assert [line["msg"] for line in lines if line["msg"] in wanted] == wanted


async def _put_until_it_hangs(urls: list[str]) -> int:
    """How many puts were acknowledged before the failpoint, which is set on the disk, let one wait."""
    async with open_client(urls, timeout_seconds=30) as client:
        await client.put(b"0", b"v")
    number, enough = 0, 50_000  # however quick the disk is: commits have their time
    async with open_client(urls, timeout_seconds=1) as client:
        with contextlib.suppress(KvraftError):
            for number in range(1, enough):
                await client.put(b"%d" % number, b"v" * (number % 2 * AT_ONCE_BYTES))  # the disk thread's, or not
    assert number < enough - 1
    return number


@pytest.mark.parametrize(
    ("failpoint", "said"),
    [
        ("log.after_write=hang@30", "the log disk hangs; ending without it"),
        ("log.after_write=hang@31", "not stopped in time; ending at once"),
        ("state.before_commit=hang@3", "not stopped in time; ending at once"),
    ],
)
async def test_a_hung_disk_does_not_hold_the_end_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failpoint: str, said: str
) -> None:
    monkeypatch.setenv("KVRAFT_FAILPOINTS", failpoint)
    with start_processes(tmp_path, 1) as processes:
        acknowledged = await _put_until_it_hangs(processes.urls)
        (name,) = processes.running
        begin = time.monotonic()
        processes.signal(name, signal.SIGTERM)
        assert await _ended(processes.running[name]) == -signal.SIGTERM
        assert time.monotonic() - begin < BOUND_SECONDS + STARTING_SECONDS
        # On a machine that is busy with others the second may come before the first.
        assert {said, "not stopped in time; ending at once"} & {line["msg"] for line in _lines(processes.log(name))}
        monkeypatch.delenv("KVRAFT_FAILPOINTS")
        processes.start(name)
        async with open_client(processes.urls, timeout_seconds=30) as client:
            await client.put(b"again", b"v")
            assert (await client.range(b"0", b":", count_only=True)).count >= acknowledged


async def test_a_second_signal_ends_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KVRAFT_FAILPOINTS", "state.before_commit=hang@3")
    with start_processes(tmp_path, 1) as processes:
        await _put_until_it_hangs(processes.urls)
        (name,) = processes.running
        processes.signal(name, signal.SIGTERM)
        while "received signal; shutting down" not in processes.log(name).read_text():
            await trio.lowlevel.checkpoint()
        processes.signal(name, signal.SIGINT)
        assert await _ended(processes.running[name]) == -signal.SIGTERM
        assert "received another signal; ending at once" in processes.log(name).read_text()


async def test_clients_that_read_nothing_do_not_hold_the_end_up(tmp_path: Path) -> None:
    with start_processes(tmp_path, 1) as processes:
        (name,), (url,) = processes.running, processes.urls
        async with open_client(processes.urls, timeout_seconds=30) as client:
            await client.put(b"large", bytes(1_000_000))
        stuck = await dial(url, None)
        await stuck.send(native.PREFACE)
        for number in range(1, 60):
            await stuck.send(native.encode_request(number.to_bytes(4), RangeRequest(b"large")))
        begin = time.monotonic()
        processes.signal(name, signal.SIGTERM)
        assert await _ended(processes.running[name]) == -signal.SIGTERM
        assert time.monotonic() - begin < BOUND_SECONDS + STARTING_SECONDS
        assert "not stopped in time" not in processes.log(name).read_text()
        stuck.close()


async def test_systemd_is_told_when_it_is_ready_and_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        with start_processes(tmp_path, 1) as processes:
            (name,) = processes.running
            assert await trio.to_thread.run_sync(listener.recv, 64) == b"READY=1"
            assert "ready to serve client requests" in processes.log(name).read_text()
            processes.signal(name, signal.SIGTERM)
            assert await trio.to_thread.run_sync(listener.recv, 64) == b"STOPPING=1"
            await _ended(processes.running[name])
