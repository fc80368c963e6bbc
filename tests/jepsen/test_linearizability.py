"""The checker against known histories, against brute force, and against histories that are right by construction."""

from __future__ import annotations

import itertools
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepsen.checkers.linearizability import Verdict, check_linearizable
from jepsen.history import Kind, Operation, Outcome


def write(process: int, value: Any, called: float, returned: float | None = None, key: str = "k") -> Operation:
    return done(Operation(process, Kind.WRITE, key, called, value), None, returned)


def read(process: int, result: Any, called: float, returned: float | None = None, key: str = "k") -> Operation:
    return done(Operation(process, Kind.READ, key, called), result, returned)


def cas(process: int, expected: Any, value: Any, result: bool, called: float, returned: float | None) -> Operation:
    return done(Operation(process, Kind.CAS, "k", called, value, expected), result, returned)


def delete(process: int, result: bool, called: float, returned: float | None) -> Operation:
    return done(Operation(process, Kind.DELETE, "k", called), result, returned)


def done(operation: Operation, result: Any, returned: float | None) -> Operation:
    """An operation with its end; without a time it is one of unknown outcome."""
    if returned is None:
        operation.outcome = Outcome.UNKNOWN
    else:
        operation.outcome, operation.result, operation.returned = Outcome.OK, result, returned
    return operation


GOOD = {
    "empty": [],
    "read of nothing": [read(1, None, 0, 1)],
    "write then read": [write(1, "a", 0, 1), read(2, "a", 2, 3)],
    "concurrent write seen": [write(1, "a", 0, 5), read(2, "a", 1, 2)],
    "concurrent write not seen yet": [write(1, "a", 0, 5), read(2, None, 1, 2)],
    "unknown write that took effect": [write(1, "a", 0), read(2, "a", 5, 6)],
    "unknown write that never did": [write(1, "a", 0), read(2, None, 5, 6)],
    "unknown write that took effect late": [write(1, "a", 0), read(2, None, 5, 6), read(2, "a", 7, 8)],
    "unknown write between two others": [
        write(1, "a", 0),
        write(2, "b", 1, 2),
        read(2, "b", 3, 4),
        read(2, "a", 5, 6),
        write(2, "c", 7, 8),
        read(2, "c", 9, 10),
    ],
    "unknown cas that made a later one possible": [
        write(1, "a", 0, 1),
        cas(2, "a", "b", True, 2, None),
        cas(3, "b", "c", True, 4, 5),
        read(1, "c", 6, 7),
    ],
    "chain of unknown operations": [
        write(1, "a", 0),
        cas(2, "a", "b", True, 0, None),
        cas(3, "b", "c", True, 0, None),
        read(4, None, 1, 2),
        read(4, "c", 3, 4),
    ],
    "refused cas": [write(1, "a", 0, 1), cas(2, "x", "b", False, 2, 3), read(1, "a", 4, 5)],
    "cas refused because of an unknown write": [
        write(1, "a", 0, 1),
        write(2, "never read", 0),
        cas(3, "a", "b", False, 2, 3),
    ],
    "delete": [write(1, "a", 0, 1), delete(1, True, 2, 3), delete(1, False, 4, 5), read(1, None, 6, 7)],
    "unknown delete": [write(1, "a", 0, 1), delete(2, True, 2, None), read(1, "a", 3, 4), read(1, None, 5, 6)],
    "keys are apart": [write(1, "a", 0, 1), read(2, None, 2, 3, key="other")],
    "same time is concurrent": [write(1, "a", 0, 1), read(2, None, 1, 2)],
    "failed write": [msgspec.structs.replace(write(1, "a", 0, 1), outcome=Outcome.FAIL), read(1, None, 2, 3)],
    "two writes either way round": [
        write(1, "a", 0, 10),
        write(2, "b", 0, 10),
        read(3, "b", 1, 2),
        read(3, "a", 3, 4),
        read(4, "a", 11, 12),
    ],
}

