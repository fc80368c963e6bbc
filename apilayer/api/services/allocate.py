"""Gives a Service its cluster IPs and node ports: what was asked for if it is free, anything free otherwise.

Changes the service in place. Nothing is reserved here: what is chosen may turn out to be taken by somebody else
when it is reserved, and then the whole is done again.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

from apilayer.api import field, status
from apilayer.api.services.families import keep_addresses, settle_families, synchronize
from apilayer.api.services.ranges import contains_any, family_of
from apilayer.api.services.spec import (
    Claims,
    claims_of,
    is_headless,
    may_have_node_ports,
    needs_cluster_ip,
    needs_health_port,
    needs_node_ports,
    node_ports,
    spec_of,
    type_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.api.services.ranges import IpRange, PortRange

Object = dict[str, Any]


class Refused(status.StatusError):
    """A value that was asked for is not free, or nothing is, as far as is known now."""


class Pool(Protocol):
    """What can be given out, and what has been, as far as is known now."""

    families: Sequence[str]
    """The cluster's families, the default one first."""
    port_range: PortRange

    def ip_ranges(self) -> Sequence[IpRange]:
        """Where cluster IPs come from, in order of preference."""

    def ip_taken(self, address: str) -> bool:
        """Whether a service has the address."""

    def port_taken(self, port: int) -> bool:
        """Whether a service has the node port."""


def allocate(service: Object, old: Object | None, pool: Pool) -> None:
    """Completes a new service (`old` None) or a changed one. Raises StatusError 422, Refused 422 or 500."""
    spec = spec_of(service)
    before = (old or {}).get("spec") or {}
    if old is not None:
        _keep(spec, before)
    synchronize(spec, before if old is not None else None)
    name = service["metadata"].get("name") or ""
    wrong = settle_families(spec, before if old is not None else None, pool.families)
    if wrong:
        raise status.invalid("Service", "", name, wrong)
    held = claims_of(old)
    if needs_cluster_ip(spec) and not is_headless(spec):
        _give_ips(name, spec, before, held, pool)
    _Ports(name, spec, held, pool).give()


