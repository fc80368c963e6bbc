"""The fields of new objects whose specs were seen before: the same, in the same order, and only so many are kept."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.api.managed import FieldManager, replicas
from apilayer.api.managed.compare import compare
from apilayer.api.managed.replicas import Replicas
from apilayer.api.managed.typed import ItemError, type_of
from apilayer.api.resources import find

SHAPE = type_of("io.k8s.api.core.v1.Pod")
_PODS = find("", "v1", "pods")
assert _PODS is not None
NOTHING = FieldManager(_PODS).empty()
NAMES = st.sampled_from("abc")
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES},
        optional={"image": NAMES, "ports": st.lists(st.fixed_dictionaries({"containerPort": st.just(80)}))},
    ),
    max_size=3,
)
PODS = st.fixed_dictionaries(
    {"kind": st.just("Pod"), "apiVersion": st.just("v1"), "metadata": st.dictionaries(NAMES, NAMES)},
    optional={
        "spec": st.fixed_dictionaries(
            {}, optional={"containers": CONTAINERS, "nodeName": NAMES, "nodeSelector": st.dictionaries(NAMES, NAMES)}
        ),
        "status": st.dictionaries(NAMES, NAMES),
    },
)


@given(pods=st.lists(PODS, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_are_those_of_a_comparison(pods: list[Any]) -> None:
    seen = Replicas()
    for pod in [*pods, *pods]:
        found, wanted = seen.compare_new(SHAPE, NOTHING, pod), compare(SHAPE, NOTHING, pod)
        assert orjson.dumps(found.touched) == orjson.dumps(wanted.touched)
        assert found.removed == wanted.removed


def test_no_more_are_kept_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replicas, "MAX_SPECS", 3)
    monkeypatch.setattr(replicas, "MAX_SPEC_BYTES", 100)
    seen = Replicas()
    for number in range(5):
        seen.compare_new(SHAPE, NOTHING, {"metadata": {}, "spec": {"nodeName": f"n{number}"}})
    assert len(seen) == 3
    before = dict(seen._specs)
    seen.compare_new(SHAPE, NOTHING, {"metadata": {}, "spec": {"nodeName": "n" * 100}})
    seen.compare_new(SHAPE, NOTHING, {"metadata": {}, "spec": {"priority": 1 << 80}})
    assert seen._specs == before


def test_an_item_that_nothing_identifies_is_told_each_time() -> None:
    seen = Replicas()
    for _ in range(2):
        with pytest.raises(ItemError):
            seen.compare_new(SHAPE, NOTHING, {"metadata": {}, "spec": {"containers": [None]}})
    assert len(seen) == 0
