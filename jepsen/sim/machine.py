"""The simulated state machine: a map with a revision, which commits now and then and forgets the rest in a crash.

The driver's ``Machine``, with the contract of the real one: applied at once in memory, durable later, replayed from
the log. Operations are encoded here, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from jepsen.history import Kind
from kvraft.raft.changes import enter, leave
from kvraft.raft.messages import Configuration, Entry, EntryKind, SnapshotMeta

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.lease.table import Observer


class Command(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt to change a key. ``attempt`` is unique in a run: it may take effect once at most."""

    attempt: int
    kind: str
    key: str
    value: str | None = None
    expected: str | None = None


GRANT, EXPIRE, CHECKPOINT = "grant", "expire", "checkpoint"
"""Kinds of commands beside a history's: of the lease that is the key. Values: TTL; term; "clock;lease:rest,..."."""


_LEASE_KINDS = frozenset({GRANT, EXPIRE, CHECKPOINT})


class Change(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who is to vote and who is to learn: the data of a CONFIGURATION entry."""

    voters: tuple[int, ...]
    learners: tuple[int, ...]


encode_command = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Command).decode
_decode_change = msgspec.msgpack.Decoder(Change).decode
_split = msgspec.msgpack.Decoder(tuple[bytes, ...]).decode
# Faster to look up than members of their enumerations.
_NORMAL, _CONFIGURATION = int(EntryKind.NORMAL), int(EntryKind.CONFIGURATION)
_WRITE, _CAS, _DELETE = Kind.WRITE.value, Kind.CAS.value, Kind.DELETE.value


def decode_commands(entry: Entry) -> tuple[Command, ...]:
    """What an entry asks of the machine, in order; nothing for those that concern the core alone."""
    if entry.kind != _NORMAL or not entry.data:
        return ()
    return tuple([_decode(data) for data in _split(entry.data)])


def changed(configuration: Configuration, entry: Entry) -> Configuration:
    """The configuration that a CONFIGURATION entry leads to."""
    if not entry.data:
        return leave(configuration)
    change = _decode_change(entry.data)
    return enter(configuration, change.voters, change.learners)


class State(msgspec.Struct, frozen=True):
    """The machine at one applied index: an immutable copy."""

    index: int
    term: int
    revision: int
    values: dict[str, tuple[str, int]]
    """Key to value and the revision of its last change."""
    configuration: Configuration = Configuration(())
    """Who takes part; nobody that this node knows of, until it has received its first snapshot."""
    leases: dict[int, tuple[int, int]] = {}
    """Lease to TTL and when it ends on the leases' clock, in thousandths; 0: that is not written down."""
    lease_clock: int = 0


class Snapshot:
    """A state on its way to another node: what the driver calls a writer."""

    __slots__ = ("state",)

    def __init__(self, state: State) -> None:
        self.state = state

    def abort(self) -> None:
        """The driver refused it. Nothing to release: it is memory."""


class SimMachine:
    """One life of one node's machine.

    ``on_apply(entry)`` judges each entry and returns its commands; ``on_install()`` hears of snapshots.
    """

    __slots__ = (
        "_on_apply",
        "_on_install",
        "applied_index",
        "applied_term",
        "awaited",
        "committed",
        "configuration",
        "durable",
        "lease_clock",
        "leases",
        "observer",
        "on_expired",
        "revision",
        "uncommitted",
        "values",
    )

    def __init__(
        self, state: State, on_apply: Callable[[Entry], tuple[Command, ...]], on_install: Callable[[], None]
    ) -> None:
        self._on_apply = on_apply
        self._on_install = on_install
        self.awaited = True
        self.observer: Observer | None = None
        self.on_expired: Callable[[Command], None] = lambda _command: None
        self.committed = self.durable = state
        self._load(state)

    def _load(self, state: State) -> None:
        self.applied_index, self.applied_term, self.revision = state.index, state.term, state.revision
        self.values = dict(state.values)
        self.configuration = state.configuration
        self.leases = dict(state.leases)
        self.lease_clock = state.lease_clock
        self.uncommitted = 0

    @property
    def durable_index(self) -> int:
        """What a crash cannot take back: the last commit but one, as a commit need not wait for its own sync."""
        return self.durable.index

    @staticmethod
    def join(proposals: Sequence[bytes]) -> bytes:
        """The data of an entry that carries these encoded commands."""
        return encode_command(tuple(proposals))

    def foresee(self, entries: Sequence[Entry]) -> list[list[None]] | None:
        """What writes answer is certain before they are applied."""
        foreseen: list[list[None]] = []
        for entry in entries:
            commands = () if entry.kind == _CONFIGURATION else decode_commands(entry)
            if not commands or any(command.kind != _WRITE for command in commands):
                return None
            foreseen.append([None] * len(commands))
        return foreseen

    def apply(self, entries: Sequence[Entry], *, answered: bool = True) -> list[list[Any]]:
        """Apply entries; the answers are what the history calls results."""
        answers: list[list[Any]] = []
        for entry in entries:
            commands = self._on_apply(entry)
            if entry.kind == _CONFIGURATION:
                self.configuration = changed(self.configuration, entry)
                answers.append([None])
            else:
                given = []
                for command in commands:
                    given.append(self._execute(command, entry.term))  # noqa: PERF401 - quicker for so few
                answers.append(given)
            self.applied_index = entry.index
            self.applied_term = entry.term
        self.uncommitted += len(entries)
        return answers

    def _execute(self, command: Command, term: int) -> bool | None:
        kind = command.kind
        if kind in _LEASE_KINDS:
            self._lease(command, term)
            return None
        current = self.values.get(command.key)
        if kind == _DELETE:
            if current is None:
                return False
            self.revision += 1
            del self.values[command.key]
            return True
        if kind == _CAS and (None if current is None else current[0]) != command.expected:
            return False
        assert command.value is not None
        self.revision += 1
        self.values[command.key] = (command.value, self.revision)
        return None if kind == _WRITE else True

    def _lease(self, command: Command, term: int) -> None:
        """As ``kvraft.lease.table`` does it. A lease's key stands for those that hang on it."""
        assert command.value is not None
        if command.kind == CHECKPOINT:
            clock, _, rests = command.value.partition(";")
            self.lease_clock = max(self.lease_clock, int(clock))
            for pair in filter(None, rests.split(",")):
                lease, left = map(int, pair.split(":"))
                if lease in self.leases:
                    ttl = self.leases[lease][0]
                    self.leases[lease] = (ttl, self.lease_clock + min(left, ttl * 1000) if left else 0)
            return
        lease_id, number = int(command.key), int(command.value)
        if command.kind == GRANT:
            self.leases[lease_id] = (number, 0)
            if self.observer is not None:
                self.observer.granted(lease_id, number)
        elif number in (0, term) and self.leases.pop(lease_id, None) is not None:
            self.on_expired(command)
            if self.observer is not None:
                self.observer.revoked(lease_id)

    def commit(self, *, whole: bool = True) -> None:
        """Everything applied will survive a crash as of the next commit, and may as of this one."""
        self.durable = self.committed
        self.committed = self.state()
        self.uncommitted = 0

    def install(self, writer: Any) -> None:
        """Replace everything by a snapshot; durable when this returns."""
        state = writer.state
        self._load(state)
        self.committed = self.durable = state
        self._on_install()

    def state(self) -> State:
        """A copy of the present state."""
        return State(
            self.applied_index,
            self.applied_term,
            self.revision,
            self.values.copy(),
            self.configuration,
            self.leases.copy(),
            self.lease_clock,
        )


def snapshot_meta(state: State) -> SnapshotMeta:
    """What a snapshot of ``state`` says of itself."""
    return SnapshotMeta(state.index, state.term, state.configuration)
