"""Stored bytes and what is read from them without parsing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.resources import find
from apilayer.storage.codec import Codec, CorruptObject

PODS = find("", "v1", "pods")
assert PODS is not None
CODEC = Codec(PODS)
KEY = b"/registry/pods/ns/p"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), json_values, max_size=4), json_values)
def test_splicing_gives_the_object_with_its_revision(metadata: dict, spec: object) -> None:
    obj = {"spec": spec, "metadata": {**metadata, "name": "p", "resourceVersion": "stale"}}
    entry = CODEC.entry(KEY, CODEC.encode(obj), 42)
    expected = {**obj, "kind": "Pod", "apiVersion": "v1"}
    expected["metadata"] = {**obj["metadata"], "resourceVersion": "42"}
    assert orjson.loads(entry.json) == expected
    assert entry.object() == expected
    del expected["kind"], expected["apiVersion"]
    assert orjson.loads(entry.item) == expected


def test_the_same_state_under_another_revision() -> None:
    entry = CODEC.entry(KEY, CODEC.encode({"metadata": {"name": "p"}}), 9).at(10)
    assert entry.revision == 10
    assert entry.object()["metadata"] == {"name": "p", "resourceVersion": "10"}


def test_revision_zero_has_no_resource_version() -> None:
    entry = CODEC.entry(KEY, CODEC.encode({"metadata": {"name": "p"}}), 0)
    assert entry.object()["metadata"] == {"name": "p"}


def test_other_layouts_are_laid_out_anew() -> None:
    value = b'{"metadata": {"resourceVersion": "1", "name": "p"}, "apiVersion": "v1", "kind": "Pod"}'
    entry = CODEC.entry(KEY, value, 3)
    assert entry.object() == {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "resourceVersion": "3"}}


@pytest.mark.parametrize("value", [b"", b"k8s\0\n", b"[]", b'{"metadata":1}', b"{}", b'{"metadata":{}}'])
def test_unreadable_values(value: bytes) -> None:
    with pytest.raises(CorruptObject, match="/registry/pods/ns/p"):
        CODEC.entry(KEY, value, 1)


def test_labels_are_shared() -> None:
    first, second, other = (
        CODEC.entry(KEY, CODEC.encode({"metadata": {"name": name, "labels": labels}, "spec": {}}), 1)
        for name, labels in (("a", {"x": "y"}), ("b", {"x": "y"}), ("c", {"x": "z"}))
    )
    assert first.labels == {"x": "y"}
    assert first.labels is second.labels
    assert other.labels == {"x": "z"}
    assert first.at(9).labels is first.labels


@pytest.mark.parametrize("labels", [{}, {"labels": None}, {"labels": {}}, {"labels": 5}, {"labels": ["a"]}])
def test_objects_without_labels(labels: dict[str, Any]) -> None:
    assert CODEC.entry(KEY, CODEC.encode({"metadata": {"name": "a", **labels}}), 1).labels == {}


def test_selectable_holds_what_field_selectors_read_and_nothing_else() -> None:
    obj = {
        "metadata": {"name": "p", "namespace": "ns", "labels": {"a": "b"}, "annotations": {"big": "x"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
        "status": {"phase": "Running"},
    }
    selectable = CODEC.entry(KEY, CODEC.encode(obj), 1).selectable
    assert selectable == {
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running"},
    }
