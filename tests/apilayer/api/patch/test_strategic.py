"""Strategic merge patch: every directive, merge keys and order, on the schemas of real kinds."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.patch import merge_patch
from apilayer.api.patch.errors import StrategicPatchError
from apilayer.api.patch.strategic import apply
from apilayer.api.schema import schema_for_kind

POD = schema_for_kind("", "v1", "Pod")
DEPLOYMENT = schema_for_kind("apps", "v1", "Deployment")


def containers(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "image": f"{name}:1"} for name in names]


def patched(live: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """The result on a pod's spec, with a check that neither input changed."""
    document, change = {"spec": live}, {"spec": patch}
    before = copy.deepcopy((document, change))
    result = apply(document, change, POD)
    assert (document, change) == before
    spec: dict[str, Any] = result["spec"]
    return spec


def names(spec: dict[str, Any], field: str = "containers") -> list[str]:
    return [item["name"] for item in spec[field]]


def test_list_items_are_merged_by_their_key() -> None:
    result = patched({"containers": containers("a", "b")}, {"containers": [{"name": "b", "image": "b:2"}]})
    assert result["containers"] == [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]


def test_new_items_stand_before_the_others() -> None:
    assert names(patched({"containers": containers("a", "b")}, {"containers": containers("z")})) == list("zab")


