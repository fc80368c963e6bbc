"""What one run is made of, drawn from its seed: cluster, bounds, network, disks, clocks, clients and faults."""

from __future__ import annotations

import random

import msgspec

from jepsen.sim.world import MILLISECOND, SECOND

TICK = 100 * MILLISECOND

FAULTS = (
    "crash",
    "crash-leader",
    "crash-many",
    "crash-install",
    "ambush",
    "stop",
    "partition",
    "isolate-leader",
    "one-way",
    "link",
    "pause",
    "clock-jump",
    "clock-skew",
    "disk-slow",
    "disk-stall",
    "transfer",
    "loss",
    "delay",
    "hints",
    "member-add",
    "member-learner",
    "member-promote",
    "member-remove",
    "member-remove-leader",
    "member-replace",
)
"""Every kind of fault; ``jepsen.sim.faults`` has a method for each."""


class Options(msgspec.Struct, frozen=True):
    """The options of a run. Durations are microseconds of simulated time, unless a name says otherwise."""

    nodes: int
    spares: int
    """Nodes that run as well and are no members at first."""
    duration: int
    tick: int
    election_ticks: int
    heartbeat_ticks: int
    # bounds of core and driver: small ones, so that runs of a few hundred operations meet them
    max_append_bytes: int
    max_inflight_messages: int
    max_committed_bytes: int
    cached_bytes: int
    max_messages_per_turn: int
    max_proposals_per_turn: int
    request_timeout_ticks: int
    snapshot_entries: int
    keep_entries: int
    max_held_entries: int
    # network
    latency: int
    jitter: int
    loss: float
    duplication: float
    stragglers: float
    """The share of messages that are late by up to ``straggle``; where ``fifo`` holds, what follows is late too."""
    straggle: int
    fifo: bool
    hold: bool
    """Whether what meets a blockade arrives when it ends, instead of never."""
    # disks
    sync: int
    sync_jitter: int
    turn_delay: int
    # clocks
    skew: float
    # clients
    clients: int
    keys: int
    operations: int
    think: int
    timeout: int
    follower_reads: float
    mix: tuple[float, float, float, float]
    """Shares of reads, writes, compare-and-swaps and deletes."""
    forwarded_writes: float
    """The share of writes that go to any node, which is to pass them on to its leader."""
    # faults
    leases: int
    """Clients that grant leases and keep them alive."""
    patient: bool
    """Whether nobody waits at followers for what is committed."""
    fault_interval: int
    fault_length: int
    """The longest that most faults last."""
    faults: tuple[str, ...]
    """Kinds that happen in this run, each as often as it stands here."""

    @property
    def processes(self) -> int:
        """How many nodes run, members or not."""
        return self.nodes + self.spares


def draw_options(rng: random.Random, duration_s: float | None = None) -> Options:
    """Options from the next numbers of ``rng``; ``duration_s`` overrides for how long faults last."""
    later = random.Random()
    later.setstate(rng.getstate())  # what was added later draws from a copy: it moves no other option of any seed
    shares = [rng.random() + 0.1, rng.random() + 0.1, rng.random() * 0.8, rng.random() * 0.2]
    total = sum(shares)
    faults = tuple(kind for kind in FAULTS for _ in range(max(0, rng.randrange(-3, 4))))
    if rng.random() < 0.5:
        faults = tuple(kind for kind in faults if not kind.startswith("member-"))
    # Some runs are all about elections whose winners die at once: that is how logs come to differ (Raft, figure 8).
    embattled = rng.random() < 0.2
    if embattled:
        faults = ("ambush", "ambush", rng.choice(FAULTS))
    changing = any(kind.startswith("member-") for kind in faults)
    duration = rng.randrange(8 * SECOND, 18 * SECOND)
    election_ticks = rng.choice((3, 3, 4, 5, 6, 10))
    election = election_ticks * TICK
    return Options(
        nodes=rng.choice((3, 3, 5) if embattled else (1, 3, 3, 3, 3, 3, 5, 5)),
        spares=rng.choice((1, 2, 2)) if changing else 0,
        duration=duration if duration_s is None else int(duration_s * SECOND),
        tick=TICK,
        election_ticks=election_ticks,
        heartbeat_ticks=rng.choice((1, 1, 1, 2)),
        max_append_bytes=1 if embattled else rng.choice((1, 200, 1000, 1 << 20)),
        max_inflight_messages=rng.choice((2, 4, 16, 256)),
        max_committed_bytes=rng.choice((1, 300, 4 << 20)),
        cached_bytes=rng.choice((1, 300, 3000, 1 << 20)),
        max_messages_per_turn=rng.choice((1, 3, 1024)),
        max_proposals_per_turn=rng.choice((1, 3, 1024)),
        request_timeout_ticks=rng.choice((10, 20, 40)),
        snapshot_entries=rng.choice((10, 20, 60, 10_000)),
        keep_entries=rng.choice((0, 0, 5, 20)),
        max_held_entries=rng.choice((0, 0, 50)),
        latency=rng.randrange(100, 20 * MILLISECOND),
        jitter=rng.randrange(100, 20 * MILLISECOND),
        loss=rng.choice((0.0, 0.0, 0.01, 0.05)),
        duplication=rng.choice((0.0, 0.0, 0.02, 0.1)),
        stragglers=rng.choice((0.0, 0.01, 0.03)),
        straggle=rng.choice((100 * MILLISECOND, 500 * MILLISECOND, 3 * SECOND)),
        fifo=rng.random() < 0.5,
        hold=rng.random() < 0.5,
        sync=rng.choice((200, 1000, 5000, 10_000)),
        sync_jitter=rng.choice((100, 2000, 10_000, 50_000)),
        turn_delay=rng.choice((50, 200, 2000)),
        skew=rng.choice((0.0, 0.05, 0.3)),
        clients=rng.randrange(3, 9),
        keys=rng.choice((1, 1, 2, 4)),
        operations=rng.randrange(150, 400),
        think=rng.randrange(2 * MILLISECOND, 40 * MILLISECOND),
        timeout=rng.randrange(300 * MILLISECOND, 2 * SECOND),
        follower_reads=rng.choice((0.0, 0.3, 0.7, 1.0)),
        mix=(shares[0] / total, shares[1] / total, shares[2] / total, shares[3] / total),
        # Where new leaders die at once, clients that wait for one would do nothing else.
        forwarded_writes=0.0 if "ambush" in faults else later.choice((0.0, 0.3, 0.3, 1.0)),
        leases=0 if "ambush" in faults else later.choice((0, 0, 2, 4)),
        patient=later.choice((False, False, True)),
        fault_interval=int(election * rng.choice((0.3, 0.6, 1.0, 2.0))),
        fault_length=int(election * rng.choice((0.5, 1.0) if embattled else (0.5, 1.5, 3.0, 5.0))),
        faults=faults or ("crash", "partition"),
    )
