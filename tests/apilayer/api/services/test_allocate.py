"""What a service is given, by type and by what it asks for; the texts of refusals are kube-apiserver's."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from apilayer.api.services.allocate import allocate, drop_unused
from apilayer.api.services.ranges import PortRange, parse_ip_ranges
from apilayer.api.services.spec import Claims, claims_of
from apilayer.api.status import StatusError

Object = dict[str, Any]


class Pool:
    """Everything in memory."""

    def __init__(self, ranges: str = "10.0.0.0/24", ports: str = "30000-30003") -> None:
        self.ranges = parse_ip_ranges(ranges)
        self.families = [item.family for item in self.ranges]
        low, _, high = ports.partition("-")
        self.port_range = PortRange(int(low), int(high))
        self.ips = {"10.0.0.5"}
        self.ports = {30001}

    def ip_ranges(self) -> Any:
        return self.ranges

    def ip_taken(self, address: str) -> bool:
        return address in self.ips

    def port_taken(self, port: int) -> bool:
        return port in self.ports


DUAL = "10.0.0.0/24,fd00::/112"
WEB = {"port": 80, "protocol": "TCP"}


def given(spec: Object, pool: Pool | None = None, old: Object | None = None) -> Object:
    service = {"metadata": {"name": "s"}, "spec": copy.deepcopy(spec)}
    before = None if old is None else {"metadata": {"name": "s"}, "spec": old}
    allocate(service, before, pool or Pool())
    if old is not None:
        drop_unused(service["spec"], old)
    return service["spec"]


def refused(spec: Object, pool: Pool | None = None, old: Object | None = None) -> tuple[int, str]:
    with pytest.raises(StatusError) as caught:
        given(spec, pool, old)
    return caught.value.code, str(caught.value)


def test_a_cluster_ip_of_the_default_family() -> None:
    spec = given({"ports": [WEB]})
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert spec["clusterIP"].startswith("10.0.0.")
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4"], "SingleStack")


@pytest.mark.parametrize(
    ("spec", "families", "policy"),
    [
        ({"ipFamilyPolicy": "PreferDualStack"}, ["IPv4", "IPv6"], "PreferDualStack"),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, ["IPv6", "IPv4"], "RequireDualStack"),
        ({"ipFamilies": ["IPv6"]}, ["IPv6"], "SingleStack"),
        ({"clusterIP": "fd00::7"}, ["IPv6"], "SingleStack"),
        ({"clusterIP": "None"}, ["IPv4", "IPv6"], "RequireDualStack"),
        ({"clusterIP": "None", "selector": {"a": "b"}}, ["IPv4"], "SingleStack"),
    ],
)
def test_families_of_a_dual_stack_cluster(spec: Object, families: list[str], policy: str) -> None:
    found = given(spec, Pool(DUAL))
    assert (found["ipFamilies"], found["ipFamilyPolicy"]) == (families, policy)
    if spec.get("clusterIP") == "None":
        assert found["clusterIPs"] == ["None"]
    else:
        assert ["IPv6" if ":" in ip else "IPv4" for ip in found["clusterIPs"]] == families


def test_a_preference_on_a_single_stack_cluster() -> None:
    assert given({"ipFamilyPolicy": "PreferDualStack"})["ipFamilies"] == ["IPv4"]


def test_a_headless_service_without_selector_has_both_families_everywhere() -> None:
    spec = given({"clusterIP": "None"})
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv4", "IPv6"], "RequireDualStack")


def test_an_external_name_gets_nothing() -> None:
    assert given({"type": "ExternalName", "externalName": "x.y"}) == {"type": "ExternalName", "externalName": "x.y"}


INVALID = 'Service "s" is invalid: '


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (
            {"clusterIP": "10.0.0.5"},
            'spec.clusterIPs: Invalid value: ["10.0.0.5"]: failed to allocate IP 10.0.0.5: '
            "provided IP is already allocated",
        ),
        (
            {"clusterIP": "10.1.0.5"},
            'spec.clusterIPs: Invalid value: ["10.1.0.5"]: failed to allocate IP 10.1.0.5: '
            "the provided network does not match the current range",
        ),
        (
            {"clusterIP": "10.0.0.255"},
            'spec.clusterIPs: Invalid value: ["10.0.0.255"]: failed to allocate IP 10.0.0.255: '
            "the provided IP (10.0.0.255) is not in the valid range. The range of valid IPs is 10.0.0.0/24",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]},
            "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
        ),
        (
            {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]},
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
            "The range of valid ports is 30000-30003",
        ),
        (
            {"ipFamilyPolicy": "RequireDualStack"},
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
            "this cluster is not configured for dual-stack services",
        ),
        ({"ipFamilies": ["IPv6"]}, 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
        (
            {"clusterIP": "fd00::1"},
            'spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster',
        ),
        (
            {"ipFamilies": ["IPv4", "IPv6"]},
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' "
            "when multiple IP families are specified",
        ),
        ({"ipFamilies": ["IPv4", "IPv4"]}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
        (
            {"clusterIP": "x"},
            'spec.clusterIPs[0]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)',
        ),
        (
            {"clusterIP": "10.0.0.7", "clusterIPs": ["10.0.0.8"]},
            'spec.clusterIPs: Invalid value: ["10.0.0.8"]: first value must match `clusterIP`',
        ),
        (
            {"clusterIPs": ["10.0.0.8"]},
            'spec.clusterIPs: Invalid value: ["10.0.0.8"]: must be empty when `clusterIP` is not specified',
        ),
        (
            {"clusterIP": "10.0.0.8", "clusterIPs": ["10.0.0.8"], "ipFamilies": ["IPv6"]},
            'spec.clusterIPs[0]: Invalid value: "10.0.0.8": expected an IPv6 value as indicated by `ipFamilies[0]`',
        ),
    ],
)
def test_refusals(spec: Object, text: str) -> None:
    assert refused(spec) == (422, INVALID + text)


def test_nothing_left() -> None:
    pool = Pool("10.0.0.0/29", "30001-30001")
    pool.ips = {f"10.0.0.{number}" for number in range(1, 7)}
    internal = "Internal error occurred: failed to allocate a "
    assert refused({}, pool) == (500, internal + "serviceIP: range is full")
    assert refused({"clusterIP": "None", "type": "NodePort", "ports": [WEB]}, pool) == (
        500,
        internal + "nodePort: range is full",
    )


def test_node_ports() -> None:
    spec = given({"type": "NodePort", "ports": [{"port": 1}, {"port": 2, "nodePort": 30000}, {"port": 3}]})
    assert sorted(port["nodePort"] for port in spec["ports"]) == [30000, 30002, 30003]


def test_two_protocols_of_one_port_share_its_node_port() -> None:
    spec = given({"type": "NodePort", "ports": [{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]})
    assert spec["ports"][0]["nodePort"] == spec["ports"][1]["nodePort"]


def test_a_load_balancer_may_do_without_node_ports() -> None:
    spec = given({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False, "ports": [{"port": 1}]})
    assert "nodePort" not in spec["ports"][0]
    assert "healthCheckNodePort" not in spec


def test_local_traffic_needs_a_health_port() -> None:
    local = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 1}]}
    spec = given(local)
    assert spec["healthCheckNodePort"] in {30000, 30002, 30003} - {spec["ports"][0]["nodePort"]}
    assert given({**local, "healthCheckNodePort": 30002})["healthCheckNodePort"] == 30002
    assert refused({**local, "healthCheckNodePort": 30001}) == (
        500,
        "Internal error occurred: failed to allocate requested HealthCheck NodePort 30001: "
        "provided port is already allocated",
    )


STORED = {
    "type": "NodePort",
    "clusterIP": "10.0.0.5",
    "clusterIPs": ["10.0.0.5"],
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
    "ports": [{"name": "a", "port": 80, "nodePort": 30001}],
}


def test_an_update_that_leaves_out_what_was_given_keeps_it() -> None:
    assert given({"type": "NodePort", "ports": [{"name": "a", "port": 80}]}, old=STORED) == STORED


def test_a_type_that_uses_less_lets_go() -> None:
    spec = given({**copy.deepcopy(STORED), "type": "ClusterIP"}, old=STORED)
    assert "nodePort" not in spec["ports"][0]
    assert spec["clusterIP"] == "10.0.0.5"
    spec = given({**copy.deepcopy(STORED), "type": "ExternalName", "externalName": "x"}, old=STORED)
    assert set(spec) == {"type", "externalName", "ports"}
    assert not claims_of({"spec": spec})


def test_a_type_that_uses_more_gets_it() -> None:
    old = {"type": "ExternalName", "externalName": "x"}
    spec = given({"type": "LoadBalancer", "ports": [{"port": 1}]}, old=old)
    assert spec["clusterIP"]
    assert spec["ports"][0]["nodePort"]


def test_from_one_family_to_two_and_back() -> None:
    pool = Pool(DUAL)
    dual = given({**copy.deepcopy(STORED), "ipFamilyPolicy": "RequireDualStack"}, pool, STORED)
    assert dual["clusterIPs"][0] == "10.0.0.5"
    assert dual["clusterIPs"][1].startswith("fd00::")
    back = given({**copy.deepcopy(dual), "ipFamilyPolicy": "SingleStack"}, pool, dual)
    assert (back["clusterIPs"], back["ipFamilies"]) == (["10.0.0.5"], ["IPv4"])
    fewer = {**copy.deepcopy(dual), "clusterIPs": ["10.0.0.5"]}
    assert refused(fewer, pool, dual)[1].endswith("must be 'SingleStack' to release the secondary cluster IP")


def test_a_preference_is_not_acted_on_by_itself_when_the_cluster_changes() -> None:
    old = {**STORED, "ipFamilyPolicy": "PreferDualStack"}
    assert given(old, Pool(DUAL), old)["clusterIPs"] == ["10.0.0.5"]


@pytest.mark.parametrize(
    ("spec", "ips", "ports"),
    [
        (STORED, {"10.0.0.5"}, {30001}),
        ({**STORED, "type": "ClusterIP"}, {"10.0.0.5"}, set()),
        ({**STORED, "type": "ExternalName"}, set(), set()),
        ({"clusterIP": "None", "clusterIPs": ["None"]}, set(), set()),
        (
            {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30002},
            set(),
            {30002},
        ),
    ],
)
def test_what_a_service_holds(spec: Object, ips: set[str], ports: set[int]) -> None:
    assert claims_of({"spec": spec}) == Claims(frozenset(ips), frozenset(ports))
