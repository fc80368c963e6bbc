"""One seed, one run: build a cluster, break it, heal it, judge it."""

from __future__ import annotations

import hashlib
import traceback
from typing import TYPE_CHECKING

import msgspec

from jepsen.checkers.linearizability import Verdict, check_linearizable
from jepsen.history import Outcome
from jepsen.sim.clients import Client, Traffic
from jepsen.sim.faults import Faults
from jepsen.sim.invariants import Invariants
from jepsen.sim.leases import LeaseClient, LeaseJudge
from jepsen.sim.mutations import mutation
from jepsen.sim.network import Network, format_message
from jepsen.sim.node import SimNode, founding_state
from jepsen.sim.options import Options, draw_options
from jepsen.sim.progress import demand_progress
from jepsen.sim.world import SECOND, TraceEvent, Violation, World
from kvraft.raft.messages import Message

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_CONFIGURATIONS = 1_000_000
"""For the linearizability check of one key of one run."""


class Report(msgspec.Struct, frozen=True):
    """What came of a run. ``check`` is the broken promise, or empty; ``detail`` and ``trace`` then say more.

    ``digest`` is a digest of every event, message and answer: equal digests, equal runs.
    """

    seed: int
    options: Options
    digest: str
    steps: int
    simulated_s: float
    operations: int
    unknown: int
    elections: int
    faults: int
    entries: int
    changes: int
    """Entries that changed who takes part."""
    check: str = ""
    detail: str = ""
    trace: tuple[str, ...] = ()


def run_seed(
    seed: int,
    *,
    duration_s: float | None = None,
    break_name: str = "",
    on_trace: Callable[[str], None] | None = None,
) -> Report:
    """Simulate one cluster. ``break_name`` is a mutation of the core or driver; ``on_trace`` gets every event."""
    world = World(seed, None if on_trace is None else lambda event: on_trace(format_event(event)))
    options = draw_options(world.rng, duration_s)
    founded = founding_state(options)
    invariants = Invariants(founded.index, founded.configuration)
    if options.leases:
        invariants.leases = LeaseJudge(world)
    network = Network(world, options)
    broken = mutation(break_name)
    for node_id in range(1, options.processes + 1):
        network.nodes[node_id] = SimNode(
            *(node_id, world, options, network, invariants),
            core=broken.core,
            driver=broken.driver,
            lessor=broken.lessor,
        )
    nodes = network.nodes
    invariants.images = {node_id: node.disk.image for node_id, node in nodes.items()}
    traffic = Traffic(world, options, nodes, invariants)
    faults = Faults(world, options, nodes, network)
    check = detail = ""
    try:
        for node in nodes.values():
            node.start()
        for _ in range(options.clients):
            Client(traffic)
        for _ in range(options.leases):
            LeaseClient(traffic)
        faults.start()
        world.run(until=options.duration)
        world.now = options.duration
        faults.heal()
        demand_progress(traffic)
        _judge(traffic)
    except Violation as violation:
        check, detail = violation.check, violation.detail
    except Exception as error:  # whatever the core, the driver or a bound raises is a finding
        check, detail = f"exception {type(error).__name__}", traceback.format_exc()
    outcomes = [operation.outcome for operation in traffic.history.operations]
    return Report(
        seed=seed,
        options=options,
        digest=_digest(world, traffic),
        steps=world.steps,
        simulated_s=world.now / SECOND,
        operations=outcomes.count(Outcome.OK),
        unknown=outcomes.count(Outcome.UNKNOWN),
        elections=invariants.elections,
        faults=faults.injected,
        entries=len(invariants.applied),
        changes=invariants.changes,
        check=check,
        detail=detail,
        trace=tuple(map(format_event, world.trace)) if check else (),
    )


def format_event(event: TraceEvent) -> str:
    """``seconds  what  item`` as one line."""
    now, what, item = event
    text = format_message(item) if isinstance(item, Message) else str(item)
    return f"{now / SECOND:10.6f}  {what} {text}".rstrip()


def _judge(traffic: Traffic) -> None:
    result = check_linearizable(traffic.history.operations, max_configurations=MAX_CONFIGURATIONS)
    if result.verdict is Verdict.VIOLATION:
        raise Violation("linearizability", f"key {result.key}\n" + "\n".join(result.explanation))
    if result.verdict is Verdict.GAVE_UP:
        raise Violation("linearizability undecided", f"key {result.key}: {result.explanation[0]}")


def _digest(world: World, traffic: Traffic) -> str:
    digest = hashlib.blake2b(world.digest(), digest_size=8)
    digest.update(traffic.history.dump())
    for node_id, node in traffic.nodes.items():
        digest.update(msgspec.msgpack.encode((node_id, node.life, node.state(), node.disk.image.last_index)))
    return digest.hexdigest()
