"""What selectors see of an object: the same whether it is read from the bytes or from the whole object."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.api.resources import RESOURCES, find
from apilayer.storage.codec import Codec, _skeleton

PODS = find("", "v1", "pods")
assert PODS is not None
LEAVES = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3) | st.dictionaries(st.just("a"), st.none())
LABELS = st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2) | LEAVES


def agrees(codec: Codec, obj: dict[str, Any]) -> None:
    entry = codec.entry(b"/k", codec.encode(obj), 5)
    assert codec.skeleton(entry) == _skeleton(codec.resource, entry.object())
    labels = entry.object()["metadata"].get("labels")
    assert entry.labels == (labels if isinstance(labels, dict) else {})


@given(
    labels=LABELS,
    metadata=st.fixed_dictionaries({"name": LEAVES}, optional={"namespace": LEAVES}),
    spec=LEAVES | st.fixed_dictionaries({}, optional={"nodeName": LEAVES, "hostNetwork": LEAVES, "x": LEAVES}),
    status=LEAVES | st.fixed_dictionaries({}, optional={"phase": LEAVES, "podIP": LEAVES}),
)
@settings(max_examples=100, deadline=None)
def test_of_pods(labels: Any, metadata: dict[str, Any], spec: Any, status: Any) -> None:
    assert PODS is not None
    agrees(Codec(PODS), {"metadata": {**metadata, "labels": labels}, "spec": spec, "status": status})


@pytest.mark.parametrize("row", [row for row in RESOURCES if row.field_selectors], ids=lambda row: row.group_resource)
def test_of_every_kind(row: Any) -> None:
    obj: dict[str, Any] = {"metadata": {"name": "n"}}
    for number, path in enumerate(row.field_selectors.values()):
        target = obj
        for step in path[:-1]:
            target = target.setdefault(step, {})
        target[path[-1]] = f"v{number}"
    agrees(Codec(row), obj)


def test_of_the_metadata_no_more_than_who_owns_and_what_holds() -> None:
    assert PODS is not None
    codec = Codec(PODS)
    kept = {
        "uid": "1",
        "finalizers": ["f"],
        "ownerReferences": [{"uid": "u"}],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    }
    obj = {"metadata": {"name": "p", **kept, "managedFields": [{"fieldsV1": {}}]}, "spec": {"x": 1}}
    entry = codec.entry(b"/k", codec.encode(obj), 5)
    assert entry.metadata() == kept
    assert entry.metadata() is not entry.metadata()
    assert codec.entry(b"/k", codec.encode({"metadata": {"name": "p"}}), 5).metadata() == {}


def test_what_is_looked_at_again_is_parsed_once() -> None:
    assert PODS is not None
    codec = Codec(PODS)
    entry = codec.entry(b"/k", codec.encode({"metadata": {"name": "p"}}), 5)
    assert entry.shared is entry.shared
    assert entry.shared == entry.object()


def test_uids_that_stand_in_the_text_are_found() -> None:
    assert PODS is not None
    codec = Codec(PODS)
    metadata = {"name": "p", "annotations": {"a": '"uid":"3"'}, "uid": "1", "ownerReferences": [{"uid": "2"}]}
    entry = codec.entry(b"/k", codec.encode({"metadata": metadata}), 5)
    assert [uid for uid in ("1", "2", "3", "", "x") if entry.mentions(uid)] == ["1", "2"]
