"""One member's decisions between the raft core, the disk, the network and the state machine; no trio, no I/O.

The owner feeds it (``receive``, ``propose``, ``read``, ``durable``, ``tick`` ...) and calls ``turn`` once for
everything that has arrived; what must happen goes out through the small interfaces below. The trio server and the
simulator both own drivers; neither adds decisions of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from kvraft.errors import (
    KvraftError,
    LeaderChanged,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    Stopped,
    TooManyRequests,
)
from kvraft.raft.messages import NO_NODE, Entry, Message, MessageKind, ProposalDropped, Ready, Role
from kvraft.storage.log import LogBatch

if TYPE_CHECKING:
    from kvraft.raft.core import Raft
    from kvraft.raft.messages import Configuration

Answer = object
"""A ``types.Response`` or a ``KvraftError``."""
Waiter = Callable[[Answer], None]
"""Called once with the answer to a proposal. It must not raise and must not call back into the driver."""
Reader = Callable[[KvraftError | None], None]
"""Called once: None when the state machine may be read now, else why not. Same rules as a waiter."""


class Disk(Protocol):
    """The log's writer. Batches become durable in order; the owner then calls ``Driver.durable``."""

    def submit(self, batch: LogBatch) -> None: ...

    def oldest_pending_seconds(self) -> float:
        """For how long the oldest batch has been waiting to become durable; 0 when none is."""
        ...


class Transport(Protocol):
    """What carries messages to peers: lossy, unordered, at most once is good enough."""

    def send(self, messages: Sequence[Message]) -> None: ...

    def send_snapshot(self, message: Message) -> None:
        """Open a snapshot, stream it to ``message.to``, then call ``Driver.snapshot_sent``."""
        ...


class Machine(Protocol):
    """The replicated state machine. ``durable_index`` is the applied index that a crash cannot take back."""

    @property
    def applied_index(self) -> int: ...

    @property
    def durable_index(self) -> int: ...

    @property
    def configuration(self) -> Configuration | None:
        """As of the applied index; the same object until it changes. None where it is not known yet."""
        ...

    @property
    def uncommitted(self) -> int:
        """Operations applied since the last ``commit``."""
        ...

    def apply(self, entries: Sequence[Entry]) -> Sequence[Answer]: ...

    def commit(self) -> None: ...

    def install(self, writer: Any) -> object:
        """Replace everything by a snapshot that has arrived whole; durable when this returns."""
        ...


@attrs.frozen
class DriverConfig:
    """Bounds and periods. Ticks are the unit of time, as in the core."""

    request_timeout_ticks: int = 70
    """After so long a proposal is answered with "outcome unknown", a read with "no leader"."""
    stalled_disk_seconds: float = 1.0
    """A leader whose log disk takes longer than this gives leadership up."""
    commit_operations: int = 10_000
    snapshot_entries: int = 10_000
    """The log is compacted when it holds so many applied and durable entries more than ``keep_entries``."""
    keep_entries: int = 5_000
    """Entries that stay behind the compaction for followers that are a little behind."""
    max_held_entries: int = 200_000
    """So many more at most stay for followers that a slow snapshot, or catching up after one, has left behind."""
    max_pending: int = 50_000
    """Proposals plus reads without an answer; past it: TooManyRequests."""
    max_messages_per_turn: int = 1024
    max_proposals_per_turn: int = 1024


