"""JSON patch: the examples of RFC 6902, its bounds, and properties that hold for any document."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.patch.json_patch import MAX_COPY_BYTES, JSONPatchError, apply, json_equal

scalars = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=4)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab/~", max_size=2), inner, max_size=3),
    max_leaves=8,
)
documents = st.dictionaries(st.text("ab/~", min_size=1, max_size=2), values, max_size=4)


@pytest.mark.parametrize(
    ("document", "operations", "result"),
    [
        # RFC 6902, appendix A, in its order
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        (
            {"foo": ["bar", "baz"]},
            [{"op": "add", "path": "/foo/1", "value": "qux"}],
            {"foo": ["bar", "qux", "baz"]},
        ),
        ({"baz": "qux", "foo": "bar"}, [{"op": "remove", "path": "/baz"}], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [{"op": "remove", "path": "/foo/1"}], {"foo": ["bar", "baz"]}),
        (
            {"baz": "qux", "foo": "bar"},
            [{"op": "replace", "path": "/baz", "value": "boo"}],
            {"baz": "boo", "foo": "bar"},
        ),
        (
            {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
            [{"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}],
            {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
        ),
        (
            {"foo": ["all", "grass", "cows", "eat"]},
            [{"op": "move", "from": "/foo/1", "path": "/foo/3"}],
            {"foo": ["all", "cows", "eat", "grass"]},
        ),
        (
            {"baz": "qux", "foo": ["a", 2, "c"]},
            [{"op": "test", "path": "/baz", "value": "qux"}, {"op": "test", "path": "/foo/1", "value": 2}],
            {"baz": "qux", "foo": ["a", 2, "c"]},
        ),
        (
            {"foo": "bar"},
            [{"op": "add", "path": "/child", "value": {"grandchild": {}}}],
            {"foo": "bar", "child": {"grandchild": {}}},
        ),
        (
            {"foo": "bar"},
            [{"op": "add", "path": "/baz", "value": "qux", "xyz": 123}],
            {"foo": "bar", "baz": "qux"},
        ),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": 10}], {"/": 9, "~1": 10}),
        (
            {"foo": ["bar"]},
            [{"op": "add", "path": "/foo/-", "value": ["abc", "def"]}],
            {"foo": ["bar", ["abc", "def"]]},
        ),
        # as the server that clients know does it
        ({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}], {"a": 1, "b": 2}),
        ({"a": [1, 2]}, [{"op": "remove", "path": "/a/-1"}], {"a": [1]}),
        ({"a": 1}, [{"op": "test", "path": "/b", "value": None}], {"a": 1}),
        ({"a": 1}, [{"op": "replace", "path": "", "value": {"b": 2}}], {"b": 2}),
        ({"a": {"b": 1}}, [{"op": "copy", "from": "/a", "path": "/c"}], {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": 1}, [{"op": "test", "path": "", "value": {"a": 1.0}}], {"a": 1}),
        ({"a": 1}, [], {"a": 1}),
    ],
)
def test_operations(document: Any, operations: list[dict[str, Any]], result: Any) -> None:
    before = copy.deepcopy(document)
    assert apply(document, operations) == result
    assert document == before


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/baz", "value": "bar"},
        {"op": "add", "path": "/no/bat", "value": "qux"},
        {"op": "test", "path": "/one", "value": "1"},
        {"op": "test", "path": "/one", "value": True},
        {"op": "test", "path": "", "value": {}},
        {"op": "remove", "path": "/none"},
        {"op": "remove", "path": ""},
        {"op": "add", "path": "", "value": {}},
        {"op": "replace", "path": "", "value": 1},
        {"op": "remove", "path": "/list/2"},
        {"op": "remove", "path": "/list/-"},
        {"op": "remove", "path": "/list/-3"},
        {"op": "add", "path": "/list/3", "value": 1},
        {"op": "add", "path": "/list/x", "value": 1},
        {"op": "add", "path": "/list/1e0", "value": 1},
        {"op": "add", "path": "/one/x", "value": 1},
        {"op": "add", "path": "one", "value": 1},
        {"op": "add", "value": 1},
        {"op": "move", "path": "/x"},
        {"op": "move", "from": "/none", "path": "/x"},
        {"op": "copy", "from": "/list/9", "path": "/x"},
        {"op": "zap", "path": "/one"},
        {"path": "/one"},
        {},
    ],
)
def test_operations_that_do_not_apply(operation: dict[str, Any]) -> None:
    document = {"one": 1, "list": ["a", "b"], "baz": "qux"}
    before = copy.deepcopy(document)
    with pytest.raises(JSONPatchError):
        apply(document, [{"op": "add", "path": "/first", "value": 1}, operation])
    assert document == before


def test_a_chain_of_copies_stops_at_the_bound() -> None:
    document = {"a": "x" * (MAX_COPY_BYTES // 8)}
    doubling = [
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "copy", "from": "/a", "path": "/c"},
    ]
    assert apply(document, doubling)
    with pytest.raises(JSONPatchError, match="accumulated size increase of copy"):
        apply(document, doubling * 4)
    with pytest.raises(JSONPatchError):
        apply({"a": []}, [{"op": "add", "path": "/a/-", "value": "xx"}] + _self_copies(10_000))


def _self_copies(count: int) -> list[dict[str, Any]]:
    return [{"op": "copy", "from": "/a", "path": "/a/-"}] * count


def test_long_lists_cannot_be_shifted_without_end() -> None:
    shift = [{"op": "move", "from": "/a/0", "path": "/a/1"}]
    document = {"a": [0] * 100_000}
    assert apply(document, shift * 10) == document
    with pytest.raises(JSONPatchError, match="list items"):
        apply(document, shift * 10_000)


def test_a_document_cannot_be_nested_without_bound() -> None:
    deeper = [
        {"op": "add", "path": "/b", "value": {}},
        {"op": "move", "from": "/a", "path": "/b/a"},
        {"op": "move", "from": "/b", "path": "/a"},
    ]
    nested = apply({"a": {}}, deeper * 3000)
    with pytest.raises(JSONPatchError):
        apply({"a": {}}, deeper * 3000 + [{"op": "copy", "from": "/a", "path": "/c"}])
    assert "a" in nested


def pointers(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Every JSON pointer into `value` with what it points at."""
    found = [(prefix, value)]
    if isinstance(value, dict):
        for key, item in value.items():
            found += pointers(item, f"{prefix}/{key.replace('~', '~0').replace('/', '~1')}")
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += pointers(item, f"{prefix}/{index}")
    return found


