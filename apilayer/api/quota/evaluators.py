"""What objects of each resource cost: an evaluator per resource that is more than counted. Pure.

Source: Kubernetes documentation, "Resource Quotas"; which names an object counts under is kube-apiserver's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from apilayer.api.quota import pod_resources
from apilayer.api.quota.amounts import Amounts, amounts, count, largest, plus
from apilayer.api.quota.scopes import Requirement, claim_fits, pod_fits

if TYPE_CHECKING:
    from collections.abc import Collection

Object = dict[str, Any]

IGNORED = frozenset({"events", "events.events.k8s.io", "bindings"})
"""Resources that no quota counts."""
_ALIASES = frozenset({"configmaps", "replicationcontrollers", "resourcequotas", "secrets"})
"""Counted under their plain name too."""
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_REQUIRED = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
_MAX_DEVICES = 32
"""What one claim can hold at most."""


class ConstraintError(Exception):
    """The object does not say what a quota needs to know of it."""


class Evaluator:
    """Objects of one resource, each of which counts as one."""

    counts_only = True
    """Whether all objects cost the same, whatever they say."""
    on_update = False
    """Whether a change of an object may change what it costs."""
    update_subresources: tuple[str, ...] = ()
    """The subresources whose updates may change it as well."""

    def __init__(self, group_resource: str) -> None:
        self.group_resource = group_resource
        self._count = f"count/{group_resource}"
        self._names = frozenset({self._count} | ({group_resource} & _ALIASES))

    def handles(self, operation: str, subresource: str) -> bool:
        """Whether a request (CREATE, UPDATE) may change what objects cost."""
        if subresource:
            return operation == "UPDATE" and subresource in self.update_subresources
        return operation == "CREATE" or (operation == "UPDATE" and self.on_update)

    def matching(self, names: Collection[str]) -> set[str]:
        """Those of the names that objects of this resource count under."""
        return {name for name in names if name in self._names or self._is_further(name)}

    def _is_further(self, name: str) -> bool:
        """Whether a name that is not fixed is this resource's."""
        del name
        return False

    def fits(self, requirement: Requirement, obj: Object) -> bool:
        """Whether the object is in the scope."""
        del requirement, obj
        return False

    def require(self, names: Collection[str], obj: Object) -> None:
        """Raises ConstraintError when the object does not say what quotas of these names have to know."""

    def usage(self, obj: Object, now: datetime) -> Amounts:
        """What the object costs."""
        del obj, now
        return dict.fromkeys(self._names, count(1))


class _Pods(Evaluator):
    counts_only = False
    update_subresources = ("resize",)

    def __init__(self) -> None:
        super().__init__("pods")
        fixed = {"pods", *_COMPUTE}
        self._names |= fixed | {f"{key}.{name}" for key in ("requests", "limits") for name in _COMPUTE}

    def _is_further(self, name: str) -> bool:
        if name.startswith(("hugepages-", "requests.hugepages-")):
            return True
        return name.startswith("requests.") and _is_extended(name.removeprefix("requests."))

    def fits(self, requirement: Requirement, obj: Object) -> bool:
        return pod_fits(requirement, obj)

    def require(self, names: Collection[str], obj: Object) -> None:
        """Each container must say what is limited, unless the pod as a whole does."""
        required = _REQUIRED & set(names)
        if not required or pod_resources.has_own_resources(obj):
            return
        spec = obj.get("spec") or {}
        missing: dict[str, set[str]] = {}
        for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
            resources = container.get("resources") or {}
            given = _compute(amounts(resources.get("requests")), amounts(resources.get("limits")))
            for name in required - given.keys():
                missing.setdefault(name, set()).add(container.get("name") or "")
        if missing:
            texts = (f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing))
            raise ConstraintError(f"must specify {'; '.join(texts)}")

    def usage(self, obj: Object, now: datetime) -> Amounts:
        """A pod that has ended, or should have long ago, counts as an object alone."""
        counted = {self._count: count(1)}
        if has_ended(obj, now):
            return counted
        cost = _compute(pod_resources.requests(obj), pod_resources.limits(obj))
        return {**counted, "pods": count(1), **cost}


