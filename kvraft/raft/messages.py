"""What goes into and comes out of the raft core: plain data, no behaviour, no I/O."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_NODE = 0
"""The id that no node has: "nobody" in ``vote`` and ``leader``."""


class EntryKind(enum.IntEnum):
    """What an entry's ``data`` is. An empty NORMAL entry is the no-op that opens a leader's term, an empty
    CONFIGURATION entry ends a joint configuration (``changes.leave``)."""

    NORMAL = 0
    CONFIGURATION = 1


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One slot of the replicated log. ``data`` is opaque to the core."""

    index: int
    term: int
    kind: int
    data: bytes


class HardState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a node must never forget (Raft, figure 2). ``commit`` is a hint: losing its last change is harmless."""

    term: int = 0
    vote: int = NO_NODE
    commit: int = 0


class Configuration(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who takes part. ``outgoing`` is the old half of a joint configuration (Raft, section 6), else empty."""

    voters: tuple[int, ...]
    outgoing: tuple[int, ...] = ()
    learners: tuple[int, ...] = ()


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The last entry that a snapshot covers, and the configuration as of it."""

    index: int
    term: int
    configuration: Configuration


class MessageKind(enum.IntEnum):
    """Every message between cores. The numbers are the wire's; never reuse one."""

    APPEND = 1
    APPEND_RESPONSE = 2
    HEARTBEAT = 3
    HEARTBEAT_RESPONSE = 4
    PREVOTE = 5
    PREVOTE_RESPONSE = 6
    VOTE = 7
    VOTE_RESPONSE = 8
    SNAPSHOT = 9
    READ_INDEX = 10
    READ_INDEX_RESPONSE = 11
    TRANSFER_LEADER = 12
    TIMEOUT_NOW = 13


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message between two cores.

    ``term`` is the sender's term (in a pre-vote: the term it would campaign in). ``index`` and ``log_term`` name an
    entry: in APPEND the one before ``entries``; in VOTE and PREVOTE the sender's last; in APPEND_RESPONSE the last
    one that now matches or, with ``reject``, the one refused; in a refused vote the sender's last committed one.
    ``reject_hint`` (with its ``log_term``) is where the
    leader should try next. ``context`` is the id of a read attempt, or of a heartbeat round. ``force`` marks a vote
    of a leadership transfer, which passes leases. ``patient`` is a follower whom nobody asks what is committed: it may
    hear of that with the next entries. ``snapshot`` goes with SNAPSHOT: None in what the core emits (the
    driver opens the snapshot itself), set in what a follower steps once it has received the whole.
    """

    kind: int
    sender: int
    to: int
    term: int
    index: int = 0
    log_term: int = 0
    commit: int = 0
    reject: bool = False
    reject_hint: int = 0
    context: int = 0
    force: bool = False
    entries: tuple[Entry, ...] = ()
    snapshot: SnapshotMeta | None = None
    patient: bool = False


class ReadState(msgspec.Struct, frozen=True, gc=False):
    """A read that may be answered once ``applied >= index``. ``request_id`` is what the caller gave."""

    request_id: int
    index: int


class Role(enum.IntEnum):
    """What a node is at the moment."""

    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class Ready(msgspec.Struct, gc=False):
    """What must happen now, in this order of independence.

    * ``messages``: send at once; on a leader this is how replication runs in parallel with its own disk.
    * ``snapshot``: replace state and log by the received snapshot, before ``entries``.
    * ``hard_state`` and ``entries``: write durably as one batch. The first entry's index may be at or below the
      last written one: then everything from it on is replaced. When the batch is durable call
      ``Raft.persisted(seq)``, and only then send ``after_persist``. Batches become durable in the order of ``seq``.
    * ``committed``: apply in this order; each of these is durable here. If CONFIGURATION entries are among them, call
      ``Raft.apply_configuration`` next, with what they have led to.
    * ``reads``: answer once applied. ``dropped_reads``: answer with "leader changed", the caller may try again.

    ``seq`` is 0 when there is nothing to write and nothing that waits for a write.
    """

    seq: int
    hard_state: HardState | None
    entries: Sequence[Entry]
    snapshot: SnapshotMeta | None
    messages: list[Message]
    after_persist: Sequence[Message]
    committed: Sequence[Entry]
    reads: Sequence[ReadState]
    dropped_reads: Sequence[int]


class LogReader(Protocol):
    """What the core reads of the durable log. Synchronous, cheap, never called for what the core caches."""

    def term(self, index: int) -> int:
        """The term of a durable entry; raises ``KeyError`` where there is none."""
        ...

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        """Durable entries of ``[low, high)``, at least one, then as many as fit ``max_bytes`` of data."""
        ...


class RaftConfig(msgspec.Struct, frozen=True):
    """The core's settings. Ticks are the caller's unit of time; sizes are bytes of entry data."""

    node_id: int
    election_ticks: int = 10
    """An election starts after a random number of ticks in ``[election_ticks, 2 * election_ticks)``."""
    heartbeat_ticks: int = 1
    max_append_bytes: int = 1 << 20
    max_inflight_messages: int = 256
    max_inflight_bytes: int = 16 << 20
    max_uncommitted_bytes: int = 64 << 20
    """More uncommitted data than this on a leader: ``ProposalDropped``."""
    max_pending_reads: int = 10_000
    max_committed_bytes: int = 4 << 20
    """The most that one ``Ready.committed`` carries."""
    cached_bytes: int = 16 << 20
    """Durable entries kept in memory for followers that are a little behind."""
    pre_vote: bool = True
    check_quorum: bool = True


class RaftStart(msgspec.Struct, frozen=True):
    """What a node knows when it starts: everything here was read from its disk."""

    hard_state: HardState
    configuration: Configuration
    compacted_index: int = 0
    """The entry before the first one in the log (0: the log starts at 1), with its term."""
    compacted_term: int = 0
    last_index: int = 0
    """The last durable entry; equals ``compacted_index`` when the log is empty."""
    applied_index: int = 0


class ProposalDropped(Exception):
    """The core did not take a proposal; the outcome is definite: it will never be applied."""

    def __init__(self, reason: str, leader: int = NO_NODE) -> None:
        super().__init__(reason)
        self.reason = reason
        self.leader = leader
