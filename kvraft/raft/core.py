"""The raft algorithm for one node: ``step``, ``tick`` and ``propose`` change memory, ``ready`` says what must happen.

Only what concerns roles, terms and the order of things lives here; arithmetic and bookkeeping live in the leaf
modules next to it. Section numbers are those of the extended Raft paper; "thesis" is Ongaro's dissertation.

What a reader must know first:

* What promises something waits for the batch that makes the promise durable: votes, acknowledgements of entries, and
  requests for votes (a candidate must not come back from a crash with a lower term or a shorter log than it
  claimed). Everything else, APPENDs above all, leaves at once.
* APPENDs, heartbeats, read rounds and acknowledgements are built in ``ready``, so that a turn's work shares messages.
* An empty APPEND that brings a follower nothing new but a commit index is not answered. Heartbeat responses repeat
  how far its log matches, so nothing is lost for good. A follower that calls itself patient is spared such APPENDs: it
  hears of a commit with the next entries, or when the caller of ``ready`` says so.
* A configuration is in force from the moment its CONFIGURATION entry is applied, not from when it is in the log. What
  keeps that safe: one change at a time (``propose_configuration``); an entry that leaves a joint configuration travels
  with a commit index that covers the one that entered it; and who knows of a committed change that it has not applied
  does not stand for election (``_has_unapplied_change``). So whoever could win with the old voters alone has
  not heard of the end of the change, and then a majority of the old voters has not either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.checks import check_config, check_start
from kvraft.raft.election import Election
from kvraft.raft.following import Following
from kvraft.raft.log import RaftLog
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
    Role,
)
from kvraft.raft.outbox import Outbox
from kvraft.raft.quorum import VoteResult
from kvraft.raft.reads import ForwardedReads, ReadRounds
from kvraft.raft.replication import Replication, members
from kvraft.raft.status import Status

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from kvraft.raft.messages import LogReader, RaftStart, Ready

    Handler = Callable[[Message], None]

_NORMAL = int(EntryKind.NORMAL)  # an int proper: cheaper to make and to encode
_CHANGE = int(EntryKind.CONFIGURATION)
_KINDS = frozenset(MessageKind)
_FROM_LEADER = frozenset({MessageKind.APPEND, MessageKind.HEARTBEAT, MessageKind.SNAPSHOT})
_ANSWERS = frozenset(
    {
        MessageKind.APPEND_RESPONSE,
        MessageKind.HEARTBEAT_RESPONSE,
        MessageKind.PREVOTE_RESPONSE,
        MessageKind.VOTE_RESPONSE,
    }
)
_SCAN_BYTES = 1 << 20
# A member of an enumeration is looked up many times slower than a name of the module, and a turn needs dozens.
# Likewise ``min`` and ``max`` of two numbers take ten times as long as comparing them.
_FOLLOWER = Role.FOLLOWER
_CANDIDATE = Role.CANDIDATE
_LEADER = Role.LEADER
_APPEND_RESPONSE = MessageKind.APPEND_RESPONSE
_HEARTBEAT_RESPONSE = MessageKind.HEARTBEAT_RESPONSE
_VOTE = MessageKind.VOTE
_PREVOTE = MessageKind.PREVOTE
_PREVOTE_RESPONSE = MessageKind.PREVOTE_RESPONSE


class Raft:
    """One node of one group. Not thread-safe; deterministic given its inputs and ``rng``.

    To read, never to set: ``node_id``, ``term``, ``vote``, ``role``, ``leader`` (0: unknown), ``configuration``.
    To set: ``patient``, while nobody waits at this node for what is committed next.
    """

    def __init__(self, config: RaftConfig, start: RaftStart, log: LogReader, rng: random.Random) -> None:
        """``rng`` must differ between incarnations of a node: it also makes the ids of read attempts unique.

        Raises ``ValueError`` for settings that cannot work and for a start that contradicts itself.
        """
        check_config(config)
        check_start(start)
        self.node_id = config.node_id
        self.configuration = start.configuration
        self.term = start.hard_state.term
        self.vote = start.hard_state.vote
        self.role = _FOLLOWER
        self.leader = NO_NODE
        self.patient = False
        self._config = config
        self._members = members(start.configuration)
        self._log = RaftLog(start, log, config.cached_bytes)
        self._outbox = Outbox(self._log, HardState(self.term, self.vote, self._log.commit_index))
        self._election = Election(config.election_ticks, rng)
        self._following = Following(self._log)
        self._forwarded = ForwardedReads(config.max_pending_reads, config.election_ticks)
        self._next_context = rng.getrandbits(62)
        # What follows is meaningful on a leader only.
        self._replication = Replication(config, Configuration(()), self._log, 0)
        self._rounds = ReadRounds(config.max_pending_reads)
        self._heartbeat_elapsed = 0
        self._heartbeat_due = False
        self._transferee = NO_NODE
        self._term_start = 0
        self._last_change = 0
        """The last index at which a CONFIGURATION entry may stand; another one waits until it is applied."""
        self._offered_to_successor = False
        self._uncommitted_bytes = 0
        self._step_down_reason = ""
        self._handlers = self._handler_table()

    def _handler_table(self) -> dict[Role, dict[int, Handler]]:
        """What each role does with a message of its own term. What is not listed is ignored."""
        kind = MessageKind
        anyone: dict[int, Handler] = {kind.VOTE: self._handle_vote, kind.PREVOTE: self._handle_prevote}
        waiting = anyone | {
            kind.APPEND: self._handle_append,
            kind.HEARTBEAT: self._handle_heartbeat,
            kind.SNAPSHOT: self._handle_snapshot,
            kind.READ_INDEX: self._refuse_read_index,
        }
        follower: dict[int, Handler] = {
            kind.READ_INDEX_RESPONSE: self._handle_read_index_response,
            kind.TIMEOUT_NOW: self._handle_timeout_now,
        }
        leader: dict[int, Handler] = {
            kind.APPEND_RESPONSE: self._handle_append_response,
            kind.HEARTBEAT_RESPONSE: self._handle_heartbeat_response,
            kind.READ_INDEX: self._handle_read_index,
            kind.TRANSFER_LEADER: self._handle_transfer_leader,
        }
        return {
            _FOLLOWER: waiting | follower,
            Role.PRE_CANDIDATE: waiting | {kind.PREVOTE_RESPONSE: self._handle_prevote_response},
            _CANDIDATE: waiting | {kind.VOTE_RESPONSE: self._handle_vote_response},
            _LEADER: anyone | leader,
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
        """The first entry that the log holds, or would if it were not empty."""
        return self._log.compacted_index + 1

    def status(self) -> Status:
        """A copy of the state for metrics and tests."""
        log = self._log
        followers = self._replication.progress.items() if self.role is _LEADER else ()
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
            step_down_reason=self._step_down_reason,
            progress={peer: progress.status() for peer, progress in followers},
        )

    # -- inputs

    def tick(self) -> None:
        """One unit of time has passed."""
        self._election.elapsed += 1
        if self.role is _LEADER:
            self._tick_leader()
        else:
            self._tick_waiting()

    def step(self, message: Message) -> None:
        """Take a message from another member. What is not for this node or unknown is ignored.

        Requests are taken from anyone (thesis, 4.1): this node may lag behind the change that made the sender a
        member, and would never hear of it otherwise. Answers count from members only.
        """
        if message.to != self.node_id or message.sender == message.to:
            return
        if message.sender not in self._members and message.kind in _ANSWERS:
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
        is not committed yet; ``ValueError`` for no item, or an empty one (empty entries are the leader's own).
        """
        if self.role is not _LEADER:
            raise ProposalDropped("not the leader", self.leader)
        if self._transferee != NO_NODE:
            raise ProposalDropped("leadership transfer in progress", self.node_id)
        if not datas or not all(datas):
            raise ValueError("a proposal needs at least one item, and every item some data")
        size = sum(map(len, datas))
        # One oversized proposal may pass when nothing else waits: it could never pass otherwise.
        if self._uncommitted_bytes and self._uncommitted_bytes + size > self._config.max_uncommitted_bytes:
            raise ProposalDropped("too much uncommitted data", self.node_id)
        self._uncommitted_bytes += size
        first, term = self._log.last_index + 1, self.term
        self._log.append([Entry(index, term, _NORMAL, data) for index, data in enumerate(datas, first)])
        self._replication.due = True
        return first, term

    @property
    def may_change(self) -> bool:
        """Whether this node leads and ``propose_configuration`` would take a change now."""
        return self.role is _LEADER and self._transferee == NO_NODE and not self._is_changing()

    def _is_changing(self) -> bool:
        return bool(self.configuration.outgoing) or self._log.applied_index < self._last_change

    def propose_configuration(self, data: bytes) -> tuple[int, int]:
        """Append a CONFIGURATION entry: its index and term. ``data`` is the caller's, and not empty.

        When it is among ``Ready.committed`` the caller works out the configuration that it leads to and calls
        ``apply_configuration``; if that is a joint one, the leader appends the entry that ends it by itself. Raises
        ``ProposalDropped`` as ``propose`` does, and while an earlier change is not over; ``ValueError`` without data.
        """
        if not data:
            raise ValueError("a configuration change needs some data")
        if self.role is not _LEADER:
            raise ProposalDropped("not the leader", self.leader)
        if self._transferee != NO_NODE:
            raise ProposalDropped("leadership transfer in progress", self.node_id)
        if self._is_changing():
            raise ProposalDropped("a change of the configuration is under way", self.node_id)
        return self._append_change(data)

    def _append_change(self, data: bytes) -> tuple[int, int]:
        index = self._last_change = self._log.last_index + 1
        self._log.append([Entry(index, self.term, _CHANGE, data)])
        self._replication.due = True
        return index, self.term

    def apply_configuration(self, configuration: Configuration) -> None:
        """``configuration`` is what the CONFIGURATION entries handed out so far have led to; it is in force from now.

        Call it after each ``ready`` that hands some out, before anything else. A leader that is no longer among the
        voters steps down; everybody has been sent the commit index that says why.
        """
        if configuration == self.configuration:
            self.configuration = configuration  # the very object, so that callers may compare by identity
            return
        assert self.role in (_FOLLOWER, _LEADER), "the configuration changed under a candidate"
        self.configuration = configuration
        self._members = members(configuration)
        if self.role is not _LEADER:
            return
        self._replication.reconfigure(configuration)
        if not self._is_voter(self.node_id):
            self._become_follower(self.term, NO_NODE, "this member has left the configuration")
            return
        if not self._is_voter(self._transferee):
            self._transferee = NO_NODE
        self._maybe_commit()  # fewer voters may be enough now, for this and for reads
        self._maybe_confirm_reads()

    def read_index(self, request_id: int) -> None:
        """Ask for an index that a linearizable read must wait for (thesis, 6.4).

        ``Ready.reads`` answers, or ``Ready.dropped_reads`` if there is no leader, the leader changes, or more than
        ``max_pending_reads`` are pending.
        """
        if self.role is _LEADER:
            taken = self._rounds.add(self.node_id, request_id)
        else:
            taken = self.leader != NO_NODE and self._forwarded.add(request_id)
        if not taken:
            self._outbox.drop_reads([request_id])

    def campaign(self) -> None:
        """Start an election now. A node that leads, has no vote, or has yet to apply a change of who has one does
        nothing."""
        if self.role is _LEADER or not self._is_voter(self.node_id) or self._has_unapplied_change():
            return
        if self._config.pre_vote:
            self._become_pre_candidate()
        else:
            self._become_candidate(force=False)

    def transfer_leadership(self, to: int) -> None:
        """Hand leadership to ``to`` as soon as its log is complete (thesis, 3.10); proposals are dropped meanwhile.

        Given up after an election timeout. A transfer to this node itself does nothing. Raises ``ProposalDropped`` if
        this node does not lead or ``to`` has no vote.
        """
        if self.role is not _LEADER:
            raise ProposalDropped("not the leader", self.leader)
        if not self._is_voter(to):
            raise ProposalDropped(f"cannot transfer leadership to {to}: not a voting member", self.node_id)
        if to in (self.node_id, self._transferee):
            return
        self._transferee = to
        self._election.elapsed = 0  # it gets one whole election timeout
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
        if self.role is _LEADER:
            if self._log.durable_index > self._log.commit_index:
                self._maybe_commit()
        elif self.role is _CANDIDATE:
            self._maybe_win_alone()

    def suspect_leader(self, peer: int) -> None:
        """``peer``'s process is gone, as far as anyone can tell: if it leads, do not wait for its silence.

        Only a hint about when to try: its lease is no longer honoured, and this node stands for election soon. Every
        rule of terms, logs and majorities stays as it is, so that a wrong hint costs one round of pre-votes.
        """
        if peer == self.leader and self.role is _FOLLOWER:
            self._become_follower(self.term, NO_NODE, "")
            self.hurry()

    def hurry(self) -> None:
        """Stand for election within a quarter of the usual time, if this node follows nobody; see above."""
        if self.leader == NO_NODE and self.role is _FOLLOWER:
            self._election.hurry()

    def compact(self, index: int) -> None:
        """Entries up to ``index`` are about to be discarded. Raises ``ValueError`` for one that is not applied."""
        if index > self._log.applied_index:
            raise ValueError(f"cannot compact at {index}: applied is {self._log.applied_index}")
        self._log.compact(index)

    def step_down(self, reason: str) -> None:
        """A leader becomes a follower of the same term, for ``reason`` (say, "disk stalled")."""
        if self.role is _LEADER:
            self._become_follower(self.term, NO_NODE, reason)

    # -- output

    def has_ready(self) -> bool:
        """Whether ``ready`` has something to say."""
        if self.role is _LEADER:
            if (
                self._replication.due
                or self._heartbeat_due
                or (self._rounds.waiting and self._may_start_round())
                or (self.configuration.outgoing and self._may_end_joint())
            ):
                return True
        elif self._following.owes_acknowledgement or self._forwarded.waiting:
            return True
        outbox, log = self._outbox, self._log  # no call for what is asked so often
        if outbox.messages or log.handed_index < log.last_index:
            return True
        return outbox.has_others or log.commit_index > log.applied_index < log.durable_index

    @property
    def owes_commit(self) -> bool:
        """Whether some patient follower has not been told of a commit."""
        return self.role is _LEADER and self._replication.owes_commit

    def ready(self, *, tell_commit: bool = False) -> Ready:
        """Everything that must happen now; see ``Ready``. What it returns it forgets: committed entries count as
        applied, entries and messages as on their way.

        Patient followers hear of a commit with the next entries, with a heartbeat, or with ``tell_commit``.
        """
        if self.role is _LEADER:
            self._build_leader_messages(tell_commit)
        elif self._following.owes_acknowledgement or self._forwarded.waiting:
            self._build_follower_messages()
        ready, applied_bytes = self._outbox.take(self.term, self.vote, self._config.max_committed_bytes)
        if applied_bytes:
            left = self._uncommitted_bytes - applied_bytes
            self._uncommitted_bytes = left if left > 0 else 0
        return ready

    def not_applied(self, entries: Sequence[Entry]) -> None:
        """``entries``, the last of those that the latest ``ready`` gave, are not applied yet: it gives them again."""
        self._log.give_back(entries[0].index)
        self._uncommitted_bytes += sum(len(entry.data) for entry in entries)

    def _build_leader_messages(self, tell_commit: bool) -> None:
        messages = self._outbox.messages
        if self.configuration.outgoing and self._may_end_joint():
            self._end_joint()
        if self._rounds.waiting and self._may_start_round():
            self._rounds.start(self._fresh_context(), self._log.commit_index)
            self._heartbeat_due = True
            self._maybe_confirm_reads()  # a single voter needs nobody's word
        if self._heartbeat_due:
            self._heartbeat_due = False
            messages += self._replication.heartbeats(self._rounds.latest)
        if self._replication.due or (tell_commit and self._replication.owes_commit):
            # Who leaves with a change hears of it before he is left out.
            messages += self._replication.appends(tell_commit=tell_commit or self._is_changing())

    def _build_follower_messages(self) -> None:
        if self._following.owes_acknowledgement:
            index = self._following.acknowledge()
            self._outbox.promise(self._message(_APPEND_RESPONSE, self.leader, index), index)
        if self._forwarded.waiting:
            context = self._fresh_context()
            self._forwarded.ask(context)
            self._outbox.messages.append(self._message(MessageKind.READ_INDEX, self.leader, context=context))

    def _message(self, kind: MessageKind, to: int, index: int = 0, context: int = 0, reject: bool = False) -> Message:
        patient = self.patient
        return Message(kind, self.node_id, to, self.term, index=index, context=context, reject=reject, patient=patient)

    def _fresh_context(self) -> int:
        self._next_context += 1
        return self._next_context

    # -- terms and roles

    def _step_higher_term(self, m: Message) -> bool:
        """A message of a later term (5.1): whether to go on with it."""
        kind = m.kind
        if kind in (_VOTE, _PREVOTE) and not m.force and self._is_in_lease():
            return False  # while a leader is heard from, nobody is helped to depose it (thesis, 4.2.3)
        if kind == _PREVOTE or (kind == _PREVOTE_RESPONSE and not m.reject):
            return True  # about a term that nobody is in yet
        if kind not in _KINDS:
            return False
        leader = m.sender if kind in _FROM_LEADER else NO_NODE
        self._become_follower(m.term, leader, f"member {m.sender} is in term {m.term}")
        return True

    def _step_lower_term(self, m: Message) -> None:
        """A message of an earlier term (5.1): its sender, a deposed leader or a candidate, learns of this one."""
        if m.kind in _FROM_LEADER:
            kind = _APPEND_RESPONSE
        elif m.kind == _PREVOTE:
            kind = _PREVOTE_RESPONSE
        elif m.kind == _VOTE:
            kind = MessageKind.VOTE_RESPONSE
        else:
            return
        self._outbox.messages.append(self._message(kind, m.sender, reject=True))

    def _is_in_lease(self) -> bool:
        """Whether a leader was heard from within the shortest election timeout; a leader hears itself."""
        return self._config.check_quorum and self.leader != NO_NODE and self._election.is_recent()

    def _is_voter(self, node: int) -> bool:
        return node in self.configuration.voters or node in self.configuration.outgoing

    def _set_hard_state(self, term: int, vote: int) -> None:
        """The only place where term and vote change: terms rise, and within one the vote is given once (5.2)."""
        assert term > self.term or (term == self.term and self.vote in (NO_NODE, vote)), "a second vote"
        if (term, vote) != (self.term, self.vote):
            self.term, self.vote = term, vote
            self._outbox.change_hard_state()

    def _set_leader(self, leader: int) -> None:
        """Follow ``leader`` (0: nobody) in the present term, anew. Reads asked of another go to it, or are dropped."""
        self.leader = leader
        self._following.forget()
        if leader == NO_NODE:
            self._outbox.drop_reads(self._forwarded.drop())
        else:
            self._forwarded.ask_again()

    def _become_follower(self, term: int, leader: int, reason: str) -> None:
        """``reason`` is why a leader stops being one."""
        if self.role is _LEADER:
            self._step_down_reason = reason
            self._transferee = NO_NODE
            self._outbox.drop_reads([read for sender, read in self._rounds.drop() if sender == self.node_id])
        if term > self.term:
            self._set_hard_state(term, NO_NODE)
        self.role = _FOLLOWER
        self._election.restart_timer()
        self._set_leader(leader)

    def _become_pre_candidate(self) -> None:
        """Ask whether an election could be won before disturbing anyone with a new term (thesis, 9.6)."""
        self.role = Role.PRE_CANDIDATE
        self._set_leader(NO_NODE)
        if self._election.open(self.configuration, self.node_id) is VoteResult.WON:
            self._become_candidate(force=False)
        else:
            self._outbox.messages += self._vote_requests(_PREVOTE, self.term + 1, force=False)

    def _become_candidate(self, force: bool) -> None:
        """Start an election (5.2). ``force`` marks one that the old leader asked for."""
        assert self.role is not _LEADER, "a leader stands for election"
        self.role = _CANDIDATE
        self._set_leader(NO_NODE)
        self._set_hard_state(self.term + 1, self.node_id)
        self._election.open(self.configuration, self.node_id)
        # Nobody can answer before the own vote is durable, so it may be counted already.
        self._outbox.send_after_persist(self._vote_requests(_VOTE, self.term, force))

    def _maybe_win_alone(self) -> None:
        """The only voter has won with its own vote, once that is durable: learners may hear from it then, and must
        not hear from it again in the same term after a crash."""
        if self._outbox.is_hard_state_durable() and self._election.result(self.configuration) is VoteResult.WON:
            self._become_leader()

    def _vote_requests(self, kind: MessageKind, term: int, force: bool) -> list[Message]:
        index, log_term = self._log.last_index, self._log.last_term
        return [
            Message(kind, self.node_id, peer, term, index=index, log_term=log_term, force=force)
            for peer in self._members
            if peer != self.node_id and self._is_voter(peer)
        ]

    def _become_leader(self) -> None:
        """Take office: replicate from the end of the own log, and open the term with a no-op (5.4.2, 8)."""
        assert self.role is _CANDIDATE, "only a candidate can win"
        self.role = _LEADER
        self._set_leader(self.node_id)
        self._election.elapsed = 0
        self._heartbeat_elapsed = 0
        self._heartbeat_due = False
        self._uncommitted_bytes = 0
        self._replication = Replication(self._config, self.configuration, self._log, self.term)
        self._last_change = self._log.last_index  # nobody has looked what kinds of entries there are
        self._offered_to_successor = False
        self._term_start = self._log.last_index + 1
        self._log.append([Entry(self._term_start, self.term, _NORMAL, b"")])
        self._replication.due = True

    # -- time

    def _tick_waiting(self) -> None:
        self._forwarded.tick()
        if not self._election.has_timed_out():
            return
        if self._is_voter(self.node_id):
            self.campaign()
        else:
            self._election.restart_timer()
            self._set_leader(NO_NODE)

    def _tick_leader(self) -> None:
        if not self._election.is_recent():
            self._election.elapsed = 0
            self._transferee = NO_NODE  # a transfer that took this long has failed: go on leading
            if self._config.check_quorum and not self._replication.quorum_active():
                self.step_down("no quorum was heard from for an election timeout")
                return
        self._heartbeat_elapsed += 1
        if self._heartbeat_elapsed >= self._config.heartbeat_ticks:
            self._heartbeat_elapsed = 0
            self._heartbeat_due = True
            self._replication.tick_heartbeat()
            if self._transferee != NO_NODE:
                self._maybe_send_timeout_now(self._transferee)  # it may have been lost, or have come too early

    # -- elections

    def _handle_vote(self, m: Message) -> None:
        """Vote once per term, and only for a log at least as complete as the own one (5.2, 5.4.1)."""
        granted = self._is_free_for(m.sender) and self._log.is_up_to_date(m.index, m.log_term)
        if granted:
            self._set_hard_state(self.term, m.sender)
            self._election.elapsed = 0
        self._outbox.promise(self._vote_answer(MessageKind.VOTE_RESPONSE, m.sender, self.term, granted))

    def _handle_prevote(self, m: Message) -> None:
        """Say how one would vote, without voting (thesis, 9.6)."""
        granted = (m.term > self.term or self._is_free_for(m.sender)) and self._log.is_up_to_date(m.index, m.log_term)
        # A grant speaks of the term asked for, a refusal of the own one, which may be news to the asker.
        term = m.term if granted else self.term
        self._outbox.messages.append(self._vote_answer(_PREVOTE_RESPONSE, m.sender, term, granted))

    def _vote_answer(self, kind: MessageKind, to: int, term: int, granted: bool) -> Message:
        """A refusal tells what is committed here. Who asks may still need votes that a change, committed meanwhile,
        has made needless, of members that have left and will not come back."""
        if granted:
            return Message(kind, self.node_id, to, term)
        index = self._log.commit_index
        return Message(kind, self.node_id, to, term, index=index, log_term=self._log.known_term(index), reject=True)

    def _is_free_for(self, candidate: int) -> bool:
        return self.vote == candidate or (self.vote == NO_NODE and self.leader == NO_NODE)

    def _handle_prevote_response(self, m: Message) -> None:
        if not m.reject and m.term != self.term + 1:
            return  # a grant for an earlier attempt
        if self._count_vote(m) is VoteResult.WON:
            self._become_candidate(force=False)

    def _handle_vote_response(self, m: Message) -> None:
        if self._count_vote(m) is VoteResult.WON:
            self._become_leader()

    def _count_vote(self, m: Message) -> VoteResult:
        result = self._election.count(self.configuration, m.sender, not m.reject)
        if m.reject and self._log.matches(m.index, m.log_term):
            self._log.commit_to(m.index)  # by log matching it is the same entry (5.3)
        if result is VoteResult.LOST or self._has_unapplied_change():
            self._become_follower(self.term, NO_NODE, "")
        return result

    def _handle_timeout_now(self, m: Message) -> None:
        """The leader hands over to this node: stand at once, with leave to pass leases (thesis, 3.10)."""
        if m.sender == self.leader and self._is_voter(self.node_id) and not self._has_unapplied_change():
            self._become_candidate(force=True)

    # -- following

    def _heed(self, leader: int) -> bool:
        """Hear from this term's leader. False for a second one, which cannot be (5.2) and is not believed."""
        if self.leader != leader:
            if self.leader != NO_NODE:
                return False
            self._become_follower(self.term, leader, "")
        self._election.elapsed = 0
        return True

    def _handle_append(self, m: Message) -> None:
        if not self._heed(m.sender):
            return
        refusal = self._following.append(m, self.term)
        if refusal is not None:
            hint, hint_term = refusal
            self._outbox.messages.append(
                Message(
                    _APPEND_RESPONSE,
                    self.node_id,
                    m.sender,
                    self.term,
                    index=m.index,
                    log_term=hint_term,
                    reject=True,
                    reject_hint=hint,
                )
            )

    def _handle_heartbeat(self, m: Message) -> None:
        if not self._heed(m.sender):
            return
        self._following.commit(m.commit)
        index = 0
        if self._outbox.is_hard_state_durable():
            matched, durable = self._following.matched, self._log.durable_index
            index = matched if matched < durable else durable
        self._outbox.messages.append(self._message(_HEARTBEAT_RESPONSE, m.sender, index, m.context))

    def _handle_snapshot(self, m: Message) -> None:
        """A snapshot has arrived as a whole (7)."""
        if m.snapshot is None or m.snapshot.term > self.term or not self._heed(m.sender):
            return
        if self._following.restore(m.snapshot):
            self._outbox.install(m.snapshot)
            self.configuration = m.snapshot.configuration
            self._members = members(self.configuration)

    # -- leading

    def _handle_append_response(self, m: Message) -> None:
        if m.reject:
            self._replication.refuse(m.sender, m.index, m.reject_hint, m.log_term)
        else:
            self._acknowledged(m)

    def _handle_heartbeat_response(self, m: Message) -> None:
        is_known_round = 0 < m.context <= self._rounds.latest
        self._replication.heartbeat_answered(m.sender, m.context if is_known_round else 0)
        self._acknowledged(m)
        if is_known_round:
            self._maybe_confirm_reads()

    def _acknowledged(self, m: Message) -> None:
        if self._replication.acknowledge(m.sender, m.index, patient=m.patient):
            if m.index > self._log.commit_index:
                self._maybe_commit()
            if m.sender == self._transferee:
                self._maybe_send_timeout_now(m.sender)

    def _maybe_commit(self) -> None:
        """Commit what a quorum holds, if it is of this term; older entries follow along (5.4.2, figure 8)."""
        index = self._replication.committed()
        if index >= self._term_start and self._log.commit_to(index):
            self._replication.due = True

    def _handle_transfer_leader(self, m: Message) -> None:
        """A member asks to lead."""
        if self._is_voter(m.sender):
            self.transfer_leadership(m.sender)

    def _maybe_send_timeout_now(self, to: int) -> None:
        if self._replication.progress[to].match == self._log.last_index:
            self._outbox.messages.append(self._message(MessageKind.TIMEOUT_NOW, to))

    # -- changing the configuration (6; thesis, 4.3)

    def _has_unapplied_change(self) -> bool:
        """Whether a committed CONFIGURATION entry is not applied here: then nobody knows yet whose votes count."""
        log = self._log
        low = log.applied_index + 1
        while low <= log.commit_index:
            found, _ = log.read(low, log.commit_index + 1, _SCAN_BYTES)
            if any(entry.kind == _CHANGE for entry in found):
                return True
            low += len(found)
        return False

    def _may_end_joint(self) -> bool:
        """Whether a leader is to end the joint configuration: once nothing that was proposed before can change it."""
        return self._log.applied_index >= self._last_change and self._transferee == NO_NODE

    def _end_joint(self) -> None:
        """Append the entry that leaves the old voters behind, an empty one. A leader that goes with them first offers
        leadership to one who stays (thesis, 4.2.2), so that nobody has to wait for an election."""
        successor = NO_NODE
        if not self._offered_to_successor and self.node_id not in self.configuration.voters:
            self._offered_to_successor = True
            successor = self._replication.furthest(self.configuration.voters)
        if successor != NO_NODE:
            self.transfer_leadership(successor)
        else:
            self._append_change(b"")

    # -- linearizable reads (thesis, 6.4)

    def _may_start_round(self) -> bool:
        """Whether reads that wait can start: only a commit of its own term tells a leader what is committed."""
        return self._log.commit_index >= self._term_start

    def _maybe_confirm_reads(self) -> None:
        for sender, reference, index in self._rounds.confirm(self._replication.confirmed_round(self._rounds.latest)):
            if sender == self.node_id:
                self._outbox.answer_reads([ReadState(reference, index)])
            else:
                response = self._message(MessageKind.READ_INDEX_RESPONSE, sender, index=index, context=reference)
                self._outbox.messages.append(response)

    def _handle_read_index(self, m: Message) -> None:
        if not self._rounds.add(m.sender, m.context):
            self._refuse_read_index(m)

    def _refuse_read_index(self, m: Message) -> None:
        response = self._message(MessageKind.READ_INDEX_RESPONSE, m.sender, context=m.context, reject=True)
        self._outbox.messages.append(response)

    def _handle_read_index_response(self, m: Message) -> None:
        requests = self._forwarded.answered(m.context)
        if m.reject:
            self._outbox.drop_reads(requests)
        else:
            self._outbox.answer_reads([ReadState(request_id, m.index) for request_id in requests])