BAD = {
    "stale read": [write(1, "a", 0, 1), write(1, "b", 2, 3), read(2, "a", 4, 5)],
    "lost write": [write(1, "a", 0, 1), read(2, None, 2, 3)],
    "value from nowhere": [write(1, "a", 0, 1), read(2, "b", 2, 3)],
    "new then old": [write(1, "a", 0, 10), read(2, "a", 1, 2), read(2, None, 3, 4)],
    "new then old across clients": [write(1, "a", 0), read(2, "a", 1, 2), read(3, None, 3, 4)],
    "unknown write twice": [
        write(1, "a", 0),
        read(2, "a", 1, 2),
        write(2, "b", 3, 4),
        read(2, "b", 5, 6),
        read(2, "a", 7, 8),
    ],
    "both of two cas": [
        write(1, "a", 0, 1),
        cas(1, "a", "b", True, 2, 5),
        cas(2, "a", "c", True, 2, 5),
    ],
    "cas refused without reason": [write(1, "a", 0, 1), cas(2, "a", "b", False, 2, 3)],
    "failed write is read": [
        msgspec.structs.replace(write(1, "a", 0, 1), outcome=Outcome.FAIL),
        read(1, "a", 2, 3),
    ],
    "delete of nothing": [delete(1, True, 0, 1)],
    "read from the future": [read(2, "a", 0, 1), write(1, "a", 2, 3)],
    "readers disagree on the order": [
        write(1, "a", 0, 10),
        write(2, "b", 0, 10),
        read(3, "a", 1, 2),
        read(3, "b", 3, 4),
        read(4, "a", 5, 6),
    ],
    "one bad key of two": [write(1, "a", 0, 1, key="x"), read(1, "a", 2, 3, key="x"), read(1, "z", 2, 3, key="y")],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_pass(name: str) -> None:
    assert check_linearizable(GOOD[name]).verdict is Verdict.LINEARIZABLE


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_are_refuted(name: str) -> None:
    result = check_linearizable(BAD[name])
    assert result.verdict is Verdict.VIOLATION
    assert result.explanation


def test_the_explanation_names_the_window() -> None:
    early = [write(1, f"v{i}", i, i + 0.5) for i in range(50)]
    late = [write(1, "a", 100, 101), write(1, "b", 102, 103), read(2, "a", 104, 105)]
    result = check_linearizable(early + late)
    assert result.key == "k"
    assert result.explanation == (
        "no order explains: [104.000000, 105.000000] process 2: read k: 'a'",
        "at 104.000000 the value can only be a value that no operation observed; from there:",
        "  [104.000000, 105.000000] process 2: read k: 'a'",
        "'a' comes from:",
        "  [100.000000, 101.000000] process 1: write k='a': ok",
    )


def swaps_in_any_order() -> list[Operation]:
    """Each needs what any of the others leaves, so that there is no end of orders."""
    operations = [write(0, "a", 0, 1)]
    for i in range(8):
        operations += [cas(1 + i, "a", "b", True, 2, 10), cas(9 + i, "b", "a", True, 2, 10)]
    return operations


def test_a_search_that_reaches_its_bound_decides_nothing() -> None:
    result = check_linearizable(swaps_in_any_order(), max_configurations=1000)
    assert result.verdict is Verdict.GAVE_UP
    assert "1000" in result.explanation[0]


def test_a_violation_is_preferred_to_giving_up() -> None:
    bad = [read(1, "z", 0, 1, key="other")]
    assert check_linearizable(swaps_in_any_order() + bad, max_configurations=1000).verdict is Verdict.VIOLATION


def test_writes_in_any_order_do_not_explode() -> None:
    operations = [write(i, f"v{i}", 0, 10) for i in range(50)]
    operations.append(read(60, "v7", 20, 30))
    result = check_linearizable(operations)
    assert (result.verdict, result.explored < 10_000) == (Verdict.LINEARIZABLE, True)
    operations += [read(60, "v9", 40, 50)]
    assert check_linearizable(operations).verdict is Verdict.VIOLATION


def test_many_unknown_writes_do_not_explode() -> None:
    operations: list[Operation] = []
    for i in range(300):
        operations.append(write(i, f"lost{i}", i))
        operations.append(write(1000, f"v{i}", i + 0.1, i + 0.2))
        operations.append(read(1001, f"lost{i}" if i % 3 else f"v{i}", i + 0.3, i + 0.4))
    result = check_linearizable(operations)
    assert result.verdict is Verdict.LINEARIZABLE
    assert result.explored < 100_000


def brute_force(operations: list[Operation]) -> bool:
    """Every subset of the unknown operations, in every order that respects real time."""
    certain = [operation for operation in operations if operation.outcome is Outcome.OK]
    maybe = [operation for operation in operations if operation.outcome is Outcome.UNKNOWN]
    for count in range(len(maybe) + 1):
        for chosen in itertools.combinations(maybe, count):
            if any(explains(order) for order in itertools.permutations(certain + list(chosen))):
                return True
    return False


def explains(order: tuple[Operation, ...]) -> bool:
    latest_call = float("-inf")
    state: Any = None
    for operation in order:
        known = operation.outcome is Outcome.OK
        if known and operation.returned < latest_call:
            return False
        latest_call = max(latest_call, operation.called)
        result: Any = None
        match operation.kind:
            case Kind.READ:
                result = state
            case Kind.WRITE:
                state = operation.value
            case Kind.CAS:
                result = state == operation.expected
                state = operation.value if result else state
            case Kind.DELETE:
                result = state is not None
                state = None
        if known and operation.result != result:
            return False
    return True


VALUES = st.sampled_from(["a", "b", "c"])


@st.composite
def small_operation(draw: st.DrawFn) -> Operation:
    called = draw(st.integers(0, 8))
    returned = None if draw(st.integers(0, 3)) == 0 else called + draw(st.integers(0, 6))
    kind = draw(st.sampled_from(Kind))
    operation = Operation(0, kind, "k", called)
    result: Any = None
    if kind is Kind.READ:
        result = draw(st.none() | VALUES)
    else:
        operation.value = None if kind is Kind.DELETE else draw(st.none() | VALUES)
        if kind is Kind.CAS:
            operation.expected = draw(st.none() | VALUES)
        if kind is not Kind.WRITE:
            result = draw(st.booleans())
    return done(operation, result, returned)


@given(st.lists(small_operation(), max_size=6))
@settings(max_examples=400, deadline=None)
def test_agrees_with_brute_force(operations: list[Operation]) -> None:
    expected = Verdict.LINEARIZABLE if brute_force(operations) else Verdict.VIOLATION
    assert check_linearizable(operations).verdict is expected


def generate(seed: int, processes: int, count: int) -> list[Operation]:
    """A history of a real register: each operation takes effect at one instant between its call and its return."""
    rng = random.Random(seed)
    instants: list[tuple[float, Operation]] = []
    for process in range(processes):
        now = rng.random()
        for number in range(count):
            kind = rng.choice(list(Kind))
            operation = Operation(process, kind, f"k{rng.randrange(2)}", now, f"{process}.{number}")
            operation.outcome = Outcome.UNKNOWN if rng.random() < 0.15 else Outcome.OK
            instants.append((now + rng.random(), operation))
            operation.returned = instants[-1][0] + rng.random()
            now = operation.returned + rng.random() * 0.1
    instants.sort(key=lambda instant: instant[0])
    state: dict[str, Any] = {}
    for _, operation in instants:
        current = state.get(operation.key)
        if operation.outcome is Outcome.UNKNOWN and rng.random() < 0.5:
            continue
        match operation.kind:
            case Kind.READ:
                operation.result = current
            case Kind.WRITE:
                state[operation.key] = operation.value
            case Kind.CAS:
                operation.expected = current if rng.random() < 0.7 else "other"
                operation.result = operation.expected == current
                if operation.result:
                    state[operation.key] = operation.value
            case Kind.DELETE:
                operation.result = current is not None
                state[operation.key] = None
    operations = [operation for _, operation in instants]
    operations.sort(key=lambda operation: operation.called)
    return operations


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_histories_of_a_real_register_pass(seed: int, processes: int, count: int) -> None:
    assert check_linearizable(generate(seed, processes, count)).verdict is Verdict.LINEARIZABLE


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_read_of_a_value_long_gone_is_caught(seed: int) -> None:
    operations = generate(seed, 4, 20)
    end = max(operation.returned for operation in operations)
    key = operations[0].key
    mutated = [
        *operations,
        write(90, "old", end + 1, end + 2, key=key),
        write(90, "new", end + 3, end + 4, key=key),
        read(91, "old", end + 5, end + 6, key=key),
    ]
    assert check_linearizable(mutated).verdict is Verdict.VIOLATION


@given(st.integers(0, 2**32))
@settings(max_examples=50, deadline=None)
def test_a_changed_answer_of_a_lone_client_is_caught(seed: int) -> None:
    """One client, all outcomes known: there is one order only, so any other answer is wrong."""
    operations = [operation for operation in generate(seed, 1, 30) if operation.outcome is Outcome.OK]
    replay: dict[str, Any] = {}
    for operation in operations:
        current = replay.get(operation.key)
        if operation.kind is Kind.READ:
            operation.result = current
        elif operation.kind is Kind.WRITE:
            replay[operation.key] = operation.value
        else:
            operation.result = current is not None if operation.kind is Kind.DELETE else current == operation.expected
            if operation.result:
                replay[operation.key] = operation.value if operation.kind is Kind.CAS else None
    assert check_linearizable(operations).verdict is Verdict.LINEARIZABLE
    rng = random.Random(seed)
    answering = [operation for operation in operations if operation.kind is not Kind.WRITE]
    if answering:
        victim = rng.choice(answering)
        victim.result = "never written" if victim.kind is Kind.READ else not victim.result
        assert check_linearizable(operations).verdict is Verdict.VIOLATION
