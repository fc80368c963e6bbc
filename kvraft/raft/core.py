"""The raft algorithm for one node: ``step``, ``tick`` and ``propose`` change memory, ``ready`` says what must happen.

Only what concerns roles, terms and the order of things lives here; arithmetic and bookkeeping live in the leaf
modules next to it. Section numbers are those of the extended Raft paper, "thesis" is Ongaro's dissertation.

What a reader must know first:

* Messages that promise something wait in ``_after_persist`` for the batch that makes the promise durable: votes,
  requests for votes (a candidate must never come back from a crash with a lower term or a shorter log than it
  claimed), and acknowledgements of entries. Everything else, APPENDs above all, leaves at once.
* A follower acknowledges once per ``ready``, for all APPENDs since the last one, and does not acknowledge an empty
  APPEND that brings nothing new: heartbeat responses repeat how far its log matches.
* APPENDs, heartbeats and read rounds are built in ``ready``, so that a turn's work shares messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.log import RaftLog, follows
from kvraft.raft.messages import (
    NO_NODE,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    ProposalDropped,
    RaftConfig,
    ReadState,
    Ready,
    Role,
    SnapshotMeta,
)
from kvraft.raft.quorum import VoteResult, vote_result
from kvraft.raft.reads import ForwardedReads, ReadRounds
from kvraft.raft.replication import Replication, members
from kvraft.raft.status import Status

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from kvraft.raft.messages import LogReader, RaftStart

    Handler = Callable[[Message], None]

_FROM_LEADER = frozenset({MessageKind.APPEND, MessageKind.HEARTBEAT, MessageKind.SNAPSHOT})
_VOTE_REQUESTS = frozenset({MessageKind.VOTE, MessageKind.PREVOTE})


class Raft:
    """One node of one group. Not thread-safe; deterministic given its inputs and ``rng``."""

    def __init__(self, config: RaftConfig, start: RaftStart, log: LogReader, rng: random.Random) -> None:
        """``rng`` must differ between incarnations of a node: it also makes the ids of read attempts unique.

        Raises ``ValueError`` for settings that cannot work and for a start that contradicts itself.
        """
        check_config(config)
        self.config = config
        self.node_id = config.node_id
        self.configuration = start.configuration
        self.term = start.hard_state.term
        self.vote = start.hard_state.vote
        self.role = Role.FOLLOWER
        self.leader = NO_NODE
        self.step_down_reason = ""
        self._rng = rng
        self._log = RaftLog(start, log, config.cached_bytes)
        self._members = frozenset(members(start.configuration))
        # The last hard state handed to the disk, and the batch that last changed its term or vote.
        self._written = HardState(self.term, self.vote, self._log.commit_index)
        self._written_seq = 0
        # Elections.
        self._votes: dict[int, bool] = {}
        self._elapsed = 0
        self._timeout = 0
        # Following: how far the log is known to match this leader's, what of that was acknowledged.
        self._matched = 0
        self._acknowledged = 0
        self._owes_acknowledgement = False
        self._forwarded = ForwardedReads(config.max_pending_reads)
        # Leading. ``_replication`` is meaningful on a leader only.
        self._replication = Replication(config, Configuration(()), self._log, 0)
        self._rounds = ReadRounds(config.max_pending_reads)
        self._heartbeat_elapsed = 0
        self._heartbeat_due = False
        self._transferee = NO_NODE
        self._term_start = 0
        self._uncommitted_bytes = 0
        self._next_context = rng.getrandbits(62)
        # Output of this turn.
        self._messages: list[Message] = []
        self._after_persist: list[Message] = []
        self._snapshot: SnapshotMeta | None = None
        self._reads: list[ReadState] = []
        self._dropped_reads: list[int] = []
        self._handlers = self._handler_table()
        self._restart_election_timer()

    def _handler_table(self) -> dict[Role, dict[int, Handler]]:
        """What each role does with a message of its own term. What is not listed is ignored."""
        kind = MessageKind
        anyone: dict[int, Handler] = {kind.VOTE: self._handle_vote, kind.PREVOTE: self._handle_vote}
        waiting = anyone | {
            kind.APPEND: self._handle_append,
            kind.HEARTBEAT: self._handle_heartbeat,
            kind.SNAPSHOT: self._handle_snapshot,
            kind.READ_INDEX: self._refuse_read_index,
        }
        return {
            Role.FOLLOWER: waiting
            | {
                kind.READ_INDEX_RESPONSE: self._handle_read_index_response,
                kind.TIMEOUT_NOW: self._handle_timeout_now,
            },
            Role.PRE_CANDIDATE: waiting | {kind.PREVOTE_RESPONSE: self._handle_prevote_response},
            Role.CANDIDATE: waiting | {kind.VOTE_RESPONSE: self._handle_vote_response},
            Role.LEADER: anyone
            | {
                kind.APPEND_RESPONSE: self._handle_append_response,
                kind.HEARTBEAT_RESPONSE: self._handle_heartbeat_response,
                kind.READ_INDEX: self._handle_read_index,
                kind.TRANSFER_LEADER: self._handle_transfer_leader,
            },
        }

    # -- views

    @property
    def commit_index(self) -> int:
        """The last entry known to be committed; it may not be durable here yet."""
        return self._log.commit_index

    @property
    def last_index(self) -> int:
        """The last entry of the log."""
        return self._log.last_index

    @property
    def durable_index(self) -> int:
        """The last entry that this node's disk holds for certain."""
        return self._log.durable_index

    @property
    def applied_index(self) -> int:
        """The last entry handed out to be applied."""
        return self._log.applied_index

    @property
    def compacted_index(self) -> int:
        """The last entry that was discarded; 0 if none was."""
        return self._log.compacted_index

    @property
    def first_index(self) -> int:
        """The first entry that the log still holds, or would."""
        return self._log.compacted_index + 1

    def status(self) -> Status:
        """A copy of the state for metrics and tests."""
        log = self._log
        followers = self._replication.progress.items() if self.role is Role.LEADER else ()
        return Status(
            node_id=self.node_id,
            role=self.role,
            term=self.term,
            vote=self.vote,
            leader=self.leader,
            compacted_index=log.compacted_index,
            applied_index=log.applied_index,
            commit_index=log.commit_index,
            durable_index=log.durable_index,
            last_index=log.last_index,
            transferee=self._transferee,
            step_down_reason=self.step_down_reason,
            progress={peer: progress.status() for peer, progress in followers},
        )

    # -- inputs

    def tick(self) -> None:
        """One unit of time has passed."""
        if self.role is Role.LEADER:
            self._tick_leader()
        else:
            self._tick_waiting()

    def step(self, message: Message) -> None:
        """Take a message from another member. What is not addressed to this node, or from a stranger, is ignored."""
        if message.sender not in self._members or message.to != self.node_id or message.sender == message.to:
            return
        if message.term > self.term:
            if not self._step_higher_term(message):
                return
        elif message.term < self.term:
            self._step_lower_term(message)
            return
        handler = self._handlers[self.role].get(message.kind)
        if handler is not None:
            handler(message)

    def propose(self, datas: Sequence[bytes]) -> tuple[int, int]:
        """Append one entry per item, all or none: the index of the first, and the term of all.

        Raises ``ProposalDropped`` if this node does not lead, is handing leadership over, or has too much data that
        is not committed yet; ``ValueError`` for an empty item (a no-op is the leader's own) or for none.
        """
        if self.role is not Role.LEADER:
            raise ProposalDropped("not the leader", self.leader)
        if self._transferee != NO_NODE:
            raise ProposalDropped("leadership transfer in progress", self.node_id)
        if not datas or not all(datas):
            raise ValueError("a proposal needs at least one item, and every item some data")
        size = sum(map(len, datas))
        # One oversized proposal may pass when nothing else waits; it could never pass otherwise.
        if self._uncommitted_bytes and self._uncommitted_bytes + size > self.config.max_uncommitted_bytes:
            raise ProposalDropped("too much uncommitted data", self.node_id)
        self._uncommitted_bytes += size
        first, term = self._log.last_index + 1, self.term
        self._log.append([Entry(index, term, EntryKind.NORMAL, data) for index, data in enumerate(datas, first)])
        self._replication.due = True
        return first, term

    def read_index(self, request_id: int) -> None:
        """Ask for an index that a linearizable read must wait for (thesis, 6.4).

        ``Ready.reads`` answers it, or ``Ready.dropped_reads`` if there is no leader, the leader changes, or more than
        ``max_pending_reads`` are pending.
        """
        if self.role is Role.LEADER:
            taken = self._rounds.add(self.node_id, request_id)
        else:
            taken = self.leader != NO_NODE and self._forwarded.add(request_id)
        if not taken:
            self._dropped_reads.append(request_id)

    def campaign(self) -> None:
        """Start an election now. A node that leads or has no vote does nothing."""
        if self.role is Role.LEADER or not self._is_voter(self.node_id):
            return
        if self.config.pre_vote:
            self._become_pre_candidate()
        else:
            self._become_candidate(force=False)

    def transfer_leadership(self, to: int) -> None:
        """Hand leadership to ``to`` as soon as its log is complete (thesis, 3.10); proposals are dropped meanwhile.

        Given up after an election timeout. A transfer to this node itself does nothing. Raises ``ProposalDropped`` if
        this node does not lead or ``to`` has no vote.
        """
        if self.role is not Role.LEADER:
            raise ProposalDropped("not the leader", self.leader)
        if not self._is_voter(to):
            raise ProposalDropped(f"cannot transfer leadership to {to}: not a voting member", self.node_id)
        if to in (self.node_id, self._transferee):
            return
        self._transferee = to
        self._elapsed = 0  # the transfer gets one whole election timeout
        self._maybe_send_timeout_now(to)

    def report_unreachable(self, peer: int) -> None:
        """Sending to ``peer`` failed: a leader stops pipelining to it until it answers."""
        self._replication.unreachable(peer)

    def report_snapshot(self, peer: int, index: int) -> None:
        """The snapshot asked for by a SNAPSHOT message was delivered up to ``index``; 0 if that failed."""
        self._replication.snapshot_reported(peer, index)

    def persisted(self, seq: int) -> None:
        """Batch ``seq`` of ``ready``, and every earlier one, is durable. Raises ``ValueError`` for any other."""
        self._log.persisted(seq)
        if self.role is Role.LEADER:
            self._maybe_commit()

    def compact(self, index: int) -> None:
        """Entries up to ``index`` are about to be discarded. Raises ``ValueError`` for one that is not applied."""
        if index > self._log.applied_index:
            raise ValueError(f"cannot compact at {index}: applied is {self._log.applied_index}")
        self._log.compact(index)

    def step_down(self, reason: str) -> None:
        """A leader becomes a follower of the same term, for ``reason`` (say, "disk stalled")."""
        if self.role is Role.LEADER:
            self._become_follower(self.term, NO_NODE, reason)

    # -- output

    def has_ready(self) -> bool:
        """Whether ``ready`` has something to say."""
        log = self._log
        if self.role is Role.LEADER:
            if self._replication.due or self._heartbeat_due or (self._rounds.waiting and self._may_start_round()):
                return True
        elif self._forwarded.waiting or self._owes_acknowledgement:
            return True
        return bool(
            self._messages
            or self._after_persist
            or self._snapshot
            or self._reads
            or self._dropped_reads
            or log.has_unstable()
            or log.has_committed()
            or self._hard_state_changed()
        )

    def ready(self) -> Ready:
        """Everything that must happen now; see ``Ready``. What it returns it forgets: committed entries in it count
        as applied, entries and messages as on their way."""
        if self.role is Role.LEADER:
            self._lead()
        else:
            self._follow()
        log = self._log
        messages, self._messages = self._messages, []
        after_persist, self._after_persist = self._after_persist, []
        snapshot, self._snapshot = self._snapshot, None
        entries = log.take_unstable()
        writes = bool(entries or snapshot or self._hard_state_changed())
        seq = 0
        hard_state = None
        if writes or (after_persist and log.is_writing()):
            seq = log.open_batch()
            hard_state = self._hard_state_for(seq) if writes else None
        else:
            messages += after_persist  # what they waited for became durable within this turn
            after_persist = []
        committed, size = log.take_committed(self.config.max_committed_bytes)
        self._uncommitted_bytes = max(self._uncommitted_bytes - size, 0)
        reads, self._reads = self._reads, []
        dropped_reads, self._dropped_reads = self._dropped_reads, []
        return Ready(
            seq=seq,
            hard_state=hard_state,
            entries=entries,
            snapshot=snapshot,
            messages=messages,
            after_persist=after_persist,
            committed=committed,
            reads=reads,
            dropped_reads=dropped_reads,
        )

    def _lead(self) -> None:
        """Build this turn's heartbeats, read rounds and APPENDs."""
        if self._rounds.waiting and self._may_start_round():
            self._rounds.start(self._fresh_context(), self._log.commit_index)
            self._heartbeat_due = True
            self._maybe_confirm_reads()  # a single voter needs nobody's word
        if self._heartbeat_due:
            self._heartbeat_due = False
            self._messages += self._replication.heartbeats(self._rounds.latest)
        if self._replication.due:
            self._messages += self._replication.appends()

    def _follow(self) -> None:
        """Build this turn's acknowledgement and question to the leader."""
        if self._owes_acknowledgement:
            self._owes_acknowledgement = False
            self._acknowledged = self._matched
            response = self._message(MessageKind.APPEND_RESPONSE, self.leader, index=self._matched)
            self._promise(response, self._log.durable_index >= self._matched)
        if self._forwarded.waiting:
            context = self._fresh_context()
            self._forwarded.ask(context)
            self._messages.append(self._message(MessageKind.READ_INDEX, self.leader, context=context))

    def _hard_state_changed(self) -> bool:
        return self._written.vote != self.vote or self._written.term != self.term

    def _hard_state_for(self, seq: int) -> HardState | None:
        """The hard state to write with batch ``seq``, None if the disk has it. A new commit alone rides along."""
        current = HardState(self.term, self.vote, self._log.commit_index)
        if current == self._written:
            return None
        if self._hard_state_changed():
            self._written_seq = seq
        self._written = current
        return current

    def _is_hard_state_durable(self) -> bool:
        return not self._hard_state_changed() and self._log.persisted_seq >= self._written_seq

    def _promise(self, message: Message, is_durable: bool = True) -> None:
        """Send a message that holds only once this term and vote, and what else it speaks of, are durable."""
        if is_durable and self._is_hard_state_durable():
            self._messages.append(message)
        else:
            self._after_persist.append(message)

    def _message(self, kind: MessageKind, to: int, index: int = 0, context: int = 0, reject: bool = False) -> Message:
        return Message(kind, self.node_id, to, self.term, index=index, context=context, reject=reject)

    def _fresh_context(self) -> int:
        self._next_context += 1
        return self._next_context

    # -- terms and roles

    def _step_higher_term(self, m: Message) -> bool:
        """A message from a later term (5.1): whether to go on with it."""
        kind = m.kind
        if kind in _VOTE_REQUESTS:
            # Thesis, 4.2.3: while a leader is heard from, nobody is helped to depose it.
            if not m.force and self._is_in_lease():
                return False
            if kind == MessageKind.PREVOTE:
                return True  # about a term that nobody is in yet
        elif kind == MessageKind.PREVOTE_RESPONSE and not m.reject:
            return True
        elif kind not in MessageKind:
            return False
        leader = m.sender if kind in _FROM_LEADER else NO_NODE
        self._become_follower(m.term, leader, f"member {m.sender} is in term {m.term}")
        return True

    def _step_lower_term(self, m: Message) -> None:
        """A message from an earlier term (5.1): its sender learns of this one, be it a deposed leader or a candidate."""
        if m.kind in _FROM_LEADER:
            self._messages.append(self._message(MessageKind.APPEND_RESPONSE, m.sender, reject=True))
        elif m.kind == MessageKind.PREVOTE:
            self._messages.append(self._message(MessageKind.PREVOTE_RESPONSE, m.sender, reject=True))
        elif m.kind == MessageKind.VOTE:
            self._messages.append(self._message(MessageKind.VOTE_RESPONSE, m.sender, reject=True))

    def _is_in_lease(self) -> bool:
        """Whether a leader was heard from within the shortest election timeout; a leader hears itself."""
        return self.config.check_quorum and self.leader != NO_NODE and self._elapsed < self.config.election_ticks

    def _is_voter(self, node: int) -> bool:
        return node in self.configuration.voters or node in self.configuration.outgoing

    def _restart_election_timer(self) -> None:
        """A new random timeout (5.2: split votes stay rare)."""
        self._elapsed = 0
        self._timeout = self._rng.randrange(self.config.election_ticks, 2 * self.config.election_ticks)

    def _enter_term(self, term: int) -> None:
        assert term >= self.term, f"the term fell from {self.term} to {term}"
        if term > self.term:
            self.term = term
            self.vote = NO_NODE

    def _set_leader(self, leader: int) -> None:
        """Follow ``leader`` from now on, or nobody. Reads that were asked of another go to it, or are dropped."""
        if leader == self.leader:
            return
        self.leader = leader
        self._matched = self._acknowledged = 0
        self._owes_acknowledgement = False
        if leader == NO_NODE:
            self._dropped_reads += self._forwarded.drop()
        else:
            self._forwarded.ask_again()

    def _become_follower(self, term: int, leader: int, reason: str) -> None:
        if self.role is Role.LEADER:
            self.step_down_reason = reason
            own = [reference for sender, reference in self._rounds.drop() if sender == self.node_id]
            self._dropped_reads += own
            self._transferee = NO_NODE
            self._heartbeat_due = False
        if term > self.term:
            self._set_leader(NO_NODE)  # what was matched and acknowledged belongs to the old term
        self._enter_term(term)
        self.role = Role.FOLLOWER
        self._votes.clear()
        self._restart_election_timer()
        self._set_leader(leader)

    def _become_pre_candidate(self) -> None:
        """Ask whether an election could be won before disturbing anyone with a new term (thesis, 9.6)."""
        self.role = Role.PRE_CANDIDATE
        self._set_leader(NO_NODE)
        self._restart_election_timer()
        self._votes = {self.node_id: True}
        if vote_result(self.configuration, self._votes) is VoteResult.WON:
            self._become_candidate(force=False)
        else:
            self._messages += self._vote_requests(MessageKind.PREVOTE, self.term + 1, force=False)

    def _become_candidate(self, force: bool) -> None:
        """Start an election (5.2). ``force`` marks one that the old leader asked for."""
        assert self.role is not Role.LEADER, "a leader cannot stand for election"
        self.role = Role.CANDIDATE
        self._set_leader(NO_NODE)
        self._enter_term(self.term + 1)
        self.vote = self.node_id
        self._restart_election_timer()
        self._votes = {self.node_id: True}
        if vote_result(self.configuration, self._votes) is VoteResult.WON:
            self._become_leader()
        else:
            # Nobody can answer before the own vote is durable, so counting it already is safe.
            self._after_persist += self._vote_requests(MessageKind.VOTE, self.term, force)

    def _vote_requests(self, kind: MessageKind, term: int, force: bool) -> list[Message]:
        log = self._log
        return [
            Message(kind, self.node_id, peer, term, index=log.last_index, log_term=log.last_term, force=force)
            for peer in members(self.configuration)
            if peer != self.node_id and self._is_voter(peer)
        ]

    def _become_leader(self) -> None:
        """Take office: replicate from the end of the own log, and open the term with a no-op (5.4.2, 8)."""
        assert self.role is Role.CANDIDATE, "only a candidate can win"
        self.role = Role.LEADER
        self._set_leader(self.node_id)
        self._restart_election_timer()
        self._heartbeat_elapsed = 0
        self._uncommitted_bytes = 0
        self._replication = Replication(self.config, self.configuration, self._log, self.term)
        self._term_start = self._log.last_index + 1
        self._log.append([Entry(self._term_start, self.term, EntryKind.NORMAL, b"")])
        self._replication.due = True

    # -- time

    def _tick_waiting(self) -> None:
        self._elapsed += 1
        if self._elapsed % self.config.election_ticks == 0:
            self._forwarded.expire()
        if self._elapsed < self._timeout:
            return
        if self._is_voter(self.node_id):
            self.campaign()
        else:
            self._set_leader(NO_NODE)
            self._restart_election_timer()

    def _tick_leader(self) -> None:
        self._elapsed += 1
        self._heartbeat_elapsed += 1
        if self._elapsed >= self.config.election_ticks:
            self._elapsed = 0
            self._transferee = NO_NODE  # the transfer took too long: go on leading
            if self.config.check_quorum and not self._replication.quorum_active():
                self._become_follower(self.term, NO_NODE, "no quorum was heard from for an election timeout")
                return
        if self._heartbeat_elapsed >= self.config.heartbeat_ticks:
            self._heartbeat_elapsed = 0
            self._heartbeat_due = True

    # -- elections

    def _handle_vote(self, m: Message) -> None:
        """Vote once per term, and only for a log at least as complete as the own one (5.2, 5.4.1)."""
        pre = m.kind == MessageKind.PREVOTE
        free = self.vote == m.sender or (self.vote == NO_NODE and self.leader == NO_NODE)
        granted = (free or (pre and m.term > self.term)) and self._log.is_up_to_date(m.index, m.log_term)
        if pre:
            # A grant speaks of the term asked for, a refusal of the own one, from which the asker may learn.
            term = m.term if granted else self.term
            response = Message(MessageKind.PREVOTE_RESPONSE, self.node_id, m.sender, term, reject=not granted)
            self._messages.append(response)
            return
        if granted:
            self.vote = m.sender
            self._elapsed = 0
        response = self._message(MessageKind.VOTE_RESPONSE, m.sender, reject=not granted)
        self._promise(response)

    def _handle_prevote_response(self, m: Message) -> None:
        if not m.reject and m.term != self.term + 1:
            return  # a grant for an earlier attempt
        result = self._count_vote(m)
        if result is VoteResult.WON:
            self._become_candidate(force=False)

    def _handle_vote_response(self, m: Message) -> None:
        result = self._count_vote(m)
        if result is VoteResult.WON:
            self._become_leader()

    def _count_vote(self, m: Message) -> VoteResult:
        self._votes.setdefault(m.sender, not m.reject)
        result = vote_result(self.configuration, self._votes)
        if result is VoteResult.LOST:
            self._become_follower(self.term, NO_NODE, "")
        return result

    def _handle_timeout_now(self, m: Message) -> None:
        """The leader hands over to this node: stand at once, with leave to pass leases (thesis, 3.10)."""
        if m.sender == self.leader and self._is_voter(self.node_id):
            self._become_candidate(force=True)
