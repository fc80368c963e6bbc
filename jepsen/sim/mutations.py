"""Breaks of the core and the driver, to show that the simulator notices. Applied from outside, by subclassing.

Each mutation takes one promise away, the way a plausible bug would.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import msgspec

from kvraft.lease.lessor import Lessor
from kvraft.raft.core import Raft
from kvraft.raft.messages import NO_NODE, Configuration, HardState, Message, MessageKind, ReadState, Ready, Role
from kvraft.raft.outbox import Outbox
from kvraft.raft.quorum import committed_index
from kvraft.server.driver import Driver
from kvraft.server.forwarding import Forwarded, Forwarder
from kvraft.types import LeaseRevokeRequest

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from typing import Any

    from kvraft.lease.lessor import Renewed
    from kvraft.raft.messages import Entry, LogReader, RaftConfig, RaftStart
    from kvraft.wire.peer import Proposed


class ForgetfulOutbox(Outbox):
    """Sends votes at once, and never writes them."""

    def promise(self, message: Message, up_to: int = 0) -> None:
        if message.kind == MessageKind.VOTE_RESPONSE:
            self.messages.append(message)
        else:
            super().promise(message, up_to)

    def _hard_state_for(self, seq: int, term: int, vote: int) -> HardState | None:
        hard_state = super()._hard_state_for(seq, term, vote)
        return None if hard_state is None else msgspec.structs.replace(hard_state, vote=NO_NODE)


class VoteWithoutPersist(Raft):
    """Answers a vote request without having its vote on disk, so that a crash forgets for whom it voted."""

    def __init__(self, config: RaftConfig, start: RaftStart, log: LogReader, rng: random.Random) -> None:
        super().__init__(config, start, log, rng)
        self._outbox = ForgetfulOutbox(self._log, start.hard_state)


class CommitOldTerm(Raft):
    """Commits entries of earlier terms by counting their copies (the mistake of Raft's figure 8)."""

    def _maybe_commit(self) -> None:
        index = self._replication.committed()
        if self._log.commit_to(index):
            self._replication.due = True


class SkipReadConfirmation(Raft):
    """Answers reads at its commit index without asking a quorum whether it still leads."""

    def _maybe_confirm_reads(self) -> None:
        latest = self._rounds.latest
        for sender, reference, index in self._rounds.confirm(latest):
            if sender == self.node_id:
                self._outbox.answer_reads([ReadState(reference, index)])
            else:
                response = self._message(MessageKind.READ_INDEX_RESPONSE, sender, index=index, context=reference)
                self._outbox.messages.append(response)


class AcceptLowerTermAppend(Raft):
    """Takes and acknowledges an APPEND whatever its term, unless it leads itself."""

    def _step_lower_term(self, m: Message) -> None:
        if m.kind != MessageKind.APPEND or self.role is Role.LEADER:
            super()._step_lower_term(m)
            return
        self._following.append(m, self.term)
        if self._following.owes_acknowledgement:
            index = self._following.acknowledge()
            response = Message(MessageKind.APPEND_RESPONSE, self.node_id, m.sender, m.term, index=index)
            self._outbox.promise(response, index)


class CountLearners(Raft):
    """Commits what a majority of all members has, learners among them."""

    def _maybe_commit(self) -> None:
        configuration = self.configuration
        everybody = Configuration(configuration.voters + configuration.learners, configuration.outgoing)
        _commit_by(self, everybody)


class IgnoreOutgoing(Raft):
    """Decides in a joint configuration by the new voters alone."""

    def _maybe_commit(self) -> None:
        _commit_by(self, Configuration(self.configuration.voters))


def _commit_by(raft: Raft, configuration: Configuration) -> None:
    matches = {peer: progress.match for peer, progress in raft._replication.progress.items()}
    matches[raft.node_id] = raft.durable_index
    index = committed_index(configuration, matches)
    if index >= raft._term_start and raft._log.commit_to(index):
        raft._replication.due = True


class AckBeforeSync(Driver):
    """Acknowledges entries while the disk is still writing them."""

    def _handle(self, ready: Ready) -> bool:
        early = [message for message in ready.after_persist if message.kind == MessageKind.APPEND_RESPONSE]
        ready.messages += early
        ready.after_persist = [message for message in ready.after_persist if message not in early]
        return super()._handle(ready)


class RepeatLostQuestions(Driver):
    """Proposes again what was asked of a member that has gone, as if it had certainly not been proposed."""

    def link_lost(self, peer: int) -> None:
        for request in self.forwarder._asked.values():
            request.repeatable = True
        super().link_lost(peer)


class _HastyForwarder(Forwarder):
    def _placed(self, request: Forwarded, answer: Proposed, applied_index: int) -> None:
        request(None)


class AnswerWhenProposed(Driver):
    """A follower answers a write as soon as the leader has it in its log."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.forwarder = _HastyForwarder(self._transport, self._await_entry)


class AnswerAndPutOff(Driver):
    """Answers writes before they are applied, as it may, but leaves applying them to a later turn."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._put_off = 0

    def _apply(self, entries: Sequence[Entry]) -> None:
        foreseen = self.machine.foresee(entries) if self.proposed.waiting else None
        if foreseen is None or entries[-1].index <= self._put_off:
            super()._apply(entries)
            return
        self._put_off = entries[-1].index
        self._answer(entries, foreseen)
        self.raft.not_applied(entries)


class RenewWithoutTakingBack(Lessor):
    """Renews in memory alone what the log says has little time left."""

    def renew(self, lease_id: int, answer: Renewed) -> None:
        timer = self._find(lease_id)
        if timer is not None:
            timer.is_written_down = False
        super().renew(lease_id, answer)


class ExpireWithoutTerm(Lessor):
    """Ends leases as any client may: a leader that has been deposed without knowing has its successor do it."""

    def _expire(self, lease_id: int, timer: Any) -> None:
        timer.is_revoking = True
        self._propose(LeaseRevokeRequest(lease_id), partial(self._expired, lease_id, timer))


@attrs.frozen
class Mutation:
    """The types that a run's nodes are made of."""

    core: type[Raft] = Raft
    driver: type[Driver] = Driver
    lessor: type[Lessor] = Lessor


MUTATIONS = {
    "vote-without-persist": Mutation(core=VoteWithoutPersist),
    "commit-old-term": Mutation(core=CommitOldTerm),
    "skip-read-confirmation": Mutation(core=SkipReadConfirmation),
    "ack-before-sync": Mutation(driver=AckBeforeSync),
    "accept-lower-term-append": Mutation(core=AcceptLowerTermAppend),
    "repeat-lost-questions": Mutation(driver=RepeatLostQuestions),
    "answer-when-proposed": Mutation(driver=AnswerWhenProposed),
    "answer-and-put-off": Mutation(driver=AnswerAndPutOff),
    "renew-without-taking-back": Mutation(lessor=RenewWithoutTakingBack),
    "expire-without-term": Mutation(lessor=ExpireWithoutTerm),
    "count-learners": Mutation(core=CountLearners),
    "ignore-outgoing": Mutation(core=IgnoreOutgoing),
}


def mutation(name: str) -> Mutation:
    """The mutation of that name; the unbroken types for "". Raises ``ValueError`` for an unknown name."""
    if not name:
        return Mutation()
    if name not in MUTATIONS:
        raise ValueError(f"unknown mutation {name!r}: one of {', '.join(MUTATIONS)}")
    return MUTATIONS[name]