def has_ended(pod: Object, now: datetime) -> bool:
    """Whether a pod takes up nothing any more, or its node did not end it in time."""
    if (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return True
    metadata = pod.get("metadata") or {}
    deleted, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    if not deleted or grace is None:
        return False
    return now > datetime.fromisoformat(deleted).astimezone(UTC) + timedelta(seconds=grace)


def _is_extended(name: str) -> bool:
    return "/" in name and "kubernetes.io/" not in name and not name.startswith("requests.")


def _compute(requests: Amounts, limits: Amounts) -> Amounts:
    found: Amounts = {}
    for name, amount in requests.items():
        if name in _COMPUTE or name.startswith("hugepages-"):
            found[name] = amount
            found[f"requests.{name}"] = amount
        elif _is_extended(name):
            found[f"requests.{name}"] = amount
    found.update((f"limits.{name}", limits[name]) for name in _COMPUTE if name in limits)
    return found


class _Services(Evaluator):
    counts_only = False
    on_update = True

    def __init__(self) -> None:
        super().__init__("services")
        self._names |= {"services", "services.nodeports", "services.loadbalancers"}

    def usage(self, obj: Object, now: datetime) -> Amounts:
        del now
        spec = obj.get("spec") or {}
        kind, ports = spec.get("type") or "ClusterIP", spec.get("ports") or ()
        node_ports = len(ports) if kind in ("NodePort", "LoadBalancer") else 0
        if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            node_ports = sum(bool(port.get("nodePort")) for port in ports)
        return {
            self._count: count(1),
            "services": count(1),
            "services.nodeports": count(node_ports),
            "services.loadbalancers": count(int(kind == "LoadBalancer")),
        }


class _Claims(Evaluator):
    """PersistentVolumeClaims, by storage class too."""

    counts_only = False
    on_update = True
    _BY_CLASS = ".storageclass.storage.k8s.io/"
    _CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"

    def __init__(self) -> None:
        super().__init__("persistentvolumeclaims")
        self._names |= {"persistentvolumeclaims", "requests.storage"}

    def _is_further(self, name: str) -> bool:
        return name.endswith((f"{self._BY_CLASS}persistentvolumeclaims", f"{self._BY_CLASS}requests.storage"))

    def fits(self, requirement: Requirement, obj: Object) -> bool:
        return claim_fits(requirement, obj)

    def usage(self, obj: Object, now: datetime) -> Amounts:
        """While a claim grows or shrinks, the larger size counts."""
        del now
        spec = obj.get("spec") or {}
        cost = {"persistentvolumeclaims": count(1)}
        asked = amounts((spec.get("resources") or {}).get("requests"))
        size = largest(asked, amounts((obj.get("status") or {}).get("allocatedResources"))).get("storage")
        if size is not None and "storage" in asked:
            cost["requests.storage"] = size
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        of_class = annotations.get(self._CLASS_ANNOTATION) or spec.get("storageClassName")
        by_class = {f"{of_class}{self._BY_CLASS}{name}": amount for name, amount in cost.items()} if of_class else {}
        return {self._count: count(1), **cost, **by_class}


class _ResourceClaims(Evaluator):
    """ResourceClaims: the devices that they may take, by device class."""

    counts_only = False
    _BY_CLASS = ".deviceclass.resource.k8s.io/devices"

    def __init__(self) -> None:
        super().__init__("resourceclaims.resource.k8s.io")

    def _is_further(self, name: str) -> bool:
        return name.endswith(self._BY_CLASS)

    def usage(self, obj: Object, now: datetime) -> Amounts:
        """Of alternatives the largest counts, for each class."""
        del now
        total: Amounts = {}
        for request in ((obj.get("spec") or {}).get("devices") or {}).get("requests") or ():
            exact = request.get("exactly")
            of_request: Amounts = {}
            for choice in [exact] if exact else request.get("firstAvailable") or ():
                devices = _MAX_DEVICES if choice.get("allocationMode") == "All" else choice.get("count") or 1
                name = f"{choice.get('deviceClassName') or ''}{self._BY_CLASS}"
                of_request = largest(of_request, {name: count(devices)})
            total = plus(total, of_request)
        return {self._count: count(1), **total}


@cache
def evaluator_of(group_resource: str) -> Evaluator | None:
    """The evaluator of a resource in namespaces, by qualified name; None for one that no quota counts."""
    if group_resource in IGNORED:
        return None
    special: dict[str, type[_Pods | _Services | _Claims | _ResourceClaims]] = {
        "pods": _Pods,
        "services": _Services,
        "persistentvolumeclaims": _Claims,
        "resourceclaims.resource.k8s.io": _ResourceClaims,
    }
    made = special.get(group_resource)
    return made() if made is not None else Evaluator(group_resource)