class Driver:
    """Drives one raft core; see the module. All methods are synchronous and must be called from one thread."""

    def __init__(
        self,
        raft: Raft,
        machine: Machine,
        disk: Disk,
        transport: Transport,
        config: DriverConfig,
        leader_url: Callable[[int], str] = lambda _: "",
    ) -> None:
        self.raft = raft
        self.machine = machine
        self.config = config
        self._disk = disk
        self._transport = transport
        self._leader_url = leader_url
        self._inbox: deque[Message] = deque()
        self._proposals: deque[tuple[bytes, Waiter]] = deque()
        self._new_reads: list[Reader] = []
        self._waiting: dict[int, tuple[int, Waiter]] = {}  # index -> term it was proposed in, waiter
        self._reads: dict[int, list[Reader]] = {}  # attempt id -> readers that await its confirmation
        self._confirmed: list[tuple[int, int]] = []  # heap of (index, attempt id) that await apply
        self._pending_reads = 0
        self._next_read = 0
        # (tick, term, first index, end index) of proposals; (tick, 0, attempt id, attempt id + 1) of reads
        self._expiries: deque[tuple[int, int, int, int]] = deque()
        self._after_persist: deque[tuple[int, list[Message]]] = deque()
        self._arrived: dict[tuple[int, int], Any] = {}  # (index, term) -> snapshot that has arrived
        self._promised: dict[int, int] = {}  # peer -> index of the snapshot that it is being sent
        self._discard_to = 0
        self._ticks = 0

    # ------------------------------------------------------------------ input

    def receive(self, message: Message) -> None:
        """A message from a peer; it is stepped in the next turn."""
        self._inbox.append(message)

    def receive_snapshot(self, message: Message, writer: Any) -> None:
        """The SNAPSHOT ``message`` (its ``snapshot`` set) whose data has arrived whole in ``writer``."""
        assert message.snapshot is not None
        stale = self._arrived.pop((message.snapshot.index, message.snapshot.term), None)
        if stale is not None:
            stale.abort()
        self._arrived[message.snapshot.index, message.snapshot.term] = writer
        self._inbox.append(message)

    def snapshot_started(self, peer: int, index: int) -> None:
        """The stream that ``Transport.send_snapshot`` started carries the state at ``index``: the log behind it is
        kept for when it has arrived, up to ``max_held_entries``."""
        self._promised[peer] = index

    def snapshot_sent(self, peer: int, index: int) -> None:
        """The stream that ``Transport.send_snapshot`` started has ended; ``index`` 0 means that it failed."""
        if not index:
            self._promised.pop(peer, None)
        self.raft.report_snapshot(peer, index)

    def unreachable(self, peer: int) -> None:
        """Messages to ``peer`` were lost."""
        self.raft.report_unreachable(peer)

    def peer_connected(self, connected: int) -> None:
        """Links to ``connected`` peers are open: with a majority and no leader there is no reason to wait for one."""
        if self.raft.leader == NO_NODE and connected + 1 > len(self.raft.configuration.voters) // 2:
            self.raft.hurry()

    def peer_died(self, peer: int) -> None:
        """``peer``'s process is known to be gone (its port refuses connections); only ever a hint."""
        self.raft.report_unreachable(peer)
        self.raft.suspect_leader(peer)

    def propose(self, data: bytes, waiter: Waiter) -> None:
        """Ask for ``data`` to be committed. The waiter gets the state machine's answer or an error."""
        if len(self._waiting) + len(self._proposals) + self._pending_reads >= self.config.max_pending:
            waiter(TooManyRequests())
        else:
            self._proposals.append((data, waiter))

    def change(self, data: bytes, waiter: Waiter) -> None:
        """Ask for the membership change ``data`` to be committed, at once, as there is only ever one under way; see
        ``Raft.may_change``. The waiter gets the state machine's answer or an error."""
        try:
            index, term = self.raft.propose_configuration(data)
        except ProposalDropped as dropped:
            waiter(self._no_proposal(dropped))
            return
        self._expect(index, term, waiter)
        self._expiries.append((self._ticks + self.config.request_timeout_ticks, term, index, index + 1))

    def read(self, reader: Reader) -> None:
        """Ask for a linearizable read (ReadIndex; Raft thesis, section 6.4). All reads of a turn share a round."""
        if len(self._waiting) + len(self._proposals) + self._pending_reads >= self.config.max_pending:
            reader(TooManyRequests())
        else:
            self._pending_reads += 1
            self._new_reads.append(reader)

    def durable(self, seq: int) -> None:
        """Every batch up to ``seq`` is on disk: what waited for it may go out."""
        released: list[Message] = []
        while self._after_persist and self._after_persist[0][0] <= seq:
            released += self._after_persist.popleft()[1]
        self.raft.persisted(seq)
        if released:
            self._send(released)

    def tick(self) -> None:
        """One unit of time has passed."""
        self._ticks += 1
        if self.raft.role == Role.LEADER and self._disk.oldest_pending_seconds() > self.config.stalled_disk_seconds:
            self.raft.step_down("the log disk has stalled")
        self.raft.tick()
        self._expire()

    def stop(self) -> None:
        """Answer everybody who still waits; the member is about to end."""
        for _, waiter in self._waiting.values():
            waiter(OutcomeUnknown(Stopped.text))
        self._waiting.clear()
        for _, waiter in self._proposals:
            waiter(Stopped())
        self._proposals.clear()
        for readers in [*self._reads.values(), self._new_reads]:
            self._fail_reads(readers, Stopped())
        self._reads.clear()
        self._new_reads = []

    # ------------------------------------------------------------------ the turn

    @property
    def waiting(self) -> int:
        """Proposals in the log whose end is not known yet."""
        return len(self._waiting)

    @property
    def has_work(self) -> bool:
        """Whether ``turn`` would do anything."""
        return bool(self._inbox or self._proposals or self._new_reads) or self.raft.has_ready()

    def turn(self) -> None:
        """Do what has arrived, up to a bound, as one batch: one write, one message per peer, one apply."""
        inbox = self._inbox
        offered: list[tuple[int, int]] = []
        for _ in range(min(len(inbox), self.config.max_messages_per_turn)):
            message = inbox.popleft()
            self.raft.step(message)
            if message.snapshot is not None:
                offered.append((message.snapshot.index, message.snapshot.term))
        if self._proposals:
            self._propose()
        if self._new_reads:
            self._start_reads()
        if self.raft.has_ready():
            self._handle(self.raft.ready())
        for snapshot in offered:
            refused = self._arrived.pop(snapshot, None)
            if refused is not None:
                refused.abort()

    def commit_if_due(self, *, due: bool) -> None:
        """Make the applied state durable: when ``due`` (the period is over) or much has been applied.

        The log is compacted here, behind what this commit has made durable.
        """
        machine = self.machine
        if machine.uncommitted >= self.config.commit_operations or (due and machine.uncommitted):
            machine.commit()
            self._compact()

    def _propose(self) -> None:
        proposals = self._proposals
        batch = [proposals.popleft() for _ in range(min(len(proposals), self.config.max_proposals_per_turn))]
        try:
            first, term = self.raft.propose([data for data, _ in batch])
        except ProposalDropped as dropped:
            error = self._no_proposal(dropped)
            for _, waiter in batch:
                waiter(error)
            return
        for index, (_, waiter) in enumerate(batch, first):
            self._expect(index, term, waiter)
        deadline = self._ticks + self.config.request_timeout_ticks
        self._expiries.append((deadline, term, first, first + len(batch)))

    def _expect(self, index: int, term: int, waiter: Waiter) -> None:
        overwritten = self._waiting.get(index)
        if overwritten is not None:
            # Proposed by us in an earlier term and gone from our log since. Another member may still hold it and
            # have it committed under a later leader: only an applied entry in its place makes its end certain.
            overwritten[1](LeaderChanged())
        self._waiting[index] = (term, waiter)

    def _no_proposal(self, dropped: ProposalDropped) -> KvraftError:
        if self.raft.role == Role.LEADER:
            handing_over = self.raft.status().transferee != NO_NODE
            return NoLeader() if handing_over else TooManyRequests()  # the one is worth another try at once
        if self.raft.leader == NO_NODE:
            return NoLeader()
        return NotLeader(leader=self._leader_url(self.raft.leader))

    def _start_reads(self) -> None:
        self._next_read += 1
        readers, self._new_reads = self._new_reads, []
        self._reads[self._next_read] = readers
        deadline = self._ticks + self.config.request_timeout_ticks
        self._expiries.append((deadline, 0, self._next_read, self._next_read + 1))
        self.raft.read_index(self._next_read)

    def _handle(self, ready: Ready) -> None:
        if ready.messages:
            self._send(ready.messages)
        if ready.snapshot is not None:
            self.machine.install(self._arrived.pop((ready.snapshot.index, ready.snapshot.term)))
            if self.machine.configuration is not None:
                self.raft.apply_configuration(self.machine.configuration)  # the same, as the machine's object
            self._forget_waiters_below(ready.snapshot.index)
        if ready.seq:
            self._disk.submit(
                LogBatch(ready.seq, ready.hard_state, ready.entries, reset=ready.snapshot, discard_to=self._discard_to)
            )
            self._discard_to = 0
            if ready.after_persist:
                self._after_persist.append((ready.seq, ready.after_persist))
        if ready.committed:
            self._apply(ready.committed)
        for state in ready.reads:
            heappush(self._confirmed, (state.index, state.request_id))
        for request_id in ready.dropped_reads:
            self._fail_reads(self._reads.pop(request_id, []), NoLeader())
        if self._confirmed:
            self._release_reads()

    def _send(self, messages: list[Message]) -> None:
        plain = [message for message in messages if message.kind != MessageKind.SNAPSHOT]
        if plain:
            self._transport.send(plain)
        if len(plain) != len(messages):
            for message in messages:
                if message.kind == MessageKind.SNAPSHOT:
                    self._transport.send_snapshot(message)

    def _apply(self, entries: list[Entry]) -> None:
        answers = self.machine.apply(entries)
        configuration = self.machine.configuration
        if configuration is not self.raft.configuration and configuration is not None:
            self.raft.apply_configuration(configuration)
            # Not with the next commit, but now, and twice, as a commit is proof against a loss of power with the one
            # after it: members that have been left out are not there to be asked again by who forgets the change.
            self.machine.commit()
            self.machine.commit()
        waiting = self._waiting
        if not waiting:
            return
        for entry, answer in zip(entries, answers, strict=True):
            waiter = waiting.pop(entry.index, None)
            if waiter is not None:
                # Another term's entry at this index: ours was overwritten and can never be committed.
                waiter[1](answer if waiter[0] == entry.term else NotLeader(leader=self._leader_url(self.raft.leader)))

    def _release_reads(self) -> None:
        applied = self.machine.applied_index
        while self._confirmed and self._confirmed[0][0] <= applied:
            readers = self._reads.pop(heappop(self._confirmed)[1], [])
            self._pending_reads -= len(readers)
            for reader in readers:
                reader(None)

    def _fail_reads(self, readers: list[Reader], error: KvraftError) -> None:
        self._pending_reads -= len(readers)
        for reader in readers:
            reader(error)

    def _forget_waiters_below(self, index: int) -> None:
        """A snapshot took the place of entries up to ``index``: what became of proposals there is not known."""
        for known in [i for i in self._waiting if i <= index]:
            self._waiting.pop(known)[1](LeaderChanged())

    def _expire(self) -> None:
        expiries = self._expiries
        while expiries and expiries[0][0] <= self._ticks:
            _, term, first, end = expiries.popleft()
            if not term:
                self._fail_reads(self._reads.pop(first, []), NoLeader())
                continue
            for index in range(first, end):
                waiter = self._waiting.get(index)
                if waiter is not None and waiter[0] == term:
                    del self._waiting[index]
                    waiter[1](OutcomeUnknown())

    def _compact(self) -> None:
        keep_from = self.machine.durable_index - self.config.keep_entries
        if keep_from - self.raft.compacted_index >= self.config.snapshot_entries:
            keep_from = max(min(keep_from, self._needed_by_followers()), keep_from - self.config.max_held_entries)
        if keep_from - self.raft.compacted_index >= self.config.snapshot_entries:
            self.raft.compact(keep_from)
            self._discard_to = keep_from  # goes with the next batch: nothing is in a hurry here

    def _needed_by_followers(self) -> int:
        """The last entry that no follower who is there still needs: what follows would cost it a snapshot."""
        progress = self.raft.status().progress
        promised = {
            peer: index for peer, index in self._promised.items() if peer in progress and progress[peer].match < index
        }
        self._promised = promised
        matches = [known.match for known in progress.values() if known.active and known.match]
        return min([self.machine.durable_index, *matches, *promised.values()])
