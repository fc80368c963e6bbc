"""Endpoints of Services with selectors, the older form of EndpointSlices that clients still read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from apilayer.api.status import StatusError
from apilayer.client.interface import Ref
from apilayer.controllers.backends import HEADLESS_LABEL, backends, families, is_managed, port_objects, target_of
from apilayer.controllers.by_service import ByService
from apilayer.controllers.controller import MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.client.interface import Object
    from apilayer.controllers.backends import Backend, PortKey

MANAGED_LABEL = "endpoints.kubernetes.io/managed-by"
MANAGED_BY = "endpoint-controller"
MAX_ADDRESSES = 1000
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"


def wanted(service: Object, pods: Iterable[Object]) -> Object:
    """The Endpoints of a service: addresses of its first family, by the ports that they share. Pure."""
    members = backends(service, pods, families(service)[0])
    members = [item for item in members if not item.terminating or item.ready]
    # Ready ones are kept when there are too many.
    kept = sorted(members, key=lambda item: not item.ready)[:MAX_ADDRESSES]
    by_ports: dict[PortKey, list[Backend]] = {}
    for item in sorted(kept, key=lambda item: item.pod):
        by_ports.setdefault(item.ports, []).append(item)
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), MANAGED_LABEL: MANAGED_BY}
    labels.pop(HEADLESS_LABEL, None)
    if (service.get("spec") or {}).get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    obj: Object = {"metadata": {"name": metadata["name"], "labels": labels}}
    if len(kept) < len(members):
        obj["metadata"]["annotations"] = {OVER_CAPACITY: "truncated"}
    subsets = [_subset(ports, group, metadata["namespace"]) for ports, group in sorted(by_ports.items())]
    return {**obj, "subsets": subsets} if subsets else obj


def _subset(ports: PortKey, group: list[Backend], namespace: str) -> Object:
    subset: Object = {}
    for key, ready in (("addresses", True), ("notReadyAddresses", False)):
        addresses = [_address(item, namespace) for item in group if item.ready is ready]
        if addresses:
            subset[key] = addresses
    if ports:
        subset["ports"] = [{key: value for key, value in port.items() if value} for port in port_objects(ports)]
    return subset


def _address(backend: Backend, namespace: str) -> Object:
    address: Object = {"ip": backend.address}
    if backend.hostname:
        address["hostname"] = backend.hostname
    if backend.node:
        address["nodeName"] = backend.node
    address["targetRef"] = target_of(backend, namespace)
    return address


class EndpointsController(ByService):
    """Writes the Endpoints of the service's name."""

    name: ClassVar[str] = "endpoints-controller"
    made: ClassVar[str] = "endpoints"

    def service_of(self, obj: Object) -> str:
        """They have the same name."""
        return str(obj["metadata"]["name"])

    async def sync(self, ref: Ref) -> None:
        """One service; one that is gone takes its Endpoints with it, those without selector are their users'."""
        where = Ref(self.made, ref.namespace, ref.name)
        there = self.cluster.cached_one(where)
        existing = there.object() if there is not None else None
        service = self.service(ref)
        if service is None:
            if existing is not None and (existing["metadata"].get("labels") or {}).get(MANAGED_LABEL) == MANAGED_BY:
                await self._delete(where)
            return
        if not is_managed(service):
            return
        content = wanted(service, self.pods_of(service))
        if existing is None:
            await self.cluster.create(self.made, ref.namespace, content, MANAGER)
        elif _content(existing) != _content(content):
            await self.cluster.change(where, lambda old: _merged(old, content), MANAGER)

    async def _delete(self, ref: Ref) -> None:
        try:
            await self.cluster.delete(ref)
        except StatusError as error:
            if error.code != 404:
                raise


def _content(obj: Object) -> tuple[object, ...]:
    annotations = obj["metadata"].get("annotations") or {}
    return obj["metadata"].get("labels"), obj.get("subsets") or None, annotations.get(OVER_CAPACITY)


def _merged(old: Object, content: Object) -> Object:
    annotations = dict(old["metadata"].get("annotations") or {})
    annotations.pop(OVER_CAPACITY, None)
    annotations.update(content["metadata"].get("annotations") or {})
    metadata = {**old["metadata"], "labels": content["metadata"]["labels"], "annotations": annotations}
    if not annotations:
        del metadata["annotations"]
    new = {**old, "metadata": metadata}
    new.pop("subsets", None)
    return {**new, "subsets": content["subsets"]} if "subsets" in content else new
