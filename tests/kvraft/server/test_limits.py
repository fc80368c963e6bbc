"""Connections are bounded: those past the bound wait, and come in when others leave."""

from __future__ import annotations

import logging
import resource
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.channel import Channel, dial
from kvraft.client import open_client
from kvraft.server.config import ConfigError
from kvraft.server.limits import RESERVED_FILES, connection_limit
from kvraft.types import StatusRequest
from kvraft.wire import native
from tests.kvraft.members import PATIENCE_SECONDS, open_members, until

if TYPE_CHECKING:
    from pathlib import Path


async def _greet(channel: Channel) -> None:
    await channel.send(native.PREFACE + native.encode_request((1).to_bytes(4), StatusRequest()))


async def test_connections_past_the_bound_wait_until_others_leave(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "kvraft")
    async with open_members(tmp_path, 1, max_connections=3) as members:
        (member,) = members.running.values()
        (url,) = members.urls
        inside = [await dial(url, None) for _ in range(3)]
        for channel in inside:
            await _greet(channel)
            with trio.fail_after(PATIENCE_SECONDS):
                assert await channel.receive()
        waiting = [await dial(url, None) for _ in range(5)]
        for channel in waiting:
            await _greet(channel)
        await until(lambda: member.counters.client_waits > 0)
        assert member.counters.client_connections == 3
        for channel in inside:
            channel.close()
        for channel in waiting:
            with trio.fail_after(PATIENCE_SECONDS):
                assert await channel.receive()
            channel.close()
        await until(lambda: member.counters.client_connections == 0)
        async with open_client(members.urls) as client:
            await client.put(b"k", b"v")
    lines = [record for record in caplog.records if record.getMessage().startswith("too many client connections")]
    assert len(lines) == 1, "one line, not one for each"


def test_the_bound_follows_from_the_files_that_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert connection_limit(0) == 4096 - RESERVED_FILES
    assert raised == [(4096, 4096)]
    assert connection_limit(100) == 100
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    with pytest.raises(ConfigError, match="file descriptor limit of kvraft process is too low"):
        connection_limit(0)
