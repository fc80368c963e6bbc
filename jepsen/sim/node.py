"""One simulated process: the driver and the core in it, its clock, and what of it outlives a crash."""

from __future__ import annotations

import random
from functools import partial
from heapq import heappush
from math import floor
from typing import TYPE_CHECKING, Any

from jepsen.sim.disk import SimDisk
from jepsen.sim.leases import Leases
from jepsen.sim.machine import Change, Command, SimMachine, State, encode_command, snapshot_meta
from jepsen.sim.network import Line
from jepsen.sim.world import SECOND, Violation
from kvraft.errors import KvraftError
from kvraft.lease.lessor import Lessor
from kvraft.raft.core import Raft
from kvraft.raft.messages import NO_NODE, Configuration, Entry, RaftConfig, RaftStart, Role
from kvraft.server.driver import Driver, DriverConfig

if TYPE_CHECKING:
    from collections.abc import Callable

    from jepsen.sim.invariants import Invariants
    from jepsen.sim.network import Network
    from jepsen.sim.options import Options
    from jepsen.sim.world import World

MAX_TURNS = 500
"""Turns that follow one wake-up at most; more means that the driver never comes to rest."""
_TURNS = range(MAX_TURNS)
_BOUNDLESS = 1 << 30
FOUNDING_INDEX = 1
_LEADER = Role.LEADER  # faster to look up than a member of its enumeration


def _leader_url(node_id: int) -> str:
    """Nodes are found by their ids here; nobody has none."""
    return "" if node_id == NO_NODE else str(node_id)


def founding_state(options: Options) -> State:
    """What the first ``options.nodes`` nodes start from; no log reaches so far back, so who joins needs a snapshot."""
    return State(FOUNDING_INDEX, 1, 0, {}, Configuration(tuple(range(1, options.nodes + 1))))


