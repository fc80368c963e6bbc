"""Values as fields: types, comparing, merging, removing, checking."""

from __future__ import annotations

import random
from typing import Any

import pytest

from apilayer.api.managed.compare import compare, field_set, whole
from apilayer.api.managed.merge import TypedError, atomic_only, check, merge, remove, with_named_fields
from apilayer.api.managed.typed import ItemError, type_of

POD = type_of("io.k8s.api.core.v1.Pod")
META = type_of("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
DEPLOYMENT = type_of("io.k8s.api.apps.v1.Deployment")
CONFIG_MAP = type_of("io.k8s.api.core.v1.ConfigMap")
SERVICE = type_of("io.k8s.api.core.v1.Service")


def container(**fields: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "c", **fields}]}}


def test_list_types_come_from_the_schema() -> None:
    spec = POD.fields["spec"][1]
    assert spec.fields["containers"][1].keys == (("name", ""),)
    assert spec.fields["tolerations"][1].atomic
    ports = spec.fields["containers"][1].element.fields["ports"][1]  # type: ignore[union-attr]
    assert ports.keys == (("containerPort", 0), ("protocol", "TCP"))
    assert META.fields["finalizers"][1].keys == ()
    assert not META.fields["finalizers"][1].atomic
    assert SERVICE.fields["spec"][1].fields["selector"][1].atomic
    assert DEPLOYMENT.fields["spec"][1].fields["selector"][1].atomic
    assert not META.fields["labels"][1].atomic


@pytest.mark.parametrize(
    ("item", "text"),
    [
        (None, "may not have a null element"),
        (1, "may not have non-map elements"),
    ],
)
def test_items_that_nothing_identifies(item: Any, text: str) -> None:
    ports = SERVICE.fields["spec"][1].fields["ports"][1]
    assert ports.item_element({}) == 'k:{"port":0,"protocol":"TCP"}'
    with pytest.raises(ItemError, match=text):
        ports.item_element(item)


@pytest.mark.parametrize(("item", "text"), [(None, "explicit null"), ({}, "map type"), ([], "lists as elements")])
def test_sets_hold_scalars(item: Any, text: str) -> None:
    with pytest.raises(ItemError, match=text):
        META.fields["finalizers"][1].item_element(item)


def test_a_key_without_default_may_be_missing_but_not_all_of_them() -> None:
    secrets = type_of("io.k8s.api.core.v1.ServiceAccount").fields["secrets"][1]
    with pytest.raises(ItemError, match=r'omits all key fields \["name"\]'):
        secrets.item_element({"kind": "x"})


# ---------------------------------------------------------------- comparing


def test_what_is_new_is_in_the_set_with_all_its_fields() -> None:
    comparison = compare(CONFIG_MAP, {"metadata": {}}, {"metadata": {"labels": {"a": "b"}}, "data": {"k": "v"}})
    assert comparison.touched == {
        "f:data": {".": {}, "f:k": {}},
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
    }
    assert comparison.removed == {}


def test_only_what_differs_is_in_the_set() -> None:
    old = {"data": {"a": "1", "b": "2", "c": "3"}}
    comparison = compare(CONFIG_MAP, old, {"data": {"a": "1", "b": "x"}})
    assert comparison.touched == {"f:data": {"f:b": {}}}
    assert comparison.removed == {"f:data": {"f:c": {}}}


@pytest.mark.parametrize(
    ("old", "new", "touched", "removed"),
    [
        ({}, {"data": {}}, {"f:data": {}}, {}),
        ({"data": None}, {"data": {}}, {"f:data": {}}, {}),
        ({"data": None}, {"data": {"a": "1"}}, {"f:data": {"f:a": {}}}, {}),
        ({"data": {"a": "1"}}, {"data": {}}, {}, {"f:data": {"f:a": {}}}),
        ({"data": {"a": "1"}}, {}, {}, {"f:data": {".": {}, "f:a": {}}}),
        ({"data": {"a": "1"}}, {"data": {"a": None}}, {"f:data": {"f:a": {}}}, {}),
    ],
)
def test_null_empty_and_absent_are_three_things(old: Any, new: Any, touched: Any, removed: Any) -> None:
    comparison = compare(CONFIG_MAP, old, new)
    assert (comparison.touched, comparison.removed) == (touched, removed)


