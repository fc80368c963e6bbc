"""Histories: what clients asked, what they were told, and when. Plain data and its recorder, no judgement here.

An operation ends in one of four ways. ``OK``: it took effect between its invocation and its completion and ``result``
is what the client was told. ``FAIL``: it definitely never took effect. ``UNKNOWN``: the answer was lost; it may take
effect at any time after its invocation, or never. ``PENDING``: the history ended first, which means the same.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Kind(enum.StrEnum):
    """What an operation does to its key. The result is the value read, or whether it changed anything."""

    READ = "read"
    WRITE = "write"
    CAS = "cas"
    DELETE = "delete"


class Outcome(enum.StrEnum):
    """How an operation ended, as its client knows it."""

    PENDING = "pending"
    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"


# Faster to look up than members of the enumeration.
_PENDING, _OK, _FAIL, _UNKNOWN = Outcome


class Operation(msgspec.Struct):
    """One operation of one client.

    ``process`` is who asked. ``value`` is what a WRITE or CAS puts there, ``expected`` what a CAS wants to find.
    ``result`` of an OK operation: READ the value or None; CAS whether it took place; DELETE whether there was a key;
    WRITE nothing. ``called`` and ``returned`` are readings of one clock, in any unit; ``returned`` is meaningless
    unless the outcome is OK or FAIL.
    """

    process: int
    kind: Kind
    key: str
    called: float
    value: Any = None
    expected: Any = None
    outcome: Outcome = _PENDING
    result: Any = None
    returned: float = 0.0

    def describe(self) -> str:
        """One line for a report: who, when, what, and what came of it."""
        match self.kind:
            case Kind.READ:
                what = f"read {self.key}"
            case Kind.WRITE:
                what = f"write {self.key}={self.value!r}"
            case Kind.CAS:
                what = f"cas {self.key} {self.expected!r}->{self.value!r}"
            case Kind.DELETE:
                what = f"delete {self.key}"
        if self.outcome is not _OK:
            return f"[{self.called:.6f}, ..] process {self.process}: {what}: {self.outcome.value}"
        result = "ok" if self.kind is Kind.WRITE else repr(self.result)
        return f"[{self.called:.6f}, {self.returned:.6f}] process {self.process}: {what}: {result}"


class History:
    """Records operations as they happen, in the order of their invocation."""

    __slots__ = ("operations",)

    def __init__(self, operations: Iterable[Operation] = ()) -> None:
        self.operations: list[Operation] = list(operations)

    def invoke(
        self, process: int, kind: Kind, key: str, now: float, *, value: Any = None, expected: Any = None
    ) -> Operation:
        """A client starts an operation; hand what this returns to one of the methods below when it ends."""
        operation = Operation(process, kind, key, now, value, expected)
        self.operations.append(operation)
        return operation

    def ok(self, operation: Operation, result: Any, now: float) -> None:
        """The client was told that it took effect, and ``result``."""
        self._complete(operation, _OK, now)
        operation.result = result

    def fail(self, operation: Operation, now: float) -> None:
        """The client was told, or knows, that it never took effect and never will."""
        self._complete(operation, _FAIL, now)

    def unknown(self, operation: Operation, now: float) -> None:
        """The client stopped waiting, or was told that nobody knows."""
        self._complete(operation, _UNKNOWN, now)

    @staticmethod
    def _complete(operation: Operation, outcome: Outcome, now: float) -> None:
        if operation.outcome is not _PENDING:
            raise ValueError(f"completed twice: {operation.describe()}")
        if now < operation.called:
            raise ValueError(f"completed at {now}, before it was called: {operation.describe()}")
        operation.outcome = outcome
        operation.returned = now

    def dump(self) -> bytes:
        """As JSON lines, so that checks can run again later. Values must be JSON values."""
        encode = msgspec.json.Encoder().encode
        return b"".join(encode(operation) + b"\n" for operation in self.operations)


def load_history(data: bytes) -> History:
    """The reverse of ``History.dump``. Raises ``ValueError`` with the line number for a line that is no operation."""
    decoder = msgspec.json.Decoder(Operation)
    operations = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            operations.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            raise ValueError(f"history line {number}: {error}") from error
    return History(operations)


def by_key(operations: Sequence[Operation]) -> dict[str, list[Operation]]:
    """Operations of each key, in their given order."""
    keys: dict[str, list[Operation]] = {}
    for operation in operations:
        keys.setdefault(operation.key, []).append(operation)
    return keys
