"""JSON merge patch: the test cases of RFC 7386 and its algebra."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.patch.merge_patch import apply

leaves = st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
documents = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner), max_leaves=6),
)
patches = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(leaves | st.none(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner), max_leaves=6),
)


@pytest.mark.parametrize(
    ("document", "patch", "result"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_rfc_7386(document: Any, patch: Any, result: Any) -> None:
    assert apply(document, patch) == result


def difference(source: dict[str, Any], target: dict[str, Any]) -> dict[str, Any]:
    """The merge patch that makes `target` of `source`."""
    patch: dict[str, Any] = {key: None for key in source if key not in target}
    for key, value in target.items():
        if isinstance(value, dict) and isinstance(source.get(key), dict):
            patch[key] = difference(source[key], value)
        elif key not in source or source[key] != value or type(source[key]) is not type(value):
            patch[key] = value
    return patch


@given(documents, documents)
def test_every_document_can_be_made_of_every_other(source: dict[str, Any], target: dict[str, Any]) -> None:
    before = copy.deepcopy(source)
    assert apply(source, difference(source, target)) == target
    assert source == before


@given(documents, patches)
def test_a_second_time_changes_nothing(document: dict[str, Any], patch: dict[str, Any]) -> None:
    once = apply(document, patch)
    assert apply(once, patch) == once