def test_items_are_compared_by_what_identifies_them() -> None:
    old = container(ports=[{"containerPort": 80}, {"containerPort": 81, "name": "x"}])
    new = container(ports=[{"containerPort": 81, "name": "y"}, {"containerPort": 82, "protocol": "UDP"}])
    comparison = compare(POD, old, new)
    ports = comparison.touched["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"]
    assert ports == {
        'k:{"containerPort":81,"protocol":"TCP"}': {"f:name": {}},
        'k:{"containerPort":82,"protocol":"UDP"}': {".": {}, "f:containerPort": {}, "f:protocol": {}},
    }
    gone = comparison.removed["f:spec"]["f:containers"]['k:{"name":"c"}']["f:ports"]
    assert gone == {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}}


def test_atomic_parts_are_one_field() -> None:
    old = {"spec": {"selector": {"a": "b"}}}
    new = {"spec": {"selector": {"a": "b", "c": "d"}}}
    assert compare(SERVICE, old, new).touched == {"f:spec": {"f:selector": {}}}


def test_repeated_items_are_owned_together() -> None:
    once, twice = container(env=[{"name": "A"}]), container(env=[{"name": "A"}, {"name": "A", "value": "1"}])
    key = 'k:{"name":"A"}'

    def env(fields: Any) -> Any:
        return fields["f:spec"]["f:containers"]['k:{"name":"c"}']["f:env"]

    more = compare(POD, once, twice)
    assert env(more.touched) == {key: {}}
    assert env(more.removed) == {key: {".": {}, "f:name": {}}}
    fewer = compare(POD, twice, once)
    assert env(fewer.touched) == {key: {".": {}, "f:name": {}}}
    assert env(fewer.removed) == {key: {}}
    assert env(compare(POD, twice, container(env=[{"name": "A"}, {"name": "A"}])).touched) == {key: {}}
    assert whole(POD, twice)["f:spec"]["f:containers"]['k:{"name":"c"}']["f:env"] == {".": {}, key: {}}


def test_the_set_of_a_configuration() -> None:
    config = {"metadata": {"labels": {}}, "data": {"a": "1"}, "binaryData": None}
    assert field_set(CONFIG_MAP, config) == {
        "f:metadata": {"f:labels": {}},
        "f:data": {"f:a": {}},
        "f:binaryData": {},
    }
    assert field_set(POD, {"spec": {"containers": []}}) == {}
    assert field_set(POD, container(args=["x"])) == {
        "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:name": {}, "f:args": {}}}}
    }


# ---------------------------------------------------------------- merging


def literal_order(live: list[str], config: list[str]) -> list[str]:
    """The merge of two lists as structured-merge-diff walks them, with its two positions."""
    out: list[str] = []
    merged: set[str] = set()
    shared = [name for name in config if name in live]
    following = shared.pop(0) if shared else None
    left = right = 0
    while left < len(live) or right < len(config):
        if left < len(live) and right < len(config):
            name = live[left]
            if name == config[right]:
                merged.add(name)
                out.append(name)
                left, right = left + 1, right + 1
                following = shared.pop(0) if shared else None
                continue
            if name in config and following is not None and following != name:
                left += 1
                continue
        if left < len(live):
            if live[left] not in config:
                out.append(live[left])
                left += 1
                continue
            if live[left] in merged:
                left += 1
        if right < len(config):
            name = config[right]
            merged.add(name)
            out.append(name)
            right += 1
            if following == name:
                following = shared.pop(0) if shared else None
    return out


def test_lists_are_merged_in_the_original_order() -> None:
    rnd = random.Random(7)
    for _ in range(5000):
        live = rnd.sample("abcdefg", rnd.randint(0, 6))
        config = rnd.sample("abcdefg", rnd.randint(1, 6))
        merged = merge(META, {"finalizers": live}, {"finalizers": config})
        assert merged["finalizers"] == literal_order(live, config), (live, config)


