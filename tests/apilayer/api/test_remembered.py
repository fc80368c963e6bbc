"""What is made of pods' specs is remembered: it is as if it were made each time."""

from __future__ import annotations

import copy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.encoding import jsontext
from apilayer.api.remembered import MAX_BYTES, MAX_KNOWN, remembered

Object = dict[str, Any]


class Counted:
    """Adds a field, and counts how often it is asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, obj: Object) -> Object:
        self.calls += 1
        return {**obj, "added": ["x"]}


def test_the_same_object_is_worked_on_once_and_each_gets_their_own() -> None:
    counted = Counted()
    change = remembered(counted)
    first, second = change({"a": [1]}), change({"a": [1]})
    assert first == second == {"a": [1], "added": ["x"]}
    second["added"].append("mine")
    second["a"].append(2)
    assert change({"a": [1]}) == first
    assert counted.calls == 1


def test_what_stays_as_it_is_is_a_copy_unless_it_is_changed_in_place() -> None:
    given_object = {"a": [1]}
    copying, in_place = remembered(lambda obj: obj), remembered(lambda obj: obj, in_place=True)
    copying({"a": [1]})
    in_place({"a": [1]})
    assert copying(given_object) is not given_object
    assert copying(given_object)["a"] is not given_object["a"]
    assert in_place(given_object) is given_object


def test_order_types_and_spelling_are_told_apart() -> None:
    change = remembered(copy.deepcopy)
    for obj in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1.0}, {"a": True}, {"a": "1"}, {"a": 1}):
        assert orjson.dumps(change(obj)) == orjson.dumps(obj)


def test_digits_that_stand_for_a_number_are_not_taken_for_text() -> None:
    counted = Counted()
    change = remembered(counted)
    change({"a": "1.50"})
    change({"a": jsontext.Number("1.50")})
    assert counted.calls == 2


def test_what_is_large_or_cannot_be_written_is_made_each_time() -> None:
    counted = Counted()
    change = remembered(counted)
    for obj in ({"a": "x" * MAX_BYTES}, {"a": 1 << 70}):
        change(dict(obj))
        assert change(dict(obj))["a"] == obj["a"]
    assert counted.calls == 4


def test_the_memory_is_bounded_and_failures_are_not_remembered() -> None:
    def refuse(obj: Object) -> Object:
        raise ValueError(str(obj))

    counted = Counted()
    change, refusing = remembered(counted), remembered(refuse)
    for number in range(MAX_KNOWN + 1):
        change({"n": number})
    change({"n": MAX_KNOWN})
    assert counted.calls == MAX_KNOWN + 1
    change({"n": 0})
    assert counted.calls == MAX_KNOWN + 2
    for _ in range(2):
        with pytest.raises(ValueError, match="1"):
            refusing({"a": 1})


# ---------------------------------------------------------------- names that JSON repeats

_NAMES = st.sampled_from(["a", "b:", 'c"', "d\\", "e\u00e9", ": ", ""])
_BLANKS = st.sampled_from(["", " ", "\t", "\r\n", "  "])


@st.composite
def _texts(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON in anybody's spelling, in which names may be repeated."""
    if not depth or draw(st.booleans()):
        return draw(st.sampled_from(["1", "null", '":"', '"\\u003a"', '"\\u003A:"', '"x\\"y\\":"']))
    if draw(st.booleans()):
        return "[" + ",".join(draw(st.lists(_texts(depth - 1), max_size=2))) + "]"
    members = []
    for name in draw(st.lists(_NAMES, max_size=4)):
        written = orjson.dumps(name).decode()
        if draw(st.booleans()):
            written = written.replace(":", "\\u003a")
        members.append(f"{written}{draw(_BLANKS)}:{draw(_BLANKS)}{draw(_texts(depth - 1))}")
    return "{" + ",".join(members) + "}"


def _repeats(value: Any) -> bool:
    if isinstance(value, jsontext.Pairs):
        names = [name for name, _ in value]
        return len(set(names)) < len(names) or any(_repeats(item) for _, item in value)
    return isinstance(value, list) and any(map(_repeats, value))


@given(_texts())
def test_no_repeated_name_is_missed(text: str) -> None:
    body = text.encode()
    value, may_repeat = jsontext.loads_checked(body)
    assert value == orjson.loads(body)
    if _repeats(jsontext.loads_pairs(body)):
        assert may_repeat
    elif "\\u003" not in text:
        assert not may_repeat


@pytest.mark.parametrize("brackets", ["[]", '{"":}'])
@pytest.mark.parametrize("inside", ["", "1", "{}", "[]"])
def test_the_depth_of_short_and_long_texts(brackets: str, inside: str) -> None:
    """Near the bound; the shortest text that is too deep is about as long as one that must be looked into."""
    for levels in range(jsontext.MAX_DEPTH - 2, jsontext.MAX_DEPTH + 3):
        text = brackets[:-1] * levels + (inside or brackets[:-1].count(":") * "1") + brackets[-1] * levels
        if levels + (inside in ("{}", "[]")) <= jsontext.MAX_DEPTH:
            assert jsontext.loads(text.encode()) == jsontext.loads_checked(text.encode())[0]
            continue
        for loads in (jsontext.loads, jsontext.loads_checked):
            with pytest.raises(jsontext.DepthError):
                loads(text.encode())
