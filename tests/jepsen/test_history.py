"""Recording, and keeping, histories."""

from __future__ import annotations

import pytest

from jepsen.history import History, Kind, Outcome, by_key, load_history


def test_records_outcomes() -> None:
    history = History()
    first = history.invoke(1, Kind.WRITE, "a", 0.5, value="x")
    second = history.invoke(2, Kind.CAS, "b", 0.6, value="y", expected="x")
    third = history.invoke(3, Kind.READ, "a", 0.7)
    history.ok(first, None, 1.0)
    history.unknown(second, 2.0)
    history.fail(third, 3.0)
    assert [operation.outcome for operation in history.operations] == [Outcome.OK, Outcome.UNKNOWN, Outcome.FAIL]
    assert first.describe() == "[0.500000, 1.000000] process 1: write a='x': ok"
    assert second.describe() == "[0.600000, ..] process 2: cas b 'x'->'y': unknown"
    assert list(by_key(history.operations)) == ["a", "b"]


def test_refuses_to_complete_twice_or_before_the_call() -> None:
    history = History()
    operation = history.invoke(1, Kind.DELETE, "a", 5.0)
    with pytest.raises(ValueError, match="before it was called"):
        history.ok(operation, True, 4.0)
    history.ok(operation, True, 6.0)
    with pytest.raises(ValueError, match="completed twice"):
        history.unknown(operation, 7.0)


def test_dump_and_load() -> None:
    history = History()
    history.ok(history.invoke(1, Kind.WRITE, "a", 0.5, value="x"), None, 1.0)
    history.invoke(1, Kind.READ, "a", 2.0)
    assert load_history(history.dump()).operations == history.operations


def test_a_bad_line_is_named() -> None:
    history = History()
    history.invoke(1, Kind.READ, "a", 2.0)
    with pytest.raises(ValueError, match="history line 2"):
        load_history(history.dump() + b'{"process":"x"}\n')
