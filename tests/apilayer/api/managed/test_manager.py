"""managedFields after updates and applies, entry by entry."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.api.managed import FieldManager, keep_times, manager_name
from apilayer.api.managed.entries import ANCIENT
from apilayer.api.managed.lastapplied import ANNOTATION
from apilayer.api.resources import find
from apilayer.api.status import StatusError

Object = dict[str, Any]


def fields_of(plural: str, group: str = "", subresource: str = "") -> FieldManager:
    resource = find(group, "v1", plural)
    assert resource is not None
    return FieldManager(resource, subresource)


CONFIG_MAPS = fields_of("configmaps")


def config_map(data: Any = None, **metadata: Any) -> Object:
    obj: Object = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", **metadata}}
    return obj if data is None else {**obj, "data": data}


def time(second: int) -> str:
    return f"2026-01-01T00:00:{second:02}Z"


def created(obj: Object, by: str = "maker", at: int = 0) -> Object:
    CONFIG_MAPS.update(None, obj, by, time(at))
    obj["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    return obj


def updated(old: Object, by: str, at: int, data: Any, **metadata: Any) -> Object:
    new = {**old, "metadata": {**old["metadata"], **metadata}, "data": data}
    CONFIG_MAPS.update(old, new, by, time(at))
    return new


def applied(old: Object | None, by: str, at: int, config: Object, *, force: bool = False) -> Object:
    new = CONFIG_MAPS.apply(old, config, by, force=force, time=time(at))
    new["metadata"].setdefault("uid", "u")
    return new


def owners(obj: Object) -> dict[tuple[str, str], Any]:
    return {
        (entry["manager"], entry["operation"]): entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", ())
    }


# ---------------------------------------------------------------- updates


def test_a_new_object_belongs_to_who_made_it() -> None:
    assert created(config_map({"k": "v"}, labels={"a": "b"}))["metadata"]["managedFields"] == [
        {
            "manager": "maker",
            "operation": "Update",
            "apiVersion": "v1",
            "time": time(0),
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {".": {}, "f:k": {}}, "f:metadata": {"f:labels": {".": {}, "f:a": {}}}},
        }
    ]


def test_an_object_that_says_nothing_belongs_to_nobody() -> None:
    assert "managedFields" not in created(config_map())["metadata"]


def test_an_update_takes_what_it_changes() -> None:
    first = created(config_map({"a": "1", "b": "1"}))
    second = updated(first, "other", 1, {"a": "2", "b": "1"})
    assert owners(second) == {
        ("maker", "Update"): {"f:data": {".": {}, "f:b": {}}},
        ("other", "Update"): {"f:data": {"f:a": {}}},
    }
    times = [entry["time"] for entry in second["metadata"]["managedFields"]]
    assert times == [time(0), time(1)]


def test_an_update_that_only_removes_keeps_its_time() -> None:
    second = updated(created(config_map({"a": "1", "b": "1"})), "maker", 1, {"a": "1"})
    assert owners(second) == {("maker", "Update"): {"f:data": {".": {}, "f:a": {}}}}
    assert second["metadata"]["managedFields"][0]["time"] == time(0)


def test_who_loses_everything_is_forgotten() -> None:
    third = updated(updated(created(config_map()), "x", 1, {"a": "1"}), "y", 2, {"a": "2"})
    assert "managedFields" not in third["metadata"], "an object nobody owns anything of is not tracked later either"
    tracked = updated(created(config_map({"z": "1"})), "x", 1, {"z": "1", "a": "1"})
    assert owners(updated(tracked, "y", 2, {"z": "1", "a": "2"})).keys() == {("maker", "Update"), ("y", "Update")}


@pytest.mark.parametrize("reset", [[], [{}]])
def test_managers_are_forgotten_on_request(reset: Any) -> None:
    cleared = updated(created(config_map({"a": "1"})), "x", 1, {"a": "2"}, managedFields=reset)
    assert "managedFields" not in cleared["metadata"]


@pytest.mark.parametrize(
    "entry",
    [
        {"manager": "x", "operation": "Nope", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}},
        {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV2", "fieldsV1": {}},
        {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsV1": {}},
        {"manager": "x", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": {}},
        {"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"a": {}}},
    ],
)
def test_managed_fields_of_a_request_that_cannot_be_read_do_not_count(entry: Any) -> None:
    first = created(config_map({"a": "1"}))
    second = updated(first, "x", 1, {"a": "1"}, managedFields=[entry])
    assert second["metadata"]["managedFields"] == first["metadata"]["managedFields"]


def test_managed_fields_of_a_request_replace_those_there_are() -> None:
    entry = {
        "manager": "kubectl",
        "operation": "Apply",
        "apiVersion": "v1",
        "time": time(9),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:data": {"f:a": {}}},
    }
    second = updated(created(config_map({"a": "1"})), "x", 1, {"a": "1"}, managedFields=[entry])
    assert second["metadata"]["managedFields"] == [entry]


def test_without_a_word_managers_stay() -> None:
    first = created(config_map({"a": "1"}))
    bare = {**first, "metadata": {"name": "a"}}
    CONFIG_MAPS.update(first, bare, "x", time(1))
    assert bare["metadata"]["managedFields"] == first["metadata"]["managedFields"]


def test_at_most_ten_update_managers() -> None:
    obj = created(config_map({"k": "0"}), "m00")
    for number in range(1, 13):
        obj = updated(obj, f"m{number:02}", number, {**obj["data"], f"k{number}": "v"})
    names = [entry["manager"] for entry in obj["metadata"]["managedFields"]]
    assert names == [ANCIENT, *(f"m{number:02}" for number in range(4, 13))]
    oldest = obj["metadata"]["managedFields"][0]
    assert oldest["fieldsV1"] == {"f:data": {".": {}, "f:k": {}, "f:k1": {}, "f:k2": {}, "f:k3": {}}}
    assert oldest["time"] == time(3)


def test_items_that_cannot_be_told_apart_end_the_tracking() -> None:
    service_like = fields_of("pods")
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"containers": [None]}}
    service_like.update(None, pod, "x", time(0))
    assert "managedFields" not in pod["metadata"]


# ---------------------------------------------------------------- subresources


def deployment(status: Any, spec: Any, **metadata: Any) -> Object:
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "d", "uid": "u", **metadata},
        "spec": spec,
        "status": status,
    }


def test_each_path_tracks_what_it_can_change() -> None:
    old = deployment({}, {"replicas": 1})
    fields_of("deployments", "apps").update(None, old, "maker", time(0))
    new = deployment({"replicas": 2}, {"replicas": 5}, managedFields=[], labels={"a": "b"})
    fields_of("deployments", "apps", "status").update(old, new, "ctrl", time(1))
    assert [
        (entry["manager"], entry.get("subresource"), entry["fieldsV1"]) for entry in new["metadata"]["managedFields"]
    ] == [
        ("maker", None, {"f:spec": {"f:replicas": {}}}),
        ("ctrl", "status", {"f:status": {"f:replicas": {}}}),
    ]


def test_the_main_path_does_not_own_the_status() -> None:
    obj = deployment({"replicas": 1}, {"replicas": 1})
    fields_of("deployments", "apps").update(None, obj, "maker", time(0))
    assert "f:status" not in obj["metadata"]["managedFields"][0]["fieldsV1"]


# ---------------------------------------------------------------- applies


def conflict(old: Object, by: str, config: Object) -> StatusError:
    with pytest.raises(StatusError) as caught:
        applied(old, by, 9, config)
    assert caught.value.code == 409
    return caught.value


def test_shared_and_taken_over() -> None:
    obj = applied(None, "alpha", 0, config_map({"a": "1", "b": "1"}))
    assert owners(obj) == {("alpha", "Apply"): {"f:data": {"f:a": {}, "f:b": {}}}}
    shared = applied(obj, "beta", 1, config_map({"a": "1"}))
    assert owners(shared)["beta", "Apply"] == {"f:data": {"f:a": {}}}
    assert "time" not in shared["metadata"]["managedFields"][0], "nothing changed but who owns it"
    forced = applied(shared, "beta", 2, config_map({"a": "2"}), force=True)
    assert owners(forced) == {
        ("alpha", "Apply"): {"f:data": {"f:b": {}}},
        ("beta", "Apply"): {"f:data": {"f:a": {}}},
    }
    dropped = applied(forced, "alpha", 3, config_map({"c": "1"}))
    assert dropped["data"] == {"a": "2", "c": "1"}


def test_conflicts_are_named() -> None:
    obj = applied(None, "alpha", 0, config_map({"a": "1", "b": "1"}))
    one = conflict(obj, "beta", config_map({"a": "2"}))
    assert one.status["message"] == 'Apply failed with 1 conflict: conflict with "alpha": .data.a'
    assert one.status["details"] == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "alpha"', "field": ".data.a"}]
    }
    obj = updated(obj, "upd", 1, {"a": "1", "b": "3"})
    two = conflict(obj, "beta", config_map({"a": "2", "b": "2"}))
    assert two.status["message"] == (
        'Apply failed with 2 conflicts: conflicts with "alpha":\n- .data.a\nconflicts with "upd" using v1:\n- .data.b'
    )


def test_a_conflict_names_the_subresource() -> None:
    fields = fields_of("deployments", "apps", "status")
    config = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d"}, "status": {"replicas": 3}}
    obj = fields.apply(deployment({}, {}), config, "ctrl", force=False, time=time(0))
    with pytest.raises(StatusError, match=r'"ctrl" with subresource "status": \.status\.replicas'):
        fields.apply(obj, {**config, "status": {"replicas": 5}}, "other", force=False, time=time(1))


def test_what_was_there_before_the_first_apply_has_an_owner() -> None:
    there = config_map({"a": "1"}, uid="u")
    obj = applied(there, "alpha", 1, config_map({"b": "1"}))
    assert owners(obj) == {
        ("alpha", "Apply"): {"f:data": {"f:b": {}}},
        ("before-first-apply", "Update"): {"f:data": {".": {}, "f:a": {}}},
    }
    text = conflict(obj, "alpha", config_map({"a": "9"})).status["message"]
    assert text == 'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a'


def test_an_empty_configuration_removes_all_that_was_applied() -> None:
    obj = applied(None, "alpha", 0, config_map({"a": "1"}, labels={"x": "y"}))
    bare = applied(obj, "alpha", 1, config_map())
    assert "data" not in bare
    assert "labels" not in bare["metadata"]
    assert owners(bare) == {}


def test_what_an_update_owns_stays_when_an_applier_lets_go() -> None:
    obj = updated(applied(None, "alpha", 0, config_map({"a": "1"})), "upd", 1, {"a": "1", "b": "1"})
    obj = updated(obj, "upd", 2, {"a": "2", "b": "1"})
    assert applied(obj, "alpha", 3, config_map({}))["data"] == {"a": "2", "b": "1"}


@pytest.mark.parametrize(
    ("config", "code", "text"),
    [
        ({"metadata": {"name": "a"}}, 400, "invalid object type: /, Kind="),
        ({"apiVersion": "apps/v1", "kind": "X", "metadata": {}}, 400, "invalid object type: apps/v1, Kind=X"),
        (config_map(managedFields=[{}]), 400, "metadata.managedFields must be nil"),
        (
            {**config_map(namespace="n"), "bogus": 1},
            500,
            "failed to create typed patch object (n/a; /v1, Kind=ConfigMap): .bogus: field not declared in schema",
        ),
        (
            config_map({}, creationTimestamp="never"),
            500,
            "failed to convert new object (/a; /v1, Kind=ConfigMap) to proper version: ",
        ),
    ],
)
def test_configurations_that_cannot_be_applied(config: Object, code: int, text: str) -> None:
    with pytest.raises(StatusError) as caught:
        applied(created(config_map({"a": "1"})), "alpha", 1, config)
    assert caught.value.code == code
    assert text in caught.value.status["message"]


# ---------------------------------------------------------------- kubectl's way from one apply to the other


def client_side(data: Object, last: str) -> Object:
    return created(config_map(data, annotations={ANNOTATION: last}), "kubectl-client-side-apply")


LAST = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"1","b":"1"}}'


def test_kubectl_meets_no_conflict_over_what_it_applied_itself() -> None:
    obj = applied(client_side({"a": "1", "b": "1"}, LAST), "kubectl", 1, config_map({"a": "2"}))
    assert obj["data"] == {"a": "2", "b": "1"}
    text = obj["metadata"]["annotations"][ANNOTATION]
    assert text == '{"apiVersion":"v1","data":{"a":"2"},"kind":"ConfigMap","metadata":{"name":"a"}}\n'


def test_kubectl_does_meet_conflicts_over_what_has_changed_since() -> None:
    obj = client_side({"a": "changed", "b": "1"}, LAST)
    text = conflict(obj, "kubectl", config_map({"a": "2", "b": "2"})).status["message"]
    assert text == 'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.a'


def test_others_do_not_profit_from_the_annotation() -> None:
    obj = client_side({"a": "1", "b": "1"}, LAST)
    assert len(conflict(obj, "flux", config_map({"a": "2", "b": "2"})).status["details"]["causes"]) == 2


@pytest.mark.parametrize("last", ["", "{", "[]", LAST.replace('"v1"', '"v2"'), LAST.replace("data", "dada")])
def test_an_annotation_that_cannot_be_read_allows_nothing(last: str) -> None:
    conflict(client_side({"a": "1", "b": "1"}, last), "kubectl", config_map({"a": "2"}))


def test_an_annotation_that_would_be_too_large_goes() -> None:
    obj = applied(client_side({"a": "1", "b": "1"}, LAST), "kubectl", 1, config_map({"a": "x" * 300_000}))
    assert ANNOTATION not in obj["metadata"]["annotations"]


# ---------------------------------------------------------------- small parts


def test_times_alone_are_no_change() -> None:
    old = created(config_map({"a": "1"}))
    entry = {**old["metadata"]["managedFields"][0], "time": time(7)}
    same = {**old, "metadata": {**old["metadata"], "managedFields": [entry]}}
    keep_times(old, same)
    assert same == old
    other = {**old, "data": {"a": "2"}, "metadata": {**old["metadata"], "managedFields": [entry]}}
    keep_times(old, other)
    assert other["metadata"]["managedFields"] == [entry]


@pytest.mark.parametrize(
    ("given", "agent", "expected"),
    [
        ("me", "kubectl/v1", "me"),
        ("", "kubectl/v1.36.0 (linux/amd64)", "kubectl"),
        ("", "no slash at all", "no slash at all"),
        ("", "a\x00b/1", "ab"),
        ("", "x" * 200, "x" * 128),
        ("", "", "unknown"),
    ],
)
def test_who_a_write_is_put_down_to(given: str, agent: str, expected: str) -> None:
    assert manager_name(given, agent) == expected