def test_a_merge_takes_the_configuration_and_keeps_the_rest() -> None:
    live = {"metadata": {"name": "p"}, **container(image="i", env=[{"name": "A", "value": "1"}])}
    config = container(image="j", env=[{"name": "B"}], args=["x"])
    assert merge(POD, live, config) == {
        "metadata": {"name": "p"},
        **container(image="j", env=[{"name": "A", "value": "1"}, {"name": "B"}], args=["x"]),
    }
    assert merge(POD, container(args=["a", "b"]), container(args=["c"])) == container(args=["c"])
    assert merge(CONFIG_MAP, {"data": {"a": "1"}}, {"data": None}) == {"data": {"a": "1"}}
    assert merge(CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"a": None}}) == {"data": {"a": None}}


def test_removing_fields() -> None:
    live = container(image="i", ports=[{"containerPort": 80}])
    item = 'k:{"name":"c"}'
    port = 'k:{"containerPort":80,"protocol":"TCP"}'
    without_port = remove(POD, live, {"f:spec": {"f:containers": {item: {"f:ports": {port: {}}}}}})
    assert without_port == container(image="i", ports=None)
    assert remove(POD, live, {"f:spec": {"f:containers": {item: {}}}}) == {"spec": {"containers": None}}
    assert remove(POD, live, {"f:spec": {".": {}, "f:x": {}}}) is None


def test_named_fields_are_owned_with_what_is_below_them() -> None:
    fields = {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:containers": {'k:{"name":"c"}': {"f:env": {}}}}}
    assert with_named_fields(POD, fields) == {
        "f:metadata": {".": {}, "f:labels": {".": {}, "f:a": {}}},
        "f:spec": {".": {}, "f:containers": {".": {}, 'k:{"name":"c"}': {"f:env": {}}}},
    }


def test_fields_of_what_has_become_atomic_are_owned_as_one() -> None:
    old = {"f:spec": {"f:selector": {"f:a": {}}, "f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:port": {}}}}}
    assert atomic_only(SERVICE, old) == {**old, "f:spec": {**old["f:spec"], "f:selector": {}}}
    fine = {"f:spec": {"f:selector": {}}}
    assert atomic_only(SERVICE, fine) is fine


# ---------------------------------------------------------------- checking


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"bogus": 1}, ".bogus: field not declared in schema"),
        ({"spec": 1}, ".spec: expected map, got &{1}"),
        ({"spec": {"containers": {"a": "b"}}}, ".spec.containers: expected list, got &{map[a:b]}"),
        (
            container(image=1),
            '.spec.containers[name="c"].image: expected string, got &value.valueUnstructured{Value:1}',
        ),
        (
            container(image={"a": [True, "x"]}),
            '.spec.containers[name="c"].image: expected string, got &value.valueUnstructured{Value:'
            'map[string]interface {}{"a":[]interface {}{true, "x"}}}',
        ),
        (
            {"spec": {"terminationGracePeriodSeconds": "x"}},
            ".spec.terminationGracePeriodSeconds: expected numeric (int or float), got string",
        ),
        (
            {"spec": {"hostNetwork": "x"}},
            '.spec.hostNetwork: expected boolean, got &value.valueUnstructured{Value:"x"}',
        ),
        (
            {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}},
            '.spec.containers: duplicate entries for key [name="c"]',
        ),
        ({"spec": {"containers": [1]}}, ".spec.containers: element 0: associative list with keys may not have non-map"),
        ({"spec": 1, "status": 2}, "errors:\n  .spec: expected map, got &{1}\n  .status: expected map, got &{2}"),
        (container(resources={"limits": {"cpu": []}}), "expected any scalar, got"),
    ],
)
def test_configurations_that_do_not_fit(config: Any, text: str) -> None:
    with pytest.raises(TypedError) as caught:
        check(POD, config)
    assert text in str(caught.value)


def test_configurations_that_fit() -> None:
    check(POD, container(resources={"limits": {"cpu": 1, "memory": "1Gi"}}, ports=[{"containerPort": 80}]))
    check(POD, {"spec": {"containers": None}, "metadata": {"managedFields": [{"fieldsV1": {"f:a": {}}}]}})
