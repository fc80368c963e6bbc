"""What is counted by looking at the member from time to time, with its tick, instead of where it happens."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kvraft.raft.messages import NO_NODE, Role
from kvraft.server.observe.counters import Histogram, exponential

if TYPE_CHECKING:
    from kvraft.server.member import Member

ROUND_TRIP_SECONDS = 4.0
"""How often the way to the peers is measured."""


class Sampler:
    """Fills in ``member.counters``."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._leader = NO_NODE
        self._next = 0.0
        self._compactions = 0
        self._compacting_since = 0.0

    def look(self, now: float, late_ticks: int) -> None:
        """Once a tick, of which ``late_ticks`` were missed before."""
        counters, raft = self._member.counters, self._member.driver.raft
        if raft.role is Role.LEADER:
            counters.late_ticks += late_ticks
        if raft.leader not in (NO_NODE, self._leader):
            self._leader = raft.leader
            counters.leader_changes += 1
        self._look_at_compactions(now)
        if now >= self._next:
            self._next = now + ROUND_TRIP_SECONDS
            self.measure_round_trips()

    def _look_at_compactions(self, now: float) -> None:
        machine, counters = self._member.machine, self._member.counters
        if machine.compactions != self._compactions:
            self._compactions = machine.compactions
            counters.compaction_milliseconds.observe((now - self._compacting_since) * 1000)
            counters.last_compaction = time.time()
        if not machine.compacting:
            self._compacting_since = now

    def measure_round_trips(self) -> None:
        """Ask TCP for each peer that is connected."""
        known = self._member.counters.peer_round_trip_seconds
        for peer_id, link in self._member.peers.links.items():
            seconds = link.channel.round_trip_seconds if link.channel is not None else 0.0
            if seconds:
                known.setdefault(peer_id, Histogram(exponential(0.0001, 2, 16))).observe(seconds)
