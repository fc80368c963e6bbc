"""Random applies and updates against a model that knows only a flat map and sets of keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.managed import FieldManager
from apilayer.api.resources import find
from apilayer.api.status import StatusError

Object = dict[str, Any]

TIME = "2026-01-01T00:00:00Z"
NAMES = st.sampled_from(["alpha", "beta", "gamma"])
DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"), max_size=4)
STEPS = st.lists(st.tuples(NAMES, st.sampled_from(["apply", "force", "update"]), DATA), max_size=12)


def _fields(plural: str, group: str = "") -> FieldManager:
    resource = find(group, "v1", plural)
    assert resource is not None
    return FieldManager(resource)


CONFIG_MAPS = _fields("configmaps")
PODS = _fields("pods")


def config(data: Object) -> Object:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}, "data": data}


def owned(obj: Object) -> dict[tuple[str, str], set[str]]:
    """The data keys of each manager."""
    found = {}
    for entry in obj["metadata"].get("managedFields", ()):
        keys = {key[2:] for key in entry["fieldsV1"].get("f:data", {}) if key != "."}
        if keys:
            found[entry["manager"], entry["operation"]] = keys
    return found


class Model:
    """What should be there."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {"z": "0"}
        self.owners: dict[tuple[str, str], set[str]] = {("maker", "Update"): {"z"}}

    def conflicts(self, name: str, data: dict[str, str]) -> set[tuple[str, str]]:
        me = (name, "Apply")
        return {
            (owner[0], key)
            for owner, keys in self.owners.items()
            for key in keys & data.keys()
            if owner != me and self.data.get(key) != data[key]
        }

    def apply(self, name: str, data: dict[str, str]) -> None:
        me = (name, "Apply")
        let_go = self.owners.pop(me, set()) - data.keys()
        changed = {key for key, value in data.items() if self.data.get(key) != value}
        self._take(changed)
        self.data |= data
        for key in let_go - self._all_owned():
            self.data.pop(key, None)
        if data:
            self.owners[me] = set(data)

    def update(self, name: str, data: dict[str, str]) -> None:
        changed = {key for key, value in data.items() if self.data.get(key) != value}
        self._take(changed | (self.data.keys() - data.keys()))
        self.data = dict(data)
        mine = self.owners.pop((name, "Update"), set()) | changed
        if mine:
            self.owners[name, "Update"] = mine

    def _all_owned(self) -> set[str]:
        return set().union(*self.owners.values())

    def _take(self, keys: set[str]) -> None:
        left = {owner: held - keys for owner, held in self.owners.items()}
        self.owners = {owner: held for owner, held in left.items() if held}


def start() -> Object:
    obj = config({"z": "0"})
    CONFIG_MAPS.update(None, obj, "maker", TIME)
    obj["metadata"]["uid"] = "u"
    return obj


def step(obj: Object, model: Model, name: str, how: str, data: Object) -> Object:
    """The object after one step, which the model takes too."""
    if how == "update":
        kept = {**data, "z": "0"}
        new = {**obj, "metadata": dict(obj["metadata"]), "data": kept}
        CONFIG_MAPS.update(obj, new, name, TIME)
        model.update(name, kept)
        return new
    expected = model.conflicts(name, data)
    if how == "apply" and expected:
        with pytest.raises(StatusError) as caught:
            CONFIG_MAPS.apply(obj, config(data), name, force=False, time=TIME)
        causes = caught.value.status["details"]["causes"]
        assert {(cause["message"].split('"')[1], cause["field"].removeprefix(".data.")) for cause in causes} == expected
        return obj
    model.apply(name, data)
    return CONFIG_MAPS.apply(obj, config(data), name, force=how == "force", time=TIME)


@given(STEPS)
def test_data_and_owners_are_those_of_the_model(steps: list[tuple[str, str, Object]]) -> None:
    obj, model = start(), Model()
    for name, how, data in steps:
        obj = step(obj, model, name, how, data)
        assert (obj.get("data") or {}) == model.data
        assert owned(obj) == model.owners


@given(STEPS, NAMES, DATA)
def test_applying_twice_is_applying_once(steps: list[tuple[str, str, Object]], name: str, data: Object) -> None:
    obj, model = start(), Model()
    for each in steps:
        obj = step(obj, model, *each)
    once = CONFIG_MAPS.apply(obj, config(data), name, force=True, time=TIME)
    assert CONFIG_MAPS.apply(once, config(data), name, force=False, time="2026-01-02T00:00:00Z") == once


PORTS = st.lists(st.sampled_from([80, 81, 443]), unique=True, max_size=3)
CONTAINERS = st.dictionaries(st.sampled_from("cde"), st.tuples(st.sampled_from("ij"), PORTS), min_size=1, max_size=3)


def pod(containers: dict[str, tuple[str, list[int]]]) -> Object:
    listed = [
        {"name": name, "image": image, "ports": [{"containerPort": port} for port in ports]}
        for name, (image, ports) in containers.items()
    ]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"containers": listed}}


def containers_of(obj: Object) -> dict[str, tuple[str, list[int]]]:
    return {
        item["name"]: (item["image"], sorted(port["containerPort"] for port in item.get("ports", ())))
        for item in obj["spec"].get("containers") or ()
    }


@given(CONTAINERS, CONTAINERS)
def test_a_sole_applier_gets_what_it_says(first: Any, second: Any) -> None:
    obj = PODS.apply(None, pod(first), "alpha", force=False, time=TIME)
    obj["metadata"]["uid"] = "u"
    obj = PODS.apply(obj, pod(second), "alpha", force=False, time=TIME)
    assert containers_of(obj) == {name: (image, sorted(ports)) for name, (image, ports) in second.items()}


@given(CONTAINERS, st.dictionaries(st.sampled_from("xyz"), st.tuples(st.just("k"), PORTS), min_size=1, max_size=3))
def test_two_appliers_with_different_items_both_hold(first: Any, second: Any) -> None:
    obj = PODS.apply(None, pod(first), "alpha", force=False, time=TIME)
    obj["metadata"]["uid"] = "u"
    obj = PODS.apply(obj, pod(second), "beta", force=False, time=TIME)
    assert containers_of(obj).keys() == first.keys() | second.keys()
    again = PODS.apply(obj, pod(first), "alpha", force=False, time=TIME)
    assert again == obj
    released = PODS.apply(obj, {**pod({}), "spec": {}}, "beta", force=False, time=TIME)
    assert containers_of(released).keys() == first.keys()
