"""Is the history of a map of registers linearizable? Just-in-time linearization, one key at a time.

The method is that of G. Lowe, "Testing for linearizability" (2017), on the ground of Wing and Gong (1993). A map is
linearizable if and only if each of its keys is (Horn and Kroening, 2015), so keys are checked apart. A *configuration*
is (value, which pending operations have already taken effect); walking the history in time, the set of configurations
that explain everything so far is kept. When an operation completes, every configuration in which it has not taken
effect yet is extended, in every way, by pending operations up to and including it. No configuration left: refuted.

What keeps the set small, each without changing any verdict:

* Operations that change nothing wherever they stand (reads, refused compare-and-swaps) take effect the moment that
  the value fits: that can only help.
* An operation of unknown outcome may take effect at any time or never, so it does only directly before an operation
  that needs the value which it leaves; and of two configurations that differ only in these, the one that has used up
  fewer of them stands for both.
* A write that no operation needs at once may have taken effect unseen directly before another write or a deletion. So
  each of these makes *free* all that are pending: such a one may still take effect, or have done so when it completes.
* Values that no operation ever observed are one value.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import msgspec

from jepsen.history import Kind, Operation, Outcome, by_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Configuration = tuple[Any, int]
"""(value, bits of the pending operations that have taken effect; and, each next to its bit, of those that are free)."""

_ANYTHING, _NOTHING = object(), object()
# Faster to look up than members of their enumerations.
_READ, _WRITE, _CAS, _DELETE, _OK = Kind.READ, Kind.WRITE, Kind.CAS, Kind.DELETE, Outcome.OK
MAX_CONFIGURATIONS = 500_000
"""Configurations examined for one key before the search gives up."""


class Unobserved(enum.Enum):
    """The one value that stands for all that nobody ever observed."""

    VALUE = "a value that no operation observed"

    __hash__ = object.__hash__  # an enumeration's own is a function, and configurations are hashed all the time


class Verdict(enum.StrEnum):
    """GAVE_UP means that the bound was reached: nothing is proved, and callers treat it as a failure to decide."""

    LINEARIZABLE = "linearizable"
    VIOLATION = "violation"
    GAVE_UP = "gave up"


class Result(msgspec.Struct, frozen=True):
    """The verdict, how many configurations it took, and unless linearizable the key and an explanation in lines."""

    verdict: Verdict
    explored: int
    key: str = ""
    explanation: tuple[str, ...] = ()


class _GaveUp(Exception):
    """The bound on configurations was reached."""


class _Refuted(Exception):
    """No configuration explains the completion of ``operation``."""

    def __init__(self, operation: Operation, pending: list[Operation]) -> None:
        super().__init__()
        self.operation = operation
        self.pending = pending


def check_linearizable(
    operations: Sequence[Operation], *, initial: Any = None, max_configurations: int = MAX_CONFIGURATIONS
) -> Result:
    """Check every key's register; the first key that is not proved linearizable decides.

    ``initial`` is the value of every key before the first operation. Values must be hashable. A violation on any key
    is preferred to an earlier key's giving up.
    """
    explored = 0
    gave_up: Result | None = None
    for key, of_key in by_key(operations).items():
        search = _Search(of_key, initial, max_configurations)
        try:
            search.run()
        except _Refuted as refuted:
            lines = _explain(of_key, refuted, initial, max_configurations)
            return Result(Verdict.VIOLATION, explored + search.explored, key, lines)
        except _GaveUp:
            line = f"{len(of_key)} operations: more than {max_configurations} configurations"
            gave_up = gave_up or Result(Verdict.GAVE_UP, 0, key, (line,))
        explored += search.explored
    if gave_up is not None:
        return msgspec.structs.replace(gave_up, explored=explored)
    return Result(Verdict.LINEARIZABLE, explored)


class _Pending:
    """An operation that has been called and has not returned, with its bit in configurations.

    ``value`` is what it reads or leaves; ``needs`` the value that it cannot do without, _ANYTHING if most will do.
    ``free`` is the bit of a write that may go unseen. ``waits``: it takes effect only for who needs what it leaves.
    """

    __slots__ = (
        *("bit", "effect", "expected", "free", "kind", "needs", "neutral"),
        *("operation", "unknown", "value", "waits"),
    )

    def __init__(self, operation: Operation, bit: int, observed: set[Any]) -> None:
        self.operation = operation
        self.bit = bit
        self.effect = -1  # for unknown ones: equal for those that do the same
        self.kind = operation.kind
        self.unknown = operation.outcome is not _OK
        self.neutral = not self.unknown and (self.kind is _READ or (self.kind is not _WRITE and not operation.result))
        value = operation.result if self.kind is _READ else None if self.kind is _DELETE else operation.value
        self.value = value if value in observed else Unobserved.VALUE
        self.expected = operation.expected
        if self.kind is _CAS:
            self.needs = _ANYTHING if self.neutral else self.expected
        elif self.neutral:
            self.needs = self.value
        else:
            self.needs = _NOTHING if self.kind is _WRITE else _ANYTHING
        self.free = bit << 1 if self.kind is _WRITE and self.value is not None and not self.unknown else 0
        self.waits = self.unknown or bool(self.free)

    def fits(self, state: Any) -> bool:
        """For a neutral operation: whether its answer is right at ``state``."""
        if self.kind is _READ:
            return bool(state == self.value)
        if self.kind is _CAS:
            return bool(state != self.expected)
        return state is None


class _Search:
    """The walk over one key's history."""

    def __init__(self, operations: Iterable[Operation], initial: Any, max_configurations: int) -> None:
        relevant = [
            operation
            for operation in operations
            if operation.outcome is _OK or (operation.outcome is not Outcome.FAIL and operation.kind is not _READ)
        ]
        self.observed: set[Any] = {None}
        for operation in relevant:
            if operation.kind is _READ:
                self.observed.add(operation.result)
            elif operation.kind is _CAS:
                self.observed.add(operation.expected)
        # At one and the same time calls come before returns: such operations are taken as concurrent.
        # No two events are alike in the first three, so operations are never compared.
        self.events = sorted(
            [(operation.called, 0, number, operation) for number, operation in enumerate(relevant)]
            + [
                (operation.returned, 1, number, operation)
                for number, operation in enumerate(relevant)
                if operation.outcome is _OK
            ]
        )
        state = initial if initial in self.observed else Unobserved.VALUE
        self.configurations: set[Configuration] = {(state, 0)}
        self.pending: dict[int, _Pending] = {}
        self.neutral: list[_Pending] = []
        self.changing: list[_Pending] = []
        self.unknown_bits = 0
        self.effects: dict[tuple[Kind, Any, Any], int] = {}
        self.frees = 0
        self.unused_bits: list[int] = []
        self.explored = 0
        self.bound = max_configurations

    def run(self, before: float | None = None) -> None:
        """Walk the events (those earlier than ``before``). Raises ``_Refuted`` or ``_GaveUp``."""
        for time, is_return, number, operation in self.events:
            if before is not None and time >= before:
                return
            if is_return:
                self._return(number)
            else:
                self._call(number, operation)

    def _call(self, number: int, operation: Operation) -> None:
        bit = self.unused_bits.pop() if self.unused_bits else 1 << 2 * len(self.pending)
        pending = self.pending[number] = _Pending(operation, bit, self.observed)
        if pending.neutral:
            self.neutral.append(pending)
            self.configurations = {
                (state, mask | bit if pending.fits(state) else mask) for state, mask in self.configurations
            }
            return
        self.changing.append(pending)
        if pending.unknown:
            self.unknown_bits |= bit
            effect = (pending.kind, pending.value, pending.expected)
            pending.effect = self.effects.setdefault(effect, len(self.effects))
        self.frees |= pending.free

    def _return(self, number: int) -> None:
        returning = self.pending[number]
        bit = returning.bit
        free = returning.free
        after: set[Configuration] = set()
        todo: set[Configuration] = set()
        for state, mask in self.configurations:
            if mask & bit:
                after.add((state, mask ^ bit))
                continue
            if mask & free:
                after.add((state, mask ^ free))
            todo.add((state, mask))
        self._spend(len(after))
        if todo:
            self._extend(todo, returning, after)
        if not after:
            raise _Refuted(returning.operation, [pending.operation for pending in self.pending.values()])
        del self.pending[number]
        (self.neutral if returning.neutral else self.changing).remove(returning)
        self.frees &= ~free
        self.unused_bits.append(bit)
        self.configurations = self._fewest_unknown(after) if self.unknown_bits else after

    def _extend(self, start: set[Configuration], returning: _Pending, after: set[Configuration]) -> None:
        """Add to ``after`` every way to go from ``start`` up to and including ``returning``."""
        # The third item: the last step was one that served nobody yet, so the next must need it.
        stack = [(state, mask, False) for state, mask in start]
        seen = set(stack)
        bit = returning.bit
        steps = self._steps(start, returning)
        while stack:
            state, mask, must_need = stack.pop()
            tried: set[int] = set()
            for pending in steps:
                kind, unknown = pending.kind, pending.unknown
                if mask & pending.bit or (
                    must_need if kind is _WRITE else state != pending.expected if kind is _CAS else state is None
                ):
                    continue
                new_state = pending.value
                if unknown:
                    if pending.effect in tried:
                        continue
                    tried.add(pending.effect)
                with_it = mask | pending.bit
                if kind is not _CAS:
                    with_it = (with_it | self.frees) & ~(with_it << 1 & self.frees)
                if unknown and new_state == state and not with_it & ~mask & self.frees:
                    continue  # it does nothing, not even for writes that may go unseen
                new_mask = self._absorb(new_state, with_it)
                if new_mask & bit:
                    after.add((new_state, new_mask ^ bit))
                    continue
                step = (new_state, new_mask, pending.waits and new_mask == with_it)
                if step not in seen:
                    seen.add(step)
                    stack.append(step)
            self._spend(1)

    def _steps(self, start: set[Configuration], returning: _Pending) -> list[_Pending]:
        """Of the operations that change something those that can matter from ``start`` on: of writes and of unknown
        ones only what leaves a value that one of the others needs, or one that has yet to fit."""
        if len(self.changing) < 2:
            return self.changing
        fitted = -1
        for _, mask in start:
            fitted &= mask
        asking = [pending for pending in self.neutral if not pending.bit & fitted]
        idle: list[_Pending] = []
        for pending in self.changing:
            (idle if pending.waits and pending is not returning else asking).append(pending)
        emptying = [pending for pending in asking if pending.value is None and not pending.neutral]
        finds = len(emptying) == 1 and emptying[0].kind is _DELETE and all(state is not None for state, _ in start)
        if finds:
            asking.remove(emptying[0])  # there is something to delete, unless somebody needs that there be nothing
        needed: set[Any] = set()
        while asking:
            needed.update([pending.needs for pending in asking])
            if _ANYTHING in needed or (finds and None in needed):
                return self.changing
            asking = [pending for pending in idle if pending.value in needed]
            idle = [pending for pending in idle if pending.value not in needed]
        return [p for p in self.changing if not p.waits or p is returning or p.value in needed]

    def _absorb(self, state: Any, mask: int) -> int:
        for pending in self.neutral:
            if not mask & pending.bit and pending.fits(state):
                mask |= pending.bit
        return mask

    def _fewest_unknown(self, configurations: set[Configuration]) -> set[Configuration]:
        """Drop each configuration that has used up all that another has, and more, of the unknown operations."""
        if len(configurations) == 1:
            return configurations
        groups: dict[Configuration, list[int]] = {}
        for state, mask in configurations:
            groups.setdefault((state, mask & ~self.unknown_bits), []).append(mask & self.unknown_bits)
        kept: set[Configuration] = set()
        for (state, known), used in groups.items():
            used.sort(key=int.bit_count)
            minimal: list[int] = []
            for mask in used:
                if all(smaller & mask != smaller for smaller in minimal):
                    minimal.append(mask)
                    kept.add((state, known | mask))
        return kept

    def _spend(self, count: int) -> None:
        self.explored += count
        if self.explored > self.bound:
            raise _GaveUp


