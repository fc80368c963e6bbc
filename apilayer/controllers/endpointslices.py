"""EndpointSlices of Services with selectors: which pods stand behind each, a hundred to a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from apilayer.api.status import StatusError
from apilayer.client.interface import Ref
from apilayer.controllers.backends import (
    HEADLESS_LABEL,
    backends,
    families,
    is_managed,
    port_objects,
    target_of,
)
from apilayer.controllers.by_service import ByService
from apilayer.controllers.controller import MANAGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from apilayer.client.interface import Object
    from apilayer.controllers.backends import Backend, PortKey

SERVICE_LABEL = "kubernetes.io/service-name"
MANAGED_LABEL = "endpointslice.kubernetes.io/managed-by"
MANAGED_BY = "endpointslice-controller.k8s.io"
MAX_ENDPOINTS = 100
ZONE_LABEL = "topology.kubernetes.io/zone"


@attrs.frozen
class Plan:
    """What is to be done about a service's slices; those to update by name."""

    create: Sequence[Object]
    update: Mapping[str, Object]
    delete: Sequence[str]


def plan(service: Object, pods: Iterable[Object], existing: Sequence[Object], zones: Mapping[str, str]) -> Plan:
    """Slices as they are wanted, put into the existing ones so that few of these change. Pure."""
    wanted = _wanted(service, list(pods), zones)
    left = sorted(existing, key=lambda item: str(item["metadata"]["name"]))
    create, update = [], {}
    for content in wanted:
        fitting = next((item for item in left if _same_kind(item, content)), None)
        if fitting is None:
            create.append(content)
            continue
        left.remove(fitting)
        if _content(fitting) != _content(content):
            update[fitting["metadata"]["name"]] = content
    return Plan(create, update, [item["metadata"]["name"] for item in left])


def _wanted(service: Object, pods: list[Object], zones: Mapping[str, str]) -> list[Object]:
    found = []
    for family in families(service):
        by_ports: dict[PortKey, list[Backend]] = {}
        for backend in backends(service, pods, family):
            by_ports.setdefault(backend.ports, []).append(backend)
        for ports, members in sorted(by_ports.items()) or [((), [])]:
            starts = range(0, max(len(members), 1), MAX_ENDPOINTS)
            found += [_slice(service, family, ports, members[at : at + MAX_ENDPOINTS], zones) for at in starts]
    return found


def _slice(
    service: Object, family: str, ports: PortKey, members: Sequence[Backend], zones: Mapping[str, str]
) -> Object:
    metadata = service["metadata"]
    labels = {**(metadata.get("labels") or {}), SERVICE_LABEL: metadata["name"], MANAGED_LABEL: MANAGED_BY}
    labels.pop(HEADLESS_LABEL, None)
    if (service.get("spec") or {}).get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "metadata": {"generateName": f"{metadata['name']}-", "labels": labels, "ownerReferences": [owner]},
        "addressType": family,
        "endpoints": [_endpoint(item, metadata["namespace"], zones) for item in members] or None,
        "ports": port_objects(ports) or None,
    }


def _endpoint(backend: Backend, namespace: str, zones: Mapping[str, str]) -> Object:
    endpoint: Object = {
        "addresses": [backend.address],
        "conditions": {"ready": backend.ready, "serving": backend.serving, "terminating": backend.terminating},
        "targetRef": target_of(backend, namespace),
    }
    if backend.hostname:
        endpoint["hostname"] = backend.hostname
    if backend.node:
        endpoint["nodeName"] = backend.node
        if backend.node in zones:
            endpoint["zone"] = zones[backend.node]
    return endpoint


def _same_kind(one: Object, other: Object) -> bool:
    """Whether one slice can become the other: its address type never changes; its ports are compared first."""
    return one.get("addressType") == other.get("addressType")


def _content(item: Object) -> tuple[object, ...]:
    metadata = item["metadata"]
    return (
        metadata.get("labels"),
        metadata.get("ownerReferences"),
        item.get("endpoints") or None,
        item.get("ports") or None,
    )


class EndpointSliceController(ByService):
    """Writes slices that carry its label, and no others."""

    name: ClassVar[str] = "endpointslice-controller"
    made: ClassVar[str] = "endpointslices.discovery.k8s.io"

    def service_of(self, obj: Object) -> str:
        """By label, if the slice is one of this controller's."""
        labels = obj["metadata"].get("labels") or {}
        return labels.get(SERVICE_LABEL, "") if labels.get(MANAGED_LABEL) == MANAGED_BY else ""

    async def sync(self, ref: Ref) -> None:
        """One service. What a service that is gone leaves is garbage, and collected as such."""
        service = self.service(ref)
        if service is None:
            return
        existing = [item for item in self._slices(ref.namespace) if self.service_of(item) == ref.name]
        if is_managed(service):
            todo = plan(service, self.pods_of(service), existing, self._zones())
        else:
            todo = Plan((), {}, [item["metadata"]["name"] for item in existing])
        for content in todo.create:
            await self.cluster.create(self.made, ref.namespace, content, MANAGER)
        for name, content in todo.update.items():
            await self._update(Ref(self.made, ref.namespace, name), content)
        for name in todo.delete:
            await self._delete(Ref(self.made, ref.namespace, name))
        if todo.create:
            # Until the cache shows what was made, another round would make it again.
            await self.cluster.refresh()

    async def _update(self, ref: Ref, content: Object) -> None:
        def change(old: Object) -> Object:
            metadata = {key: value for key, value in content["metadata"].items() if key != "generateName"}
            return {**old, **content, "metadata": {**old["metadata"], **metadata}}

        await self.cluster.change(ref, change, MANAGER)

    async def _delete(self, ref: Ref) -> None:
        try:
            await self.cluster.delete(ref)
        except StatusError as error:
            if error.code != 404:
                raise

    def _slices(self, namespace: str) -> list[Object]:
        return [entry.object() for entry in self.cluster.cached(self.made, namespace)]

    def _zones(self) -> dict[str, str]:
        found = {}
        for entry in self.cluster.cached("nodes"):
            metadata = entry.object()["metadata"]
            zone = (metadata.get("labels") or {}).get(ZONE_LABEL)
            if zone:
                found[metadata["name"]] = zone
        return found