def test_items_of_items_are_merged_too() -> None:
    live = {"containers": [{"name": "a", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]}
    change = {"containers": [{"name": "a", "env": [{"name": "B", "value": "x"}, {"name": "C", "value": "3"}]}]}
    assert patched(live, change)["containers"][0]["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "x"},
        {"name": "C", "value": "3"},
    ]


def test_null_removes_a_member_of_an_item() -> None:
    live = {"containers": [{"name": "a", "env": [{"name": "B", "value": "2"}]}]}
    source = {"fieldRef": {"fieldPath": "metadata.name"}}
    change = {"containers": [{"name": "a", "env": [{"name": "B", "value": None, "valueFrom": source}]}]}
    assert patched(live, change)["containers"][0]["env"] == [{"name": "B", "valueFrom": source}]


def test_the_key_may_be_a_number() -> None:
    live = {"containers": [{"name": "a", "ports": [{"containerPort": 80}, {"containerPort": 81}]}]}
    change = {"containers": [{"name": "a", "ports": [{"containerPort": 80, "name": "web"}]}]}
    assert patched(live, change)["containers"][0]["ports"] == [
        {"containerPort": 80, "name": "web"},
        {"containerPort": 81},
    ]


def test_lists_without_strategy_are_replaced() -> None:
    live = {"tolerations": [{"key": "a"}], "containers": [{"name": "a", "args": ["x", "y"]}]}
    change = {"tolerations": [{"key": "b"}], "containers": [{"name": "a", "args": ["z"]}]}
    result = patched(live, change)
    assert result["tolerations"] == [{"key": "b"}]
    assert result["containers"][0]["args"] == ["z"]


def test_delete_directive_in_a_list() -> None:
    result = patched({"containers": containers("a", "b")}, {"containers": [{"name": "a", "$patch": "delete"}]})
    assert names(result) == ["b"]


def test_replace_directive_in_a_list() -> None:
    change = {"containers": [{"$patch": "replace"}, *containers("only")]}
    assert names(patched({"containers": containers("a", "b")}, change)) == ["only"]


def test_directives_in_maps() -> None:
    live = {"nodeSelector": {"a": "1", "b": "2"}}
    assert patched(live, {"nodeSelector": {"$patch": "replace", "c": "3"}}) == {"nodeSelector": {"c": "3"}}
    assert patched(live, {"nodeSelector": {"$patch": "delete"}}) == {"nodeSelector": {}}
    assert patched({}, {"nodeSelector": {"$patch": "merge", "c": "3"}}) == {}
    with pytest.raises(StrategicPatchError, match=r"unknown patch type: merge in map: map\[\$patch:merge c:3\]"):
        patched(live, {"nodeSelector": {"$patch": "merge", "c": "3"}})


def test_set_element_order_with_a_change() -> None:
    change = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": containers("b")}
    assert names(patched({"containers": containers("a", "b")}, change)) == ["b", "a"]


def test_set_element_order_alone() -> None:
    order = [{"name": "c"}, {"name": "a"}]
    assert names(patched({"containers": containers("a", "b", "c")}, {"$setElementOrder/containers": order})) == [
        "b",
        "c",
        "a",
    ]


def test_set_element_order_where_there_is_no_list() -> None:
    assert patched({}, {"$setElementOrder/containers": [{"name": "a"}]}) == {}
    change = {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": containers("b", "a")}
    assert names(patched({}, change)) == ["b", "a"]


def test_set_element_order_with_a_deletion() -> None:
    change = {
        "$setElementOrder/containers": [{"name": "b"}],
        "containers": [{"name": "a", "$patch": "delete"}],
    }
    assert names(patched({"containers": containers("a", "b")}, change)) == ["b"]


def test_retain_keys_in_a_map_and_in_an_item() -> None:
    live = {"volumes": [{"name": "v", "emptyDir": {}}]}
    change = {"volumes": [{"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "x"}}]}
    assert patched(live, change) == {"volumes": [{"name": "v", "configMap": {"name": "x"}}]}
    document = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    recreate = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert apply(document, recreate, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}


def meta(finalizers: list[str] | None, patch: dict[str, Any]) -> list[str] | None:
    document = {"metadata": {} if finalizers is None else {"finalizers": finalizers}}
    before = copy.deepcopy(document)
    result = apply(document, {"metadata": patch}, POD)
    assert document == before
    found: list[str] | None = result["metadata"].get("finalizers")
    return found


def test_lists_of_scalars() -> None:
    assert meta(["a"], {"finalizers": ["b"]}) == ["b", "a"]
    assert meta(["a", "b"], {"finalizers": ["b", "b"]}) == ["a", "b"]
    assert meta(["a", "b"], {"$deleteFromPrimitiveList/finalizers": ["a"]}) == ["b"]
    assert meta(None, {"$deleteFromPrimitiveList/finalizers": ["a"]}) is None
    assert meta(["b"], {"$setElementOrder/finalizers": ["c", "b"], "finalizers": ["c"]}) == ["c", "b"]
    assert meta(["b"], {"finalizers": None}) is None


def test_directives_where_lists_are_not_merged() -> None:
    live = {"containers": [{"name": "a", "args": ["x", "y"]}], "tolerations": [{"key": "k"}]}
    change = {"containers": [{"name": "a", "$deleteFromPrimitiveList/args": ["x"]}]}
    assert patched(live, change)["containers"][0]["args"] == ["x"]
    ordered = {"containers": [{"name": "a", "$setElementOrder/args": ["z", "y"], "args": ["y", "z"]}]}
    with pytest.raises(StrategicPatchError, match="The order in patch list"):
        patched(live, ordered)
    ordered["containers"][0]["args"] = ["z", "y"]
    assert patched(live, ordered)["containers"][0]["args"] == ["z", "y"]


def test_a_directive_in_place_of_another_type_removes_it() -> None:
    assert patched({"hostname": "h"}, {"hostname": {"$patch": "replace"}}) == {}
    assert patched({"hostname": "h"}, {"hostname": [{"a": None}, {"$patch": "delete"}]}) == {"hostname": [{}]}


def test_an_empty_list_changes_nothing_where_lists_are_merged() -> None:
    assert patched({"containers": []}, {"containers": []}) == {"containers": []}
    assert names(patched({"containers": containers("a")}, {"containers": []})) == ["a"]


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"containers": [{"image": "x"}]}, 500, "map: map[image:x] does not contain declared merge key: name"),
        (
            {"containers": [{"$patch": "delete"}]},
            500,
            "map: map[$patch:delete] does not contain declared merge key: name",
        ),
        ({"containers": [{"$patch": "merge"}]}, 500, "merging lists cannot yet be specified in the patch"),
        ({"containers": [{"$patch": "x"}]}, 500, "unknown patch type: x in map: map[$patch:x]"),
        ({"containers": ["a"]}, 500, "list element types are not identical: [[map[image:a:1 name:a]] [a]]"),
        ({"containers": [[]]}, 422, "lists of lists are not supported"),
        ({"containers": [{"name": {}}]}, 500, "a map[string]interface {} cannot identify a list item: map[]"),
        (
            {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b", "image": "l"}]},
            500,
            "The order in patch list:\n[map[image:l name:b]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
        ),
        ({"$setElementOrder/containers": {}}, 500, "expected a []interface {}, but received a map[string]interface {}"),
        (
            {"$setElementOrder/containers": [], "containers": "x"},
            500,
            "expected a []interface {}, but received a string",
        ),
        ({"$setElementOrder": []}, 400, "invalid patch format of setElementOrder list"),
        ({"$setElementOrder/none": []}, 500, 'unable to find api field for the json field "none"'),
        ({"$deleteFromPrimitiveList": []}, 400, "invalid patch format of primitive list"),
        ({"$retainKeys": "containers"}, 400, "invalid patch format of retainKeys"),
        ({"$retainKeys": [], "hostname": "x"}, 400, "invalid patch format of retainKeys"),
    ],
)
def test_patches_that_cannot_be_applied(change: dict[str, Any], code: int, message: str) -> None:
    with pytest.raises(StrategicPatchError) as caught:
        patched({"containers": containers("a")}, change)
    assert (caught.value.code, str(caught.value)) == (code, message)


NAMES = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6)


@given(NAMES, NAMES)
def test_merging_lists_keeps_every_item_and_the_order_of_the_patch(live: list[str], change: list[str]) -> None:
    merged = names(patched({"containers": containers(*live)}, {"containers": containers(*change)}))
    assert sorted(merged) == sorted({*live, *change})
    assert [name for name in merged if name in change] == change
    assert [name for name in merged if name not in change] == [name for name in live if name not in change]


@given(NAMES, NAMES)
def test_merging_twice_is_merging_once(live: list[str], change: list[str]) -> None:
    patch = {"containers": containers(*change)}
    once = patched({"containers": containers(*live)}, patch)
    assert patched(once, patch) == once


@given(NAMES, st.permutations("abcdef"))
def test_set_element_order_orders(live: list[str], order: list[str]) -> None:
    wanted = [{"name": name} for name in order]
    result = patched({"containers": containers(*live)}, {"$setElementOrder/containers": wanted})
    assert names(result) == [name for name in order if name in live]


labels = st.dictionaries(st.sampled_from("abc"), st.text(max_size=2) | st.none())


@given(labels, labels)
def test_maps_are_merged_as_by_a_merge_patch(live: dict[str, Any], change: dict[str, Any]) -> None:
    live = {key: value for key, value in live.items() if value is not None}
    document, patch = {"metadata": {"labels": live}}, {"metadata": {"labels": change}}
    assert apply(document, patch, POD) == merge_patch.apply(document, patch)
