"""A leader's followers together: what each is sent next, and what a quorum of them has reached.

Lives as long as one leadership. Knows terms only to stamp messages; roles and elections are the core's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.raft.messages import NO_NODE, Message, MessageKind
from kvraft.raft.progress import Inflights, Progress, ProgressState
from kvraft.raft.quorum import VoteResult, committed_index, vote_result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.raft.log import RaftLog
    from kvraft.raft.messages import Configuration, Entry, RaftConfig

# Faster to look up than a member of its enumeration.
_PROBE, _REPLICATE, _SNAPSHOT = ProgressState.PROBE, ProgressState.REPLICATE, ProgressState.SNAPSHOT
_APPEND, _HEARTBEAT = MessageKind.APPEND, MessageKind.HEARTBEAT


def members(configuration: Configuration) -> tuple[int, ...]:
    """Everyone who takes part, each once, in order."""
    return tuple(sorted({*configuration.voters, *configuration.outgoing, *configuration.learners}))


class Replication:
    """The followers of one leader in one term, in the order of their ids."""

    __slots__ = (
        "_config",
        "_configuration",
        "_log",
        "_matches",
        "_read_acks",
        "_term",
        "due",
        "owes_commit",
        "progress",
    )

    def __init__(self, config: RaftConfig, configuration: Configuration, log: RaftLog, term: int) -> None:
        self._config = config
        self._configuration = configuration
        self._log = log
        self._term = term
        # What a quorum is looked for in: of each follower ``match`` and ``read_ack``, and the leader's own.
        self._matches: dict[int, int] = {}
        self._read_acks: dict[int, int] = {}
        self.progress: dict[int, Progress] = {}
        self._include(configuration)
        self.due = False
        """Whether some follower may be owed an APPEND."""
        self.owes_commit = False
        """Whether some patient follower has not been told of a commit."""

    def _include(self, configuration: Configuration) -> list[int]:
        """Make the followers those of ``configuration``; those that are new."""
        config, known = self._config, self.progress
        peers = [peer for peer in members(configuration) if peer != config.node_id]
        self.progress = {
            peer: known.get(peer)
            or Progress(self._log.last_index + 1, Inflights(config.max_inflight_messages, config.max_inflight_bytes))
            for peer in peers
        }
        self._matches = {peer: progress.match for peer, progress in self.progress.items()}
        self._read_acks = {peer: progress.read_ack for peer, progress in self.progress.items()}
        return [peer for peer in peers if peer not in known]

    def reconfigure(self, configuration: Configuration) -> None:
        """Other followers from now on. Those that go were sent the commit index that covers their removal with the
        APPENDs of the turn in which it was reached."""
        self._configuration = configuration
        for peer in self._include(configuration):
            progress = self.progress[peer]
            progress.active = True  # it had no chance to be heard before the next check of the quorum
            progress.nudge = True  # and learns at once who leads it
        self.due = True

    def furthest(self, candidates: Iterable[int]) -> int:
        """Of the followers among ``candidates`` the one with the most, if possible one that was heard from of late;
        0 if there is none."""
        progress = self.progress
        followers = [peer for peer in candidates if peer in progress]
        return max(followers, key=lambda peer: (progress[peer].active, progress[peer].match), default=NO_NODE)

    # -- what followers say

    def acknowledge(self, peer: int, index: int, *, patient: bool) -> bool:
        """``peer`` has the log durably up to ``index`` (0: it does not know). Whether its match rose."""
        progress = self.progress[peer]
        progress.active = True
        progress.patient = patient
        if not 0 < index <= self._log.last_index:
            return False
        advanced = progress.maybe_update(index)
        if advanced:
            self._matches[peer] = index
        if progress.state is _REPLICATE:
            progress.inflights.free_to(index)
        elif progress.state is _PROBE:
            if index == progress.match:
                progress.become_replicate()
        elif progress.match >= self._log.compacted_index:
            progress.become_replicate()
        if progress.next <= self._log.last_index or progress.sent_commit < self._log.commit_index or progress.nudge:
            self.due = True  # else it has everything, and a turn has nothing to look for
        return advanced

    def refuse(self, peer: int, rejected: int, hint: int, hint_term: int) -> None:
        """``peer`` has no entry ``rejected`` of the term it was told; ``hint`` is the last one that may match.

        The leader in turn skips all its own entries up to ``hint`` whose term the follower cannot have, so that each
        refusal settles a whole term (Raft, end of section 5.3).
        """
        progress = self.progress[peer]
        progress.active = True
        if hint_term:
            log = self._log
            hint = log.find_conflict_by_term(log.compacted_index, min(hint, log.last_index), hint_term)
        if progress.maybe_decrease(rejected, hint):
            self.due = True

    def tick_heartbeat(self) -> None:
        """A heartbeat period begins: what seems lost may be sent again to whoever answers."""
        for progress in self.progress.values():
            progress.may_retry = True

    def heartbeat_answered(self, peer: int, round_id: int) -> None:
        """``peer`` is there; ``round_id`` is the read round that it answered, or 0."""
        progress = self.progress[peer]
        progress.active = True
        if round_id > progress.read_ack:
            progress.read_ack = self._read_acks[peer] = round_id
        if progress.may_retry and (progress.match < self._log.last_index or progress.state is _PROBE):
            progress.may_retry = False
            progress.probe_sent = False
            progress.nudge = True
            self.due = True

    def unreachable(self, peer: int) -> None:
        """What was pipelined to ``peer`` is probably lost: stop guessing."""
        progress = self.progress.get(peer)
        if progress is not None and progress.state is _REPLICATE:
            progress.become_probe()
            self.due = True

    def snapshot_reported(self, peer: int, index: int) -> None:
        """A snapshot up to ``index`` was delivered to ``peer`` (0: it failed)."""
        progress = self.progress.get(peer)
        if progress is not None and progress.state is _SNAPSHOT:
            progress.snapshot_reported(index)

    # -- what a quorum has reached

    def committed(self) -> int:
        """The last index that is durable on a quorum; the leader's own disk counts like any other."""
        self._matches[self._config.node_id] = self._log.durable_index
        return committed_index(self._configuration, self._matches)

    def confirmed_round(self, latest: int) -> int:
        """The last read round that a quorum has answered; the leader itself has answered ``latest``."""
        self._read_acks[self._config.node_id] = latest
        return committed_index(self._configuration, self._read_acks)

    def quorum_active(self) -> bool:
        """Whether a quorum was heard from since this was last asked."""
        heard = {self._config.node_id: True}
        for peer, progress in self.progress.items():
            heard[peer] = progress.active
            progress.active = False
        return vote_result(self._configuration, heard) is VoteResult.WON

    # -- what followers are sent

    def heartbeats(self, context: int) -> list[Message]:
        """One heartbeat to each. It tells no follower of a commit that it is not known to hold."""
        node_id, term, commit = self._config.node_id, self._term, self._log.commit_index
        return [
            Message(
                _HEARTBEAT,
                node_id,
                peer,
                term,
                commit=progress.match if progress.match < commit else commit,
                context=context,
            )
            for peer, progress in self.progress.items()
        ]

    def appends(self, *, tell_commit: bool) -> list[Message]:
        """At most one APPEND (or SNAPSHOT) to each follower that is owed one; ``due`` stays set if more is left.

        With ``tell_commit`` one without entries even to patient ones that have not been told of a commit. Followers
        that stand at the same index share one tuple of entries.
        """
        self.due = self.owes_commit = False
        messages: list[Message] = []
        shared: dict[int, tuple[tuple[Entry, ...], int]] = {}
        for peer, progress in self.progress.items():
            message = self._append_for(peer, progress, shared, tell_commit)
            if message is not None:
                messages.append(message)
        return messages

    def _append_for(
        self, peer: int, progress: Progress, shared: dict[int, tuple[tuple[Entry, ...], int]], tell_commit: bool
    ) -> Message | None:
        log = self._log
        if progress.state is _SNAPSHOT or progress.probe_sent:
            return None
        low = progress.next
        replicating = progress.state is _REPLICATE
        has_more = low <= log.last_index and not progress.inflights.full
        knows_less = replicating and log.commit_index > progress.sent_commit < low - 1
        if not (has_more or (knows_less and (tell_commit or not progress.patient)) or progress.nudge):
            self.owes_commit |= knows_less
            return None
        term = log.term(low - 1)
        if term is None:
            return self._snapshot_for(peer, progress)
        entries: tuple[Entry, ...] = ()
        last_index = low - 1
        if has_more:
            if low not in shared:
                found, found_size = log.read(low, log.last_index + 1, self._config.max_append_bytes)
                shared[low] = tuple(found), found_size
            entries, size = shared[low]
            last_index += len(entries)
            progress.sent_entries(last_index, size)
            self.due |= replicating and last_index < log.last_index and not progress.inflights.full
        progress.nudge = False
        progress.sent_commit = log.commit_index if log.commit_index < last_index else last_index
        return Message(
            _APPEND,
            self._config.node_id,
            peer,
            self._term,
            index=low - 1,
            log_term=term,
            commit=log.commit_index,
            entries=entries,
        )

    def _snapshot_for(self, peer: int, progress: Progress) -> Message | None:
        if not progress.active:
            return None  # do not open a snapshot for a follower that may be gone: its next heartbeat answer asks again
        progress.become_snapshot()
        return Message(MessageKind.SNAPSHOT, self._config.node_id, peer, self._term)
