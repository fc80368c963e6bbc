"""Many objects are chosen among as each by itself would be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.resources import find
from apilayer.api.selectors import parse_field_selector, parse_label_selector
from apilayer.storage.codec import Codec
from apilayer.storage.watcher import Selection

PODS = find("", "v1", "pods")
assert PODS is not None
CODEC = Codec(PODS)
LABELS = ["a", "!a", "a=1", "a!=1", "a in (1,2)", "a notin (1,2)", "a>1", "a<2", "b=", "b"]
FIELDS = ["spec.nodeName=1", "spec.nodeName!=1", "spec.nodeName=", "status.phase=2", "spec.hostNetwork=false"]
TEXTS = st.sampled_from(["", "1", "2", "x"])


@st.composite
def pods(draw: st.DrawFn) -> dict:
    metadata = {"name": "p", **draw(st.fixed_dictionaries({}, optional={"labels": LABEL_SETS}))}
    spec = draw(st.fixed_dictionaries({}, optional={"nodeName": TEXTS, "hostNetwork": st.booleans()}))
    return {"metadata": metadata, "spec": spec, "status": draw(st.fixed_dictionaries({}, optional={"phase": TEXTS}))}


LABEL_SETS = st.none() | st.dictionaries(st.sampled_from("abc"), TEXTS)


@given(
    st.lists(pods(), max_size=8),
    st.lists(st.sampled_from(LABELS), max_size=3),
    st.lists(st.sampled_from(FIELDS), max_size=2),
)
def test_each_that_matches(objects: list[dict], labels: list[str], fields: list[str]) -> None:
    assert PODS is not None
    selection = Selection(parse_label_selector(",".join(labels)), parse_field_selector(",".join(fields), PODS))
    entries = [CODEC.entry(b"/p", CODEC.encode(obj), 1) for obj in objects]
    assert list(selection.among(entries)) == [entry for entry in entries if selection.matches(entry)]


@pytest.mark.parametrize(
    ("labels", "fields"), [("", ""), ("a=1", ""), ("", "spec.nodeName=1"), ("a=1", "metadata.name=x")]
)
def test_equal_selections_are_one(labels: str, fields: str) -> None:
    assert PODS is not None
    first, second = (Selection(parse_label_selector(labels), parse_field_selector(fields, PODS)) for _ in range(2))
    assert len({first, second}) == 1
    assert first != Selection(parse_label_selector("other"), parse_field_selector("", PODS))
