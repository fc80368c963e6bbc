"""Sets of fields against sets of paths, and their text."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.managed.fieldset import (
    SELF,
    Fields,
    FieldSetError,
    difference,
    intersection,
    ordered,
    parse,
    paths,
    recursive_difference,
    union,
)

Path = tuple[str, ...]

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"c"}', "v:1"])
PATHS = st.sets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=12)


def build(members: set[Path]) -> Fields:
    """The set that holds exactly these paths."""
    root: Fields = {}
    for path in members:
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node[SELF] = {}
    return _shortened(root)


def _shortened(node: Fields) -> Fields:
    return {key: {} if child == {SELF: {}} else _shortened(child) if key != SELF else {} for key, child in node.items()}


def members(fields: Fields, prefix: Path = ()) -> set[Path]:
    found = set()
    for key, child in fields.items():
        if key != SELF:
            path = (*prefix, key)
            if not child or SELF in child:
                found.add(path)
            found |= members(child, path)
    return found


@given(PATHS, PATHS)
def test_operations_are_those_of_sets_of_paths(left: set[Path], right: set[Path]) -> None:
    a, b = build(left), build(right)
    assert members(union(a, b)) == left | right
    assert members(intersection(a, b)) == left & right
    assert members(difference(a, b)) == left - right
    below = {path for path in left if any(path[: len(top)] == top for top in right)}
    assert members(recursive_difference(a, b)) == left - below
    assert (a, b) == (build(left), build(right)), "inputs are left as they are"


@given(PATHS, PATHS)
def test_results_have_one_form(left: set[Path], right: set[Path]) -> None:
    a, b = build(left), build(right)
    for operation, expected in ((union, left | right), (difference, left - right), (intersection, left & right)):
        assert operation(a, b) == build(expected)


@given(PATHS)
def test_text_and_back(some: set[Path]) -> None:
    fields = build(some)
    assert parse(fields) == fields
    assert ordered(fields) == fields
    assert len(list(paths(fields))) == len(some)


def test_the_order_of_path_elements() -> None:
    fields = {'k:{"port":443}': {}, 'k:{"port":80}': {}, "v:2": {}, "v:10": {}, "f:z": {}, "f:a": {}, SELF: {}}
    assert list(ordered(fields)) == [SELF, "f:a", "f:z", 'k:{"port":80}', 'k:{"port":443}', "v:2", "v:10"]
    assert list(ordered({"v:true": {}, 'v:"a"': {}, "v:1": {}})) == ["v:1", 'v:"a"', "v:true"]


def test_paths_name_the_fields_of_a_level_before_what_is_below() -> None:
    ports = {'k:{"containerPort":80,"protocol":"TCP"}': {SELF: {}, "f:name": {}}}
    fields = {"f:spec": {"f:ports": ports, "f:x": {}}, "f:data": {}, "f:finalizers": {'v:"a.b/c"': {}}, "i:3": {}}
    assert list(paths(fields)) == [
        ".data",
        "[3]",
        '.finalizers[="a.b/c"]',
        ".spec.x",
        '.spec.ports[containerPort=80,protocol="TCP"]',
        '.spec.ports[containerPort=80,protocol="TCP"].name',
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"x:a": {}}, 'unknown path element "x:a"'),
        ({"a": {}}, 'unknown path element "a"'),
        ({"k:[1]": {}}, "must hold an object"),
        ({"k:{": {}}, "unreadable path element"),
        ({'i:"1"': {}}, "must hold an integer"),
        ({"f:a": 1}, "holds a value that is no object"),
        ([], "holds a value that is no object"),
    ],
)
def test_what_is_no_set(value: Any, text: str) -> None:
    with pytest.raises(FieldSetError, match=text.replace("[", r"\[")):
        parse(value)


def test_depth_has_a_bound() -> None:
    deep: dict[str, Any] = {}
    for _ in range(70):
        deep = {"f:a": deep}
    with pytest.raises(FieldSetError, match="deeper than 64"):
        parse(deep)


def test_sets_are_read_in_normal_form() -> None:
    assert parse({'k:{"b":1,"a":2}': {SELF: {}}, "v: 1": {}}) == {'k:{"a":2,"b":1}': {}, "v:1": {}}


def test_what_is_as_in_a_known_set_is_taken_from_there() -> None:
    known = parse({"f:a": {"f:b": {}}, 'k:{"name":"x"}': {SELF: {}, "f:c": {}}})
    given_ = {"f:a": {"f:b": {}, "f:d": {SELF: {}}}, 'k:{"name":"x"}': {SELF: {}, "f:c": {}}, 'k:{ "name":"y"}': {}}
    found = parse(given_, known)
    assert found == parse(given_)
    assert found['k:{"name":"x"}'] is known['k:{"name":"x"}']
    with pytest.raises(FieldSetError):
        parse({"f:a": {"nothing": {}}}, known)


@given(PATHS, PATHS)
def test_what_is_made_of_sets_in_order_is_in_order(left: set[Path], right: set[Path]) -> None:
    both = union(ordered(build(left)), ordered(build(right)))
    assert orjson.dumps(both) == orjson.dumps(ordered(both))


@given(PATHS, PATHS)
def test_what_is_read_is_in_order(some: set[Path], others: set[Path]) -> None:
    found = parse(_reversed(build(some)), ordered(build(others)))
    assert orjson.dumps(found) == orjson.dumps(ordered(build(some)))


def _reversed(fields: Fields) -> Fields:
    return {key: _reversed(child) for key, child in reversed(fields.items())}