class SimNode:
    """A node over all of its lives. ``driver`` is None while the process is down."""

    __slots__ = (
        *("_core", "_driver_type", "_held", "_hung_up", "_lessor_type", "_machine", "_next_request", "_paused_at"),
        *("_paused_rate", "_role", "_seen", "_states", "_take_turn", "_told", "_turn_due", "base_rate", "disk"),
        *("driver", "invariants", "leases", "life", "network", "node_id", "on_commit", "on_elected", "on_install"),
        *("options", "paused", "tick_rate", "world"),
    )

    def __init__(
        self,
        node_id: int,
        world: World,
        options: Options,
        network: Network,
        invariants: Invariants,
        core: type[Raft] = Raft,
        driver: type[Driver] = Driver,
        lessor: type[Lessor] = Lessor,
    ) -> None:
        self.node_id = node_id
        self.world = world
        self.options = options
        self.network = network
        self.invariants = invariants
        self.disk = SimDisk(world, options, partial(invariants.written, node_id), self._durable)
        self.driver: Driver | None = None
        self.life = 0
        self.paused = False
        self._paused_at = 0
        self._paused_rate = 1.0
        self.base_rate = self.tick_rate = 1.0 + options.skew * (2 * world.random() - 1)
        self.on_elected: Callable[[SimNode], None] = lambda _node: None
        self.on_commit: Callable[[SimNode], None] = lambda _node: None
        """Called when this node leads and its commit index has risen."""
        self.on_install: Callable[[SimNode], None] = lambda _node: None
        """Called when a snapshot has replaced the state; the log follows."""
        self._core = core
        self._driver_type = driver
        self._lessor_type = lessor
        self.leases: Leases | None = None
        """In runs with leases; None while the process is down."""
        self._machine: SimMachine | None = None
        first = founding_state(options) if node_id <= options.nodes else State(0, 0, 0, {})
        self._states = (first, first)
        self._turn_due = False
        self._take_turn = self._turn  # bound once: it is planned all the time
        self._held: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._seen = (0, 0)
        self._role: Role | None = Role.FOLLOWER
        self._hung_up: dict[int, Callable[[], None]] = {}
        self._next_request = 0
        self._told: list[int] = []  # attempts that clients have just been told took effect

    # ------------------------------------------------------------------ lives

    def start(self) -> None:
        """A new process reads what the disks kept."""
        if self.driver is not None:
            return
        self.life += 1
        self.paused = self._turn_due = False
        world, options, disk = self.world, self.options, self.disk
        # Whether the last commit survived is up to chance; what is durable always does.
        state = self._states[world.between(0, 2)]
        disk.align(snapshot_meta(state))
        image = disk.image
        machine = self._machine = SimMachine(state, self._applying, lambda: self.on_install(self))
        machine.awaited = not options.patient
        raft = self._core(
            RaftConfig(
                node_id=self.node_id,
                election_ticks=options.election_ticks,
                heartbeat_ticks=options.heartbeat_ticks,
                max_append_bytes=options.max_append_bytes,
                max_inflight_messages=options.max_inflight_messages,
                max_committed_bytes=options.max_committed_bytes,
                cached_bytes=options.cached_bytes,
            ),
            RaftStart(
                hard_state=image.hard_state,
                configuration=state.configuration,
                compacted_index=image.base,
                compacted_term=image.base_term,
                last_index=image.last_index,
                applied_index=state.index,
            ),
            disk,
            random.Random(world.rng.getrandbits(64)),
        )
        config = DriverConfig(
            election_ticks=options.election_ticks,
            request_timeout_ticks=options.request_timeout_ticks,
            stalled_disk_seconds=options.tick * options.election_ticks / SECOND,
            commit_operations=_BOUNDLESS,
            snapshot_entries=options.snapshot_entries,
            keep_entries=options.keep_entries,
            max_held_entries=options.max_held_entries,
            max_messages_per_turn=options.max_messages_per_turn,
            max_proposals_per_turn=options.max_proposals_per_turn,
        )
        self.driver = self._driver_type(raft, machine, disk, Line(self.network, self), config, _leader_url)
        judge = self.invariants.leases
        if judge is not None:
            machine.on_expired = judge.ended
            self.leases = Leases(self.driver, machine, judge, options.election_ticks, self._lessor_type)
        self._seen = (raft.term, raft.commit_index)
        self._role = raft.role
        world.note(f"node {self.node_id} starts, life {self.life}", image.hard_state)
        world.plan(world.between(0, options.tick), self._tick, self.life)

    def crash(self) -> None:
        """The process is gone; so is what was not durable. Who waits for an answer learns that nobody will give it."""
        if self.driver is None:
            return
        self.world.note(f"node {self.node_id} crashes")
        self.disk.crash()
        self._end()

    def stop(self) -> None:
        """The process ends in good order: everybody is answered, everything is written."""
        if self.driver is None:
            return
        self.world.note(f"node {self.node_id} stops")
        self.driver.stop()
        self.disk.close()
        assert self._machine is not None
        self._machine.commit()
        self._end()

    def _end(self) -> None:
        assert self._machine is not None
        self._states = (self._machine.durable, self._machine.committed)
        self.driver = self._machine = self.leases = None
        self._held.clear()
        hung_up, self._hung_up = self._hung_up, {}
        for lost in hung_up.values():
            lost()

    def pause(self) -> None:
        """The process stops running (SIGSTOP, a long pause of the machine); the world goes on around it."""
        self.paused = True
        self._paused_at = self.world.now
        self._paused_rate = self.tick_rate

    def resume(self) -> None:
        """It runs again, with everything that has piled up."""
        self.paused = False
        if self.leases is not None:
            # The slower of two rates, should a fault have ended meanwhile: the judge hears of it with the next tick.
            interval = self.options.tick * max(self.tick_rate, self._paused_rate)
            # One tick less than the pause was long, for one has been held and comes now.
            self.leases.stood_still(max(int((self.world.now - self._paused_at) / interval) - 1, 0))
        held, self._held = self._held, []
        if self.driver is not None:
            for function, arguments in held:
                function(*arguments)
            self.wake()

    # ------------------------------------------------------------------ what drives it

    def wake(self) -> None:
        """Something has arrived: a turn follows soon, and takes along whatever arrives until then."""
        if not self._turn_due and not self.paused and self.driver is not None:
            self._turn_due = True
            world = self.world  # ``World.plan``, written out
            heappush(world.heap, (world.now + self.options.turn_delay, next(world.numbers), self._take_turn, self.life))

    def hear(self, what: Callable[[Driver], None]) -> None:
        """A question or an answer has come, or word that none will."""
        if self.driver is None:
            return
        if self.paused:
            self._held.append((self.hear, (what,)))
            return
        what(self.driver)
        self._keep_word()
        self.wake()

    def _turn(self, life: int) -> None:
        if life != self.life or self.driver is None:
            return
        self._turn_due = False
        if self.paused:
            return
        driver, leases = self.driver, self.leases
        for _ in _TURNS:
            driver.turn()
            if leases is not None:
                leases.lessor.flush()
            self._observe(driver.raft)
            if not driver.has_work:
                return
        raise Violation("rest", f"node {self.node_id} has work after {MAX_TURNS} turns")

    def _tick(self, life: int) -> None:
        if life != self.life or self.driver is None:
            return
        if self.paused:
            self._held.append((self._tick, (life,)))
            return
        interval = floor(self.options.tick * self.tick_rate)
        self.world.plan(interval, self._tick, life)
        if self.invariants.leases is not None:
            self.invariants.leases.ticked(self.node_id, interval)
        self._advance()

    def advance_clock(self, ticks: int) -> None:
        """The clock jumps."""
        if self.invariants.leases is not None:
            self.invariants.leases.jumped(ticks)
        self._advance(ticks)

    def _advance(self, ticks: int = 1) -> None:
        driver = self.driver
        if driver is None or self.paused:
            return
        while ticks:
            ticks -= 1
            driver.tick()
            if self.leases is not None:
                self.leases.tick()
        self._observe(driver.raft)
        driver.commit_if_due(due=True)
        if driver.has_work:
            self.wake()

    def _durable(self, generation: int, seq: int) -> None:
        if generation != self.disk.generation or self.driver is None:
            return
        if self.paused:
            self._held.append((self._durable, (generation, seq)))
            return
        self.driver.durable(seq)
        self._observe(self.driver.raft)
        if self.driver.has_work:  # mostly it has only sent what waited for this
            self.wake()

    # ------------------------------------------------------------------ what is asked of it

    def propose(
        self, command: Command, reply: Callable[[Any], None], lost: Callable[[], None], *, forwards: bool = False
    ) -> bool:
        """A client's command. ``reply`` gets the answer or an error, or ``lost`` is called. False: nobody listens."""
        if self.driver is None:
            return False
        request = self._expect(lost)

        def answered(answer: Any) -> None:
            if not isinstance(answer, KvraftError):
                self._told.append(command.attempt)
            self._reply(request, reply, answer)

        self.driver.propose(encode_command(command), answered, forwards=forwards)
        self.wake()
        return True

    def change(self, change: Change) -> None:
        """Ask for other members; nobody waits for the answer. Nothing happens where that is not possible now."""
        if self.driver is not None and not self.paused and self.driver.raft.may_change:
            self.world.note(f"node {self.node_id} proposes", change)
            self.driver.change(encode_command(change), lambda answer: None)
            self.wake()

    def read(self, key: str, reply: Callable[[Any], None], lost: Callable[[], None], *, waits: bool) -> bool:
        """A client's linearizable read, on whatever this node is; with ``waits`` it outlasts elections."""
        if self.driver is None:
            return False
        request = self._expect(lost)

        def ready(error: KvraftError | None) -> None:
            answer: Any = error
            if error is None:
                self._keep_word()
                assert self._machine is not None
                found = self._machine.values.get(key)
                answer = None if found is None else found[0]
            self._reply(request, reply, answer)

        self.driver.read(ready, waits=waits)
        self.wake()
        return True

    def _expect(self, lost: Callable[[], None]) -> int:
        self._next_request += 1
        self._hung_up[self._next_request] = lost
        return self._next_request

    def _reply(self, request: int, reply: Callable[[Any], None], answer: Any) -> None:
        if self._hung_up.pop(request, None) is not None:
            reply(answer)

    # ------------------------------------------------------------------ what the judges see

    def committed_state(self) -> State:
        """The state of the last commit, which is what a snapshot sends."""
        assert self._machine is not None
        return self._machine.committed

    def state(self) -> State | None:
        """The present state; None while down."""
        return None if self._machine is None else self._machine.state()

    def _applying(self, entry: Entry) -> tuple[Command, ...]:
        assert self._machine is not None
        term = self._seen[0] if self.driver is None else self.driver.raft.term
        return self.invariants.applying(self.node_id, entry, self._machine.applied_index, term, self.disk.image)

    def _keep_word(self) -> None:
        """What clients were told took effect has been applied, before anything else is heard of this node."""
        if self._told:
            assert self._machine is not None
            told, self._told = self._told, []
            for attempt in told:
                self.invariants.answered(self.node_id, attempt, self._machine.applied_index)

    def _observe(self, raft: Raft) -> None:
        self._keep_word()
        role = raft.role
        now = (raft.term, raft._log.commit_index)  # a property costs too much here
        if now != self._seen:
            self.invariants.moved(self.node_id, self._seen, now)
            if now[0] != self._seen[0]:
                self._role = None
            elif role is _LEADER:
                self.on_commit(self)
            self._seen = now
        if role is not self._role:
            self.world.note(f"node {self.node_id} is {role.name.lower()} of term {raft.term}")
            self._role = role
            if role is _LEADER:
                self.invariants.became_leader(self.node_id, self.life, raft.term, self.disk.view, raft.configuration)
                self.on_elected(self)
