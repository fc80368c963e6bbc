"""One member's decisions between the raft core, the disk, the network and the state machine; no trio, no I/O.

The owner feeds it (``receive``, ``propose``, ``read``, ``durable``, ``tick`` ...) and calls ``turn`` once for
everything that has arrived; what must happen goes out through the small interfaces of ``contracts``. The trio server
and the simulator both own drivers; neither adds decisions of its own.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from kvraft.errors import (
    KvraftError,
    LeaderChanged,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    Stopped,
    TimeoutLeaderFailure,
    TooManyRequests,
    Unavailable,
)
from kvraft.raft.messages import NO_NODE, MessageKind, ProposalDropped, Role
from kvraft.server.contracts import DriverConfig
from kvraft.server.forwarding import Forwarded, Forwarder, Remote
from kvraft.server.pending_proposals import ArrivedProposals, PendingProposals, Together, nobody
from kvraft.server.pending_reads import PendingReads
from kvraft.server.retention import Retention
from kvraft.storage.log import LogBatch
from kvraft.wire.peer import Propose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.raft.core import Raft
    from kvraft.raft.messages import Configuration, Entry, Message, Ready
    from kvraft.server.contracts import Answer, Disk, Machine, Reader, Transport, Waiter
    from kvraft.wire.peer import PeerAnswer, Question

__all__ = ["Driver", "DriverConfig"]

_SNAPSHOT, _LEADER = MessageKind.SNAPSHOT, Role.LEADER  # faster to look up than members of their enumerations


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
        flush: Callable[[], None] | None = None,
    ) -> None:
        """``flush``, where answers leave at the end of a turn, sends those of this turn by now."""
        self.raft, self.machine = raft, machine
        self.config = config
        self._disk = disk
        self._transport = transport
        self._leader_url = leader_url
        self._flush = flush
        self._inbox: deque[Message] = deque()
        self.receive: Callable[[Message], None] = self._inbox.append
        """Takes a message from a peer; it is stepped in the next turn."""
        self._arrived_proposals = ArrivedProposals()
        self.reads = PendingReads()
        self.proposed = PendingProposals()
        # (tick, term, first index, end index) of proposals; (tick, 0, first, end attempt) of reads
        self._expiries: deque[tuple[int, int, int, int]] = deque()
        self._after_persist: deque[tuple[int, Sequence[Message]]] = deque()
        self._durable = 0  # the last batch that is known to be
        self._telling = False  # all followers are to hear of a commit
        self._awaited_by_peers = 0  # the last entry with a proposal that another member waits for
        self._arrived: dict[tuple[int, int], Any] = {}  # (index, term) -> snapshot that has arrived
        self._retention = Retention()
        self._discard_to = 0
        self._ticks = 0
        self._leader = NO_NODE
        self._led_since = 0  # the tick at which the present leader became known
        self.forwarder = Forwarder(transport, self._await_entry)

    # ------------------------------------------------------------------ input

    def receive_snapshot(self, message: Message, writer: Any) -> None:
        """The SNAPSHOT ``message`` (its ``snapshot`` set) whose data has arrived whole in ``writer``."""
        assert message.snapshot is not None
        stale = self._arrived.pop((message.snapshot.index, message.snapshot.term), None)
        if stale is not None:
            stale.abort()
        self._arrived[message.snapshot.index, message.snapshot.term] = writer
        self._inbox.append(message)

    def snapshot_started(self, peer: int, index: int) -> None:
        """The stream carries the state at ``index``: the log behind it is kept, up to ``max_held_entries``."""
        self._retention.promised[peer] = index

    def snapshot_sent(self, peer: int, index: int) -> None:
        """The stream that ``Transport.send_snapshot`` started has ended; ``index`` 0 means that it failed."""
        if not index:
            self._retention.promised.pop(peer, None)
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

    def propose(self, data: bytes, waiter: Waiter, *, forwards: bool = False) -> None:
        """Ask for ``data`` to be committed. The waiter gets the state machine's answer or an error.

        With ``forwards``, a member that does not lead has the leader propose it, and waits a while for one to be
        elected; otherwise its answer is ``NotLeader`` or ``NoLeader``.
        """
        if self.under_way >= self.config.max_pending:
            waiter(TooManyRequests())
        elif not forwards:
            self._arrived_proposals.add(data, waiter)
        else:
            request = Forwarded(self.forwarder, data, waiter, self._deadline(), is_proposal=True)
            if self.raft.role is _LEADER:
                self._arrived_proposals.add(data, request)
            else:
                self.forwarder.hold(request)

    def propose_together(self, datas: Sequence[bytes], answered: Callable[[Sequence[Answer]], None]) -> bool:
        """``propose`` for what one connection has sent together: it stays together, and has one waiter.

        False: there is no room for all of them, and none has been taken.
        """
        if self.under_way + len(datas) > self.config.max_pending:
            return False
        self._arrived_proposals.add_together(datas, answered)
        return True

    def ask_leader(self, body: bytes, waiter: Waiter, *, repeatable: bool = False) -> None:
        """Have the leader, which is not this member, answer a request (in the native encoding).

        ``repeatable``: it may be asked again when the answer was lost.
        """
        if self.under_way >= self.config.max_pending:
            waiter(TooManyRequests())
        else:
            request = Forwarded(self.forwarder, body, waiter, self._deadline(), is_proposal=False)
            request.repeatable = repeatable
            self.forwarder.hold(request)

    def ask(self, peer: int, body: bytes, waiter: Waiter) -> None:
        """Have ``peer`` answer a request; the waiter gets ``Unavailable`` at once when it cannot be reached."""
        request = Forwarded(self.forwarder, body, waiter, self._deadline(), is_proposal=False)
        if self.under_way >= self.config.max_pending:
            waiter(TooManyRequests())
        elif not self.forwarder.ask(peer, [request], self.machine.applied_index):
            waiter(Unavailable())

    def asked(self, origin: Any, questions: Sequence[Question]) -> None:
        """Another member asks; the answers go to ``Transport.answer`` with the same ``origin``."""
        for question in questions:
            if isinstance(question, Propose):
                self.propose(question.data, Remote(self.forwarder, origin, question.question_id))
            else:
                self.forwarder.asked(origin, question)

    def answered(self, peer: int, answers: Sequence[PeerAnswer]) -> None:
        """``peer`` answers questions of this member."""
        self.forwarder.answered(peer, answers, self.machine.applied_index)

    def link_lost(self, peer: int) -> None:
        """``peer`` answers no question that it has been asked until now."""
        self.forwarder.link_lost(peer)

    @property
    def under_way(self) -> int:
        """Requests of every kind without an answer."""
        return self.proposed.count + self._arrived_proposals.count + self.reads.count + self.forwarder.pending

    def _deadline(self) -> int:
        return self._ticks + self.config.request_timeout_ticks

    def change(self, data: bytes, waiter: Waiter) -> None:
        """Ask for the membership change ``data`` to be committed; one at a time, see ``Raft.may_change``."""
        try:
            index, term = self.raft.propose_configuration(data)
        except ProposalDropped as dropped:
            waiter(self._no_proposal(dropped))
            return
        self.proposed.add(index, term, [waiter])
        self._expiries.append((self._deadline(), term, index, index + 1))

    def read(self, reader: Reader, *, waits: bool = False) -> None:
        """Ask for a linearizable read (ReadIndex; Raft thesis, section 6.4). All reads of a turn share a round.

        With ``waits`` it outlasts elections, as a proposal that is forwarded does; otherwise its answer is
        ``NoLeader``.
        """
        if self.under_way >= self.config.max_pending:
            reader(TooManyRequests())
        else:
            self.reads.add(reader, waits=waits)

    def durable(self, seq: int) -> None:
        """Every batch up to ``seq`` is on disk: what waited for it may go out. Reports may come late, or twice."""
        if seq <= self._durable:
            return
        self._durable = seq
        released: list[Message] = []
        while self._after_persist and self._after_persist[0][0] <= seq:
            released += self._after_persist.popleft()[1]
        self.raft.persisted(seq)
        if released:
            self._send(released)

    def tick(self) -> None:
        """One unit of time has passed."""
        self._ticks += 1
        if self.raft.role is _LEADER and self._disk.oldest_pending_seconds() > self.config.stalled_disk_seconds:
            self.raft.step_down("the log disk has stalled")
        self.raft.tick()
        self._telling = self.raft.owes_commit
        if self.raft.leader != self._leader:
            self._notice_leader()
        if self._expiries and self._expiries[0][0] <= self._ticks:
            self._expire()
        self.reads.tick()
        self.forwarder.tick(self._ticks, self._timed_out, leaderless=self.raft.leader == NO_NODE)

    def stop(self) -> None:
        """Answer everybody who still waits; the member is about to end."""
        self.proposed.end_all(OutcomeUnknown(Stopped.text))
        self._arrived_proposals.end_all(Stopped())
        self.forwarder.stop()
        self.reads.stop(Stopped())

    # ------------------------------------------------------------------ the turn

    @property
    def leading_term(self) -> int:
        """The term that this member leads in, once everything from before it has been applied; else 0."""
        raft = self.raft
        return raft.term if raft.role is _LEADER and self.machine.applied_term == raft.term else 0

    @property
    def pending(self) -> int:
        """Proposals without an answer."""
        return self.proposed.count + self._arrived_proposals.count

    @property
    def has_work(self) -> bool:
        """Whether ``turn`` would do anything."""
        raft, forwarder, reads = self.raft, self.forwarder, self.reads
        if self._inbox or self._arrived_proposals.count or reads.has_new or forwarder.owes_replies or self._telling:
            return True
        if (forwarder.held or reads.held) and raft.leader != NO_NODE:
            return True
        return raft.has_ready()

    def turn(self) -> bool:
        """Do what has arrived, up to a bound, as one batch: one write, one message per peer, one apply.

        Whether the batch is durable already: then there may be more to do at once.
        """
        raft, inbox = self.raft, self._inbox
        forwarder, reads = self.forwarder, self.reads
        offered: tuple[tuple[int, int], ...] = ()
        room = self.config.max_messages_per_turn
        while inbox and room:
            room -= 1
            message = inbox.popleft()
            raft.step(message)
            if message.snapshot is not None:
                offered += ((message.snapshot.index, message.snapshot.term),)
        if raft.leader != self._leader:
            self._notice_leader()
        if forwarder.held and raft.leader != NO_NODE:
            self._route()
        if self._arrived_proposals.count:
            self._propose()
        if reads.held and raft.leader != NO_NODE:
            for attempt in reads.take_held():
                raft.read_index(attempt)
        if reads.has_new:
            self._start_reads()
        if forwarder.owes_replies:
            forwarder.flush()
        wrote = False
        if self._telling or raft.has_ready():
            tells, self._telling = self._telling or self._awaited_by_peers > self.machine.applied_index, False
            raft.patient = not (self.machine.awaited or reads.count)
            wrote = self._handle(raft.ready(tell_commit=tells))
        if offered:
            for snapshot in offered:
                refused = self._arrived.pop(snapshot, None)
                if refused is not None:
                    refused.abort()
        return wrote

    def commit_if_due(self, *, due: bool) -> None:
        """Make the applied state durable: when ``due`` (the period is over) or much has been applied.

        The log is compacted here, behind what this commit has made durable.
        """
        machine = self.machine
        if machine.uncommitted >= self.config.commit_operations or (due and machine.uncommitted):
            machine.commit(whole=False)
            self._compact()

    def _propose(self) -> None:
        config, join = self.config, self.machine.join
        batches = self._arrived_proposals.take(config.max_proposals_per_turn, config.max_batch_bytes)
        if self.raft.role is not _LEADER:
            self._refuse(batches, self.no_leader())
            return
        try:
            first, term = self.raft.propose([join(proposals) for proposals, _ in batches])
        except ProposalDropped as dropped:
            self._refuse(batches, self._no_proposal(dropped))
            return
        for index, (_, waiters) in enumerate(batches, first):
            place = 0
            for at, waiter in enumerate(waiters):
                if type(waiter) is Remote:
                    waiter.placed(index, term, place)
                    waiters[at] = nobody
                    self._awaited_by_peers = index
                place += waiter.count if type(waiter) is Together else 1
            self.proposed.add(index, term, waiters)
        self._expiries.append((self._deadline(), term, first, first + len(batches)))

    def _refuse(self, batches: list[tuple[list[bytes], list[Waiter]]], error: KvraftError) -> None:
        for _, waiters in batches:
            self.proposed.fail(waiters, error)

    def _route(self) -> None:
        """What arrived while this member did not lead goes to the one that does."""
        leader, held = self.raft.leader, self.forwarder.take_held()
        if leader != self.raft.node_id:
            if not self.forwarder.ask(leader, held, self.machine.applied_index):
                for request in held:
                    self.forwarder.refused(request)
            return
        for request in held:
            if request.is_proposal:
                self._arrived_proposals.add(request.data, request)
            else:
                self.forwarder.serve(request.data, request)

    def _await_entry(self, index: int, term: int, place: int, request: Forwarded) -> None:
        """The leader of ``term`` has put ``request`` in the entry at ``index``, which is not applied here yet."""
        is_first = self.proposed.join(index, term, place, request)
        if is_first is None:
            request(LeaderChanged())
        elif is_first:
            self._expiries.append((request.deadline, term, index, index + 1))

    def _notice_leader(self) -> None:
        self._leader = self.raft.leader
        self._led_since = self._ticks

    def _timed_out(self, deadline: int) -> KvraftError:
        """The error of a request whose time is over and whose end is not known."""
        began = deadline - self.config.request_timeout_ticks
        elected = self._led_since
        if self._leader == NO_NODE or elected - 2 * self.config.election_ticks < began <= elected:
            return TimeoutLeaderFailure()
        return OutcomeUnknown()

    def _no_proposal(self, dropped: ProposalDropped) -> KvraftError:
        if self.raft.role is _LEADER:
            handing_over = self.raft.status().transferee != NO_NODE
            return NoLeader() if handing_over else TooManyRequests()  # the one is worth another try at once
        return self.no_leader()

    def no_leader(self) -> KvraftError:
        """Why a member that does not lead cannot do what only the leader can."""
        return NoLeader() if self.raft.leader == NO_NODE else NotLeader(leader=self._leader_url(self.raft.leader))

    def _start_reads(self) -> None:
        attempts = self.reads.begin()
        self._expiries.append((self._deadline(), 0, attempts.start, attempts.stop))
        for attempt in attempts:
            self.raft.read_index(attempt)

    def _handle(self, ready: Ready) -> bool:
        wrote = False
        # Clients hear of a commit before followers do. Where answers leave at once, the order makes no difference.
        flush = self._flush if ready.committed and not ready.entries else None
        if ready.messages and flush is None:
            self._send(ready.messages)
        if ready.snapshot is not None:
            self.machine.install(self._arrived.pop((ready.snapshot.index, ready.snapshot.term)))
            if self.machine.configuration is not None:
                self.raft.apply_configuration(self.machine.configuration)  # the same, as the machine's object
            # What became of proposals in what it replaces is not known.
            self.proposed.end_below(ready.snapshot.index, LeaderChanged())
        if ready.seq:
            discard_to, self._discard_to = self._discard_to, 0
            if ready.after_persist:
                self._after_persist.append((ready.seq, ready.after_persist))
            batch = LogBatch(ready.seq, ready.hard_state, ready.entries, ready.snapshot, discard_to)
            if self._disk.submit(batch, leads=self.raft.role is _LEADER):
                wrote = True
                self.durable(ready.seq)  # the leader waits for this, and for nothing that follows here
        if ready.committed:
            self._apply(ready.committed)
        if self.reads.count:
            self.reads.settle(ready.reads, ready.dropped_reads, self.machine.applied_index)
        if ready.messages and flush is not None:
            flush()
            self._send(ready.messages)
        return wrote

    def _send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if message.kind == _SNAPSHOT:
                self._send_apart(messages)
                return
        self._transport.send(messages)

    def _send_apart(self, messages: Sequence[Message]) -> None:
        plain = [message for message in messages if message.kind != _SNAPSHOT]
        if plain:
            self._transport.send(plain)
        for message in messages:
            if message.kind == _SNAPSHOT:
                self._transport.send_snapshot(message)

    def _apply(self, entries: Sequence[Entry]) -> None:
        proposed, forwarder = self.proposed, self.forwarder
        answered = bool(proposed.waiting or forwarder.proposals_asked)
        if answered and not forwarder.proposals_asked:
            # Who waits need not wait for that too. Nothing else is asked of this member until it has been applied.
            foreseen = self.machine.foresee(entries)
            if foreseen is not None:
                answered = False
                self._answer(entries, foreseen)
                if self._flush is not None:
                    self._flush()
        answers = self.machine.apply(entries, answered=answered)
        if len(answers) < len(entries):  # what takes long is applied in pieces, a turn for each
            self.raft.not_applied(entries[len(answers) :])
            entries = entries[: len(answers)]
        configuration = self.machine.configuration
        if configuration is not self.raft.configuration and configuration is not None:
            self._reconfigure(configuration)
        if answered:
            if forwarder.proposals_asked:
                forwarder.applied(entries, answers)
            self._answer(entries, answers)

    def _answer(self, entries: Sequence[Entry], answers: Sequence[Sequence[Answer]]) -> None:
        proposed = self.proposed
        if proposed.waiting:
            for entry, given in zip(entries, answers, strict=True):
                if not proposed.applied(entry, given):
                    proposed.end(entry.index, NotLeader(leader=self._leader_url(self.raft.leader)))

    def _reconfigure(self, configuration: Configuration) -> None:
        """A change has been applied: it is in force, and durable (with the second commit against a loss of power too)
        before anything else happens: members that were left out cannot be asked by who forgets the change."""
        self.raft.apply_configuration(configuration)
        self.machine.commit()
        self.machine.commit()

    def _expire(self) -> None:
        expiries = self._expiries
        while expiries and expiries[0][0] <= self._ticks:
            deadline, term, first, end = expiries.popleft()
            if not term:
                for attempt in range(first, end):
                    self.reads.fail(attempt, NoLeader() if self._leader == NO_NODE else OutcomeUnknown())
                continue
            for index in range(first, end):
                if self.proposed.awaits(index, term):
                    self.proposed.end(index, self._timed_out(deadline))

    def _compact(self) -> None:
        first_kept = self._disk.first_of_last(self.config.keep_bytes)
        if index := self._retention.discard_to(self.raft, self.machine.durable_index, self.config, first_kept):
            self.raft.compact(index)
            self._discard_to = index  # goes with the next batch: nothing is in a hurry here
