"""What many leases cost: the processor's time of a whole member that has them, and of the part that keeps their time.

The latter has a clock that is given, so that a minute passes at once.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from kvraft.apply.command import encode_command, join_commands
from kvraft.apply.machine import StateMachine
from kvraft.client import open_client
from kvraft.lease.lessor import Lessor
from kvraft.raft.messages import Configuration, Entry
from kvraft.types import LeaseGrantRequest
from tests.bench.clusters import store_cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.types import LeaseCommand

TTL_SECONDS = 60
LONG_TTL_SECONDS = 3600
IN_FLIGHT = 64
IDLE_SECONDS = 10.0
TICK_SECONDS = 0.05
BATCH = 500


class Leader:
    """A real state with leases, and the lessor of a member that leads."""

    def __init__(self, directory: str) -> None:
        self.now = 0.0
        self.written = 0
        self.machine = StateMachine.open(directory, sync=False)
        self.lessor = Lessor(self.machine.leases, self._propose, lambda: self.now, 1.0)
        self.machine.leases.observer = self.lessor

    def _propose(self, command: LeaseCommand, waiter: Callable[[object], None]) -> None:
        self.written += 1
        waiter(self.apply([encode_command(command)]))

    def apply(self, commands: list[bytes]) -> object:
        entry = Entry(self.machine.applied_index + 1, 1, 0, join_commands(commands))
        return self.machine.apply([entry])[0][0]

    def pass_time(self, seconds: float, renewed: range | None = None) -> float:
        """The share of a core that ticks take, and renewals of ``renewed``, spread evenly."""
        begun, start = time.process_time(), self.now
        ticks = round(seconds / TICK_SECONDS)
        for tick in range(1, ticks + 1):
            self.now = start + tick * TICK_SECONDS
            self.lessor.tick(1)
            if renewed is not None:
                for lease_id in renewed[len(renewed) * (tick - 1) // ticks : len(renewed) * tick // ticks]:
                    self.lessor.renew(lease_id, _ignore)
                self.lessor.flush()
        return (time.process_time() - begun) / seconds


def _ignore(ttl: object) -> None:
    pass


async def _grant_all(url: str, count: int) -> None:
    async with open_client([url], timeout_seconds=60) as client:
        numbers = iter(range(1, count + 1))

        async def worker() -> None:
            for number in numbers:
                await client.lease_grant(LONG_TTL_SECONDS, number)

        async with trio.open_nursery() as nursery:
            for _ in range(IN_FLIGHT):
                nursery.start_soon(worker)


def _idle_member(count: int) -> float:
    """The share of a core that a member with so many leases takes that nothing happens to."""
    with store_cluster("kvraft", 1) as cluster:
        (process,) = cluster.processes
        trio.run(_grant_all, cluster.urls[0], count)
        time.sleep(IDLE_SECONDS / 2)  # what was written is committed
        before = _cpu_seconds(process.pid)
        time.sleep(IDLE_SECONDS)
        return (_cpu_seconds(process.pid) - before) / IDLE_SECONDS


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(count: int) -> list[str]:
    """The table's lines."""
    with tempfile.TemporaryDirectory() as directory:
        leader = Leader(directory)
        leader.machine.initialise(Configuration((1,)), 1, 1)
        for first in range(1, count + 1, BATCH):
            grants = [
                LeaseGrantRequest(TTL_SECONDS, lease_id) for lease_id in range(first, min(first + BATCH, count + 1))
            ]
            leader.apply([encode_command(grant) for grant in grants])
        leader.machine.commit()
        leader.machine.close()
        begun = time.process_time()
        leader = Leader(directory)
        opened = time.process_time() - begun
        taking_up = leader.pass_time(5.0)
        idle = leader.pass_time(4.0)
        before = leader.written
        renewed = [leader.pass_time(TTL_SECONDS / 3, range(1, count + 1)) for _ in range(3)]
        written = leader.written - before
        leader.machine.close()
    return [
        f"| {count:,} leases of {TTL_SECONDS} s | processor time |",
        "| --- | --- |",
        f"| a whole member, with leases of an hour, idle | {_idle_member(count):.2%} of a core |",
        f"| open the state | {opened * 1000:.1f} ms |",
        f"| take them up as a new leader, in the first five seconds | {taking_up:.2%} of a core |",
        f"| nothing happens to them | {idle:.2%} of a core |",
        f"| each is renewed every {TTL_SECONDS // 3} s, beside the requests' own cost | {max(renewed):.2%} of a core |",
        "",
        f"In {TTL_SECONDS} s of these renewals the leases wrote {written:,} entries of the log.",
    ]