def _keep(spec: Object, before: Object) -> None:
    """What the service has and the update leaves out stays, so that applying a manifest again changes nothing."""
    keep_addresses(spec, before)
    if needs_node_ports(before) and needs_node_ports(spec):
        used = set(node_ports(before)) & set(node_ports(spec))
        by_name = {port.get("name") or "": port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            known = by_name.get(port.get("name") or "")
            if not port.get("nodePort") and known and known not in used:
                port["nodePort"] = known
                used.add(known)
    if needs_health_port(before) and needs_health_port(spec) and not spec.get("healthCheckNodePort"):
        known = before.get("healthCheckNodePort")
        if known:
            spec["healthCheckNodePort"] = known


def _give_ips(name: str, spec: Object, before: Object, held: Claims, pool: Pool) -> None:
    """An address of each family: the first two entries of ipFamilies."""
    if before and needs_cluster_ip(before) and is_headless(before):
        return
    ips = list(spec.get("clusterIPs") or [])
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if index < len(ips) and ips[index]:
            if ips[index] not in held.ips and not _changes_the_first(index, before):
                _check_ip(name, ips, ips[index], pool)
            continue
        found = None
        for item in pool.ip_ranges():
            if found is None and item.family == family:
                found = item.pick(pool.ip_taken)
        if found is None:
            raise _full("failed to allocate a serviceIP: range is full")
        ips[index:] = [found]
    spec["clusterIPs"] = ips
    if ips:
        spec["clusterIP"] = ips[0]


def _changes_the_first(index: int, before: Object) -> bool:
    """Whether an address that may never change is changed, which validation refuses with its own text."""
    return index == 0 and needs_cluster_ip(before) and bool(before.get("clusterIPs"))


def _check_ip(name: str, ips: list[str], wanted: str, pool: Pool) -> None:
    canonical = str(ip_address(wanted))
    ranges = [item for item in pool.ip_ranges() if item.family == family_of(canonical)]
    if not contains_any(ranges, canonical):
        reason = "the provided network does not match the current range"
        if len(ranges) == 1 and ip_address(canonical) in ranges[0].network:
            reason = (
                f"the provided IP ({canonical}) is not in the valid range. "
                f"The range of valid IPs is {ranges[0].network}"
            )
    elif pool.ip_taken(canonical):
        reason = "provided IP is already allocated"
    else:
        return
    raise _refused(name, field.invalid("spec.clusterIPs", ips, f"failed to allocate IP {wanted}: {reason}"))


class _Ports:
    """Gives out the node ports of one service."""

    def __init__(self, name: str, spec: Object, held: Claims, pool: Pool) -> None:
        self._name = name
        self._spec = spec
        self._mine = set(held.ports)
        self._pool = pool

    def give(self) -> None:
        if may_have_node_ports(self._spec):
            self._give_each()
        if needs_health_port(self._spec):
            self._give_health()

    def _give_each(self) -> None:
        """Ports of the same number (of two protocols) share a node port."""
        ports = self._spec.get("ports") or []
        shared: dict[int, int] = {}
        for port in ports:
            if port.get("nodePort"):
                shared.setdefault(port.get("port", 0), port["nodePort"])
        for index, port in enumerate(ports):
            wanted = port.get("nodePort")
            if wanted:
                reason = self._reason_against(wanted)
                if reason:
                    error = field.invalid(f"spec.ports[{index}].nodePort", wanted, reason)
                    raise _refused(self._name, error)
                self._mine.add(wanted)
        if not needs_node_ports(self._spec):
            return
        for port in ports:
            if not port.get("nodePort"):
                number = port.get("port", 0)
                known = shared.get(number)
                if known is None or self._clashes(port, known):
                    known = self._any("failed to allocate a nodePort: range is full")
                shared.setdefault(number, known)
                port["nodePort"] = known

    def _clashes(self, port: Object, known: int) -> bool:
        """Whether a port of the same protocol has the node port already."""
        protocol = port.get("protocol") or "TCP"
        return any(
            other.get("nodePort") == known and (other.get("protocol") or "TCP") == protocol
            for other in self._spec.get("ports") or ()
        )

    def _give_health(self) -> None:
        wanted = self._spec.get("healthCheckNodePort")
        if not wanted:
            self._spec["healthCheckNodePort"] = self._any("failed to allocate a HealthCheck NodePort 0: range is full")
            return
        reason = self._reason_against(wanted)
        if reason:
            raise _full(f"failed to allocate requested HealthCheck NodePort {wanted}: {reason}")
        self._mine.add(wanted)

    def _any(self, otherwise: str) -> int:
        found = self._pool.port_range.pick(lambda port: port in self._mine or self._pool.port_taken(port))
        if found is None:
            raise _full(otherwise)
        self._mine.add(found)
        return found

    def _reason_against(self, port: int) -> str:
        """Why the port cannot be had; "" when it can."""
        if port in self._mine:
            return ""
        if port not in self._pool.port_range:
            return f"provided port is not in the valid range. The range of valid ports is {self._pool.port_range}"
        return "provided port is already allocated" if self._pool.port_taken(port) else ""


def _refused(name: str, error: field.FieldError) -> Refused:
    full = status.invalid("Service", "", name, [error])
    return Refused(full.code, full.status)


def _full(message: str) -> Refused:
    error = status.internal_error(message)
    return Refused(error.code, error.status)


def drop_unused(spec: Object, before: Object) -> None:
    """Removes what the new type does not use, where the update left it as it was."""
    if needs_cluster_ip(before) and not needs_cluster_ip(spec):
        if (spec.get("clusterIPs") or []) == (before.get("clusterIPs") or []):
            spec.pop("clusterIP", None)
            spec.pop("clusterIPs", None)
        for key in ("ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"):
            _drop_same(spec, before, key)
    if needs_node_ports(before) and not needs_node_ports(spec) and set(node_ports(spec)) == set(node_ports(before)):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)
    if needs_health_port(before) and not needs_health_port(spec):
        _drop_same(spec, before, "healthCheckNodePort")
    if type_of(before) == "LoadBalancer" != type_of(spec):
        _drop_same(spec, before, "allocateLoadBalancerNodePorts")
        _drop_same(spec, before, "loadBalancerClass")
    if _is_external(before) and not _is_external(spec):
        _drop_same(spec, before, "externalTrafficPolicy")


def _is_external(spec: Object) -> bool:
    return may_have_node_ports(spec) or (type_of(spec) == "ClusterIP" and bool(spec.get("externalIPs")))


def _drop_same(spec: Object, before: Object, key: str) -> None:
    if spec.get(key) == before.get(key):
        spec.pop(key, None)