def _explain(operations: list[Operation], refuted: _Refuted, initial: Any, max_configurations: int) -> tuple[str, ...]:
    """The window that refutes: what the value could be when it opens, and the operations that run in it."""
    failed = refuted.operation
    opens = min(operation.called for operation in refuted.pending if operation.outcome is _OK or operation is failed)
    search = _Search(operations, initial, max_configurations)
    search.run(before=opens)
    values = sorted({_show(state) for state, _ in search.configurations})
    lines = [f"no order explains: {failed.describe()}"]
    lines.append(f"at {opens:.6f} the value can only be {', '.join(values)}; from there:")
    window = [
        operation
        for operation in operations
        if opens <= operation.called <= failed.returned
        and (operation.outcome is _OK or operation.kind is not _READ)
        and operation.outcome is not Outcome.FAIL
    ]
    unknown = [operation for operation in refuted.pending if operation not in window]
    lines += [f"  {operation.describe()}" for operation in unknown + window]
    if failed.kind is _READ and failed.result is not None:
        sources = [
            operation
            for operation in operations
            if operation.kind in (_WRITE, _CAS) and operation.value == failed.result
        ]
        lines.append(f"{failed.result!r} comes from:" if sources else f"nothing ever wrote {failed.result!r}")
        lines += [f"  {operation.describe()}" for operation in sources]
    return tuple(lines)


def _show(state: Any) -> str:
    return state.value if isinstance(state, Unobserved) else repr(state)
