"""Endpoints and EndpointSlices: as tables, and over a real store."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from apilayer.client.interface import Ref
from apilayer.controllers.backends import backends, selects
from apilayer.controllers.endpoints import EndpointsController, wanted
from apilayer.controllers.endpointslices import MAX_ENDPOINTS, SERVICE_LABEL, EndpointSliceController, plan

if TYPE_CHECKING:
    from tests.apilayer.controllers.conftest import World

Object = dict[str, Any]


def service(**spec: Any) -> Object:
    metadata = {"name": "web", "namespace": "default", "uid": "s", "labels": {"team": "a"}}
    given = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}], **spec}
    return {"metadata": metadata, "spec": {"ipFamilies": ["IPv4"], **given}}


def pod(name: str, *ips: str, ready: bool = True, phase: str = "Running", **metadata: Any) -> Object:
    ports = [{"name": "web", "containerPort": 9000, "protocol": "TCP"}]
    state: Object = {"phase": phase, "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}
    if ips:
        state |= {"podIP": ips[0], "podIPs": [{"ip": ip} for ip in ips]}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"u-{name}", "labels": {"app": "web"}, **metadata},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": ports}], "nodeName": "n1"},
        "status": state,
    }


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        (None, {"a": "b"}, False),
        ({}, {"a": "b"}, False),
        ({"a": "b"}, {"a": "b", "c": "d"}, True),
        ({"a": "b", "c": "d"}, {"a": "b"}, False),
        ({"a": "b"}, None, False),
    ],
)
def test_selectors(selector: Any, labels: Any, expected: bool) -> None:
    assert selects({"spec": {"selector": selector}}, labels) is expected


ENDING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("item", "spec", "conditions"),
    [
        (pod("a", "10.1.0.1"), {}, (True, True, False)),
        (pod("a", "10.1.0.1", ready=False), {}, (False, False, False)),
        (pod("a", "10.1.0.1", ready=False), {"publishNotReadyAddresses": True}, (True, False, False)),
        (pod("a", "10.1.0.1", **ENDING), {}, (False, True, True)),
        (pod("a"), {}, None),
        (pod("a", "fd00::1"), {}, None),
        (pod("a", "fd00::1", "10.1.0.1"), {}, (True, True, False)),
        (pod("a", "10.1.0.1", phase="Succeeded"), {}, None),
        (pod("a", "10.1.0.1", labels={"app": "other"}), {}, None),
    ],
)
def test_what_stands_behind_a_service(item: Object, spec: Object, conditions: Any) -> None:
    found = [(one.ready, one.serving, one.terminating) for one in backends(service(**spec), [item], "IPv4")]
    assert found == ([] if conditions is None else [conditions])


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        ({"port": 80}, 80),
        ({"port": 80, "targetPort": 8080}, 8080),
        ({"port": 80, "targetPort": "web"}, 9000),
        ({"port": 80, "targetPort": "unheard"}, None),
        ({"port": 80, "targetPort": "web", "protocol": "UDP"}, None),
    ],
)
def test_ports(port: Object, expected: int | None) -> None:
    (found,) = backends(service(ports=[port]), [pod("a", "10.1.0.1")], "IPv4")
    assert [number for _, _, number, _ in found.ports] == ([] if expected is None else [expected])


def test_a_slice() -> None:
    todo = plan(service(), [pod("a", "10.1.0.1")], [], {"n1": "z"})
    (made,) = todo.create
    assert made["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert made["metadata"]["ownerReferences"][0]["uid"] == "s"
    assert made["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert made["endpoints"] == [
        {
            "addresses": ["10.1.0.1"],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "a", "uid": "u-a"},
            "nodeName": "n1",
            "zone": "z",
        }
    ]


def stored(name: str, content: Object) -> Object:
    return {**content, "metadata": {**content["metadata"], "name": name}}


def test_nothing_to_do_when_nothing_changed() -> None:
    pods = [pod(f"p{number:03}", f"10.1.{number // 250}.{number % 250 + 1}") for number in range(MAX_ENDPOINTS + 1)]
    made = plan(service(), pods, [], {}).create
    assert [len(item["endpoints"]) for item in made] == [MAX_ENDPOINTS, 1]
    existing = [stored(f"web-{index}", item) for index, item in enumerate(made)]
    todo = plan(service(), pods, existing, {})
    assert (todo.create, todo.update, todo.delete) == ([], {}, [])
    todo = plan(service(), pods[:1], existing, {})
    assert (list(todo.update), todo.delete) == (["web-0"], ["web-1"])


def test_slices_by_family_and_by_what_named_ports_mean() -> None:
    both = service(ipFamilies=["IPv4", "IPv6"])
    made = plan(both, [pod("a", "10.1.0.1", "fd00::1")], [], {}).create
    assert [(item["addressType"], item["endpoints"][0]["addresses"]) for item in made] == [
        ("IPv4", ["10.1.0.1"]),
        ("IPv6", ["fd00::1"]),
    ]
    other = pod("b", "10.1.0.2")
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = 9001
    named = service(ports=[{"port": 80, "targetPort": "web"}])
    made = plan(named, [pod("a", "10.1.0.1"), other], [], {}).create
    assert sorted(item["ports"][0]["port"] for item in made) == [9000, 9001]


def test_a_headless_service_says_so() -> None:
    made = plan(service(clusterIP="None"), [], [], {}).create
    assert made[0]["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert made[0]["endpoints"] is None


def test_endpoints() -> None:
    found = wanted(service(), [pod("b", "10.1.0.2", ready=False), pod("a", "10.1.0.1"), pod("c", "10.1.0.3", **ENDING)])
    (subset,) = found["subsets"]
    assert [item["ip"] for item in subset["addresses"]] == ["10.1.0.1"]
    assert [item["ip"] for item in subset["notReadyAddresses"]] == ["10.1.0.2"]
    assert subset["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]
    assert "subsets" not in wanted(service(), [])


# ---------------------------------------------------------------------- over a real store


def with_status(status: Object, old: Object) -> Object:
    return {**old, "status": status}


async def addresses(world: World) -> tuple[list[str], list[str]]:
    """Of the service, in its slices and in its Endpoints."""
    api = world.registry.of("endpointslices.discovery.k8s.io")
    await api.lists.refresh()
    slices = [entry.object() for entry in world.registry.cache.of(api.resource).entries()]
    sliced = [
        item["addresses"][0]
        for one in slices
        if one["metadata"]["labels"].get(SERVICE_LABEL) == "web"
        for item in one.get("endpoints") or ()
    ]
    endpoints = await world.get(Ref("endpoints", "default", "web")) or {}
    return sorted(sliced), [
        item["ip"] for subset in endpoints.get("subsets") or () for item in subset.get("addresses") or ()
    ]


async def test_pods_come_and_go(world: World) -> None:
    await world.start(EndpointSliceController, EndpointsController)
    given = service()
    del given["metadata"]["uid"]
    await world.create("services", given)
    for name, ip in (("a", "10.1.0.1"), ("b", "10.1.0.2")):
        item = pod(name, ip)
        await world.create("pods", item)
        await world.change(Ref("pods", "default", name), partial(with_status, item["status"]), "status")
    expected = ["10.1.0.1", "10.1.0.2"]
    await world.eventually(lambda: addresses(world), lambda found: found == (expected, expected))
    await world.delete(Ref("pods", "default", "a"))
    await world.eventually(lambda: addresses(world), lambda found: found == (expected[1:], expected[1:]))
    await world.delete(Ref("services", "default", "web"))
    await world.gone(Ref("endpoints", "default", "web"))


async def test_endpoints_of_a_service_without_selector_are_its_users(world: World) -> None:
    controllers = await world.start(EndpointSliceController, EndpointsController)
    subset = {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80, "protocol": "TCP"}]}
    await world.create("endpoints", {"metadata": {"name": "web"}, "subsets": [subset]})
    await world.create("services", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80, "protocol": "TCP"}]}})
    await world.idle(*controllers)
    kept = await world.get(Ref("endpoints", "default", "web"))
    assert kept is not None
    assert kept["subsets"] == [subset]
    assert await world.names("endpointslices.discovery.k8s.io", "default") == set()
