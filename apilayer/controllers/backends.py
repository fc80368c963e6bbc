"""Which pods stand behind a Service, at which addresses and ports. Pure.

Source: Kubernetes documentation, "Services without selectors", "EndpointSlices".
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.controllers.controller import is_ending

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Object = dict[str, Any]

HEADLESS_LABEL = "service.kubernetes.io/headless"
PortKey = tuple[tuple[str, str, int, str], ...]
"""Name, protocol, number and application protocol of each port."""


@attrs.frozen
class Backend:
    """One pod behind a service."""

    address: str
    ports: PortKey
    ready: bool
    serving: bool
    terminating: bool
    pod: str
    uid: str
    node: str
    hostname: str


def selects(service: Object, labels: Mapping[str, str] | None) -> bool:
    """Whether the service's selector fits the labels; one without a selector selects nothing."""
    selector = (service.get("spec") or {}).get("selector") or {}
    return bool(selector) and all((labels or {}).get(key) == value for key, value in selector.items())


def is_managed(service: Object) -> bool:
    """Whether the endpoints of the service follow from its selector."""
    spec = service.get("spec") or {}
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def families(service: Object) -> list[str]:
    """The address types of the service's slices."""
    return list((service.get("spec") or {}).get("ipFamilies") or ["IPv4"])


def backends(service: Object, pods: Iterable[Object], family: str) -> list[Backend]:
    """The pods of one address family, in the order of their names."""
    found = []
    for pod in sorted(pods, key=lambda item: str(item["metadata"]["name"])):
        address = _address(pod, family)
        if address and selects(service, pod["metadata"].get("labels")) and not _has_ended(pod):
            found.append(_backend(service, pod, address))
    return found


def _has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _address(pod: Object, family: str) -> str:
    state = pod.get("status") or {}
    texts = [item.get("ip") or "" for item in state.get("podIPs") or ()] or [state.get("podIP") or ""]
    wanted = 4 if family == "IPv4" else 6
    for text in texts:
        try:
            if ip_address(text).version == wanted:
                return text
        except ValueError:
            continue
    return ""


def _backend(service: Object, pod: Object, address: str) -> Backend:
    spec = pod.get("spec") or {}
    conditions = (pod.get("status") or {}).get("conditions") or ()
    serving = any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
    terminating = is_ending(pod)
    always = bool((service.get("spec") or {}).get("publishNotReadyAddresses"))
    named = spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]
    return Backend(
        address,
        _ports(service, spec),
        always or (serving and not terminating),
        serving,
        terminating,
        pod["metadata"]["name"],
        pod["metadata"]["uid"],
        spec.get("nodeName") or "",
        spec["hostname"] if named else "",
    )


def _ports(service: Object, pod: Object) -> PortKey:
    """The service's ports as the pod has them; ports that it does not have are left out."""
    found = []
    for port in (service.get("spec") or {}).get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        target = port.get("targetPort") or port.get("port") or 0
        number = _named(pod, target, protocol) if isinstance(target, str) else target
        if number:
            found.append((port.get("name") or "", protocol, number, port.get("appProtocol") or ""))
    return tuple(found)


def _named(pod: Object, name: str, protocol: str) -> int:
    """The number of a container's port of that name; 0 when there is none."""
    initial = [item for item in pod.get("initContainers") or () if item.get("restartPolicy") == "Always"]
    for container in [*(pod.get("containers") or ()), *initial]:
        for port in container.get("ports") or ():
            if port.get("name") == name and (port.get("protocol") or "TCP") == protocol:
                return port.get("containerPort") or 0
    return 0


def port_objects(ports: PortKey) -> list[Object]:
    """The ports as slices and Endpoints show them."""
    found = []
    for name, protocol, number, application in ports:
        port: Object = {"name": name, "protocol": protocol, "port": number}
        if application:
            port["appProtocol"] = application
        found.append(port)
    return found


def target_of(backend: Backend, namespace: str) -> Object:
    """The reference to the pod."""
    return {"kind": "Pod", "namespace": namespace, "name": backend.pod, "uid": backend.uid}