@given(documents)
def test_every_pointer_finds_its_value(document: dict[str, Any]) -> None:
    operations = [{"op": "test", "path": pointer, "value": value} for pointer, value in pointers(document)]
    assert apply(document, operations) == document


@given(documents, values, st.data())
def test_what_is_added_can_be_removed_again(document: dict[str, Any], value: Any, data: Any) -> None:
    containers = [pair for pair in pointers(document) if isinstance(pair[1], dict | list)]
    pointer, container = data.draw(st.sampled_from(containers))
    path = f"{pointer}/0" if isinstance(container, list) else f"{pointer}/new"
    added = apply(document, [{"op": "add", "path": path, "value": value}])
    assert apply(added, [{"op": "test", "path": path, "value": value}, {"op": "remove", "path": path}]) == document


@given(documents, st.data())
def test_moving_is_removing_and_adding(document: dict[str, Any], data: Any) -> None:
    pointer, value = data.draw(st.sampled_from(pointers(document)))
    if not pointer:
        return
    moved = apply(document, [{"op": "move", "from": pointer, "path": "/moved"}])
    apart = [{"op": "remove", "path": pointer}, {"op": "add", "path": "/moved", "value": value}]
    assert moved == apply(document, apart)


OPERATIONS = st.fixed_dictionaries(
    {},
    optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
        "path": st.sampled_from(["", "/a", "/a/0", "/a/-", "/b/a", "a", "/~"]),
        "from": st.sampled_from(["", "/a", "/b", "/a/1"]),
        "value": values,
    },
)


@given(documents, st.lists(OPERATIONS, max_size=5))
def test_the_input_never_changes(document: dict[str, Any], operations: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(document)
    try:
        apply(document, operations)
    except JSONPatchError as error:
        assert str(error)
    assert document == before


@given(values)
def test_equality_is_reflexive_and_tells_booleans_from_numbers(value: Any) -> None:
    assert json_equal(value, copy.deepcopy(value))
    assert not json_equal([value, True], [value, 1])
    assert json_equal([value, 1], [value, 1.0])
