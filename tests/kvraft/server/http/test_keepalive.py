"""Silent clients are asked whether they are there, and given up: by the member's timers, on the test's clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from kvraft.server.http.keepalive import Keepalive
from kvraft.server.timers import Timers
from kvraft.wire.http2 import frames
from kvraft.wire.http2.frames import frame
from tests.kvraft.members import open_members
from tests.kvraft.server.etcd.raw import raw_client

if TYPE_CHECKING:
    from pathlib import Path

ACK = frame(frames.PING, frames.ACK, 0, bytes(8))


class Client:
    """A connection with an interval of ten seconds and a timeout of three."""

    def __init__(self) -> None:
        self.now = 100.0
        self.heard: list[tuple[str, float]] = []
        self.timers = Timers()
        self.keepalive = Keepalive(
            self.timers, lambda: self.now, 10.0, 3.0, lambda: self.note("ping"), lambda: self.note("given up")
        )

    def note(self, what: str) -> None:
        self.heard.append((what, self.now - 100.0))

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.5
            self.timers.run(self.now)


def test_who_says_nothing_is_asked_and_given_up() -> None:
    client = Client()
    client.wait(30)
    assert client.heard == [("ping", 10.0), ("given up", 13.0)]
    assert len(client.timers) == 0


def test_who_answers_is_asked_again_only_after_the_interval() -> None:
    client = Client()
    client.wait(11)
    client.keepalive.received()
    client.wait(21)
    assert client.heard == [("ping", 10.0), ("ping", 21.0), ("given up", 24.0)]


def test_who_speaks_is_never_asked_and_who_is_gone_neither() -> None:
    client = Client()
    for _ in range(10):
        client.wait(9.5)
        client.keepalive.received()
    client.keepalive.stop()
    client.wait(30)
    assert client.heard == []


async def test_a_member_does_as_its_flags_say(tmp_path: Path) -> None:
    limits = {"max_concurrent_streams": 7, "grpc_keepalive_interval_seconds": 100, "grpc_keepalive_timeout_seconds": 9}
    async with open_members(tmp_path, 1, **limits) as members, raw_client(members.urls[0]) as client:
        member, skipped = members.running["m1"], 0.0
        member.clock = lambda: trio.current_time() + skipped
        with trio.fail_after(30):
            settings = await client.next_frame()
            assert settings is not None
            assert settings.payload[:6] == frames.SETTINGS_MAX_CONCURRENT_STREAMS.to_bytes(2) + (7).to_bytes(4)

            async def until(kind: int) -> None:
                while (got := await client.next_frame()) is not None:
                    if got.kind == kind and not got.flags & frames.ACK:
                        return
                assert kind == END

            async def skip(seconds: float) -> None:
                nonlocal skipped
                skipped += seconds
                member.timers.run(member.clock())
                member.wake.set()

            await skip(101)
            await until(frames.PING)
            await client.send(ACK)
            await client.send(frame(frames.PING, 0, 0, bytes(8)))  # its answer comes when ours has been heard
            while (got := await client.next_frame()) is not None and not (got.kind == frames.PING and got.flags):
                pass
            await skip(101)
            await until(frames.PING)
            await skip(10)
            await until(END)


END = -1
