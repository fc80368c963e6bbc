"""What differs between kinds when objects are written: the base rules and the strategy of each kind that has its own.

A strategy sees plain objects and changes the new one in place; it neither validates nor stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.registry.qos import pod_qos

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from apilayer.registry.options import DeleteOptions

Object = dict[str, Any]

NAMESPACE_LABEL = "kubernetes.io/metadata.name"


class Strategy:
    """The rules of most kinds: status is written through its own endpoint, spec changes bump the generation."""

    returns_deleted_object = False
    """Whether DELETE answers the object that was deleted, not a Status."""
    graceful = False
    """Whether objects of the kind are given time to end."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.has_status = resource.subresource("status") is not None

    def prepare_create(self, obj: Object) -> None:
        """Brings a new object into its initial state."""
        if self.has_status:
            obj["status"] = {}
        if self.resource.tracks_generation:
            obj["metadata"]["generation"] = 1
        else:
            obj["metadata"].pop("generation", None)

    def prepare(self, obj: Object, old: Object, subresource: str) -> None:
        """Takes back what a change, made directly ("") or through a subresource, may not touch."""
        if not subresource:
            self.prepare_update(obj, old)
        elif subresource == "status":
            self.prepare_status_update(obj, old)
        else:
            self.prepare_subresource_update(obj, old, subresource)

    def prepare_subresource_update(self, obj: Object, old: Object, subresource: str) -> None:
        """As `prepare_update`, for a change through a subresource other than the status."""

    def prepare_update(self, obj: Object, old: Object) -> None:
        """Takes back what an update through the main endpoint may not change."""
        if self.has_status:
            _restore(obj, old, "status")
        if self.resource.tracks_generation and self.bumps_generation(obj, old):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def prepare_status_update(self, obj: Object, old: Object) -> None:
        """Takes back everything but the status, labels and annotations."""
        status = obj.get("status")
        kept = {key: value for key, value in old.items() if key not in ("metadata", "status")}
        for key in [key for key in obj if key != "metadata"]:
            del obj[key]
        obj.update(kept)
        if status is not None:
            obj["status"] = status
        metadata = obj["metadata"]
        for key in ("ownerReferences", "finalizers", "generateName"):
            _restore(metadata, old["metadata"], key)

    def bumps_generation(self, obj: Object, old: Object) -> bool:
        """Whether the update changes what controllers have to act on."""
        return bool(obj.get("spec") != old.get("spec"))

    def may_be_removed(self, obj: Object) -> bool:
        """Whether nothing holds a deleted object back: no finalizers and no time left to end."""
        metadata = obj["metadata"]
        return not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")

    def grace_period_seconds(self, obj: Object, options: DeleteOptions) -> int:
        """How long a graceful kind's object may take to end."""
        del obj
        return options.grace_period_seconds or 0


class PodStrategy(Strategy):
    """Pods start Pending, are told to end and are removed by their node."""

    returns_deleted_object = True
    graceful = True

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"] = {"phase": "Pending", "qosClass": pod_qos(obj)}

    def prepare_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_status_update(obj, old)
        qos = (old.get("status") or {}).get("qosClass")
        if qos is not None:
            obj.setdefault("status", {})["qosClass"] = qos

    def grace_period_seconds(self, obj: Object, options: DeleteOptions) -> int:
        """What was asked for, else the pod's own; nothing for a pod that is not on a node or has ended."""
        spec = obj.get("spec") or {}
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
            return 0
        period = options.grace_period_seconds
        if period is None:
            period = spec.get("terminationGracePeriodSeconds") or 0
        return 1 if period < 0 else period


class DeploymentStrategy(Strategy):
    """Annotations of a deployment are passed on to its replica sets, so they count as a change of the spec."""

    def bumps_generation(self, obj: Object, old: Object) -> bool:
        annotations = obj["metadata"].get("annotations") or {}
        return super().bumps_generation(obj, old) or annotations != (old["metadata"].get("annotations") or {})

    def prepare_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_status_update(obj, old)
        _restore(obj["metadata"], old["metadata"], "labels")


class NamespaceStrategy(Strategy):
    """Namespaces carry their name as a label and are held by a finalizer of their own until they are empty."""

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        metadata = obj["metadata"]
        if metadata.get("name"):
            metadata["labels"] = {**(metadata.get("labels") or {}), NAMESPACE_LABEL: metadata["name"]}
        finalizers = (obj.get("spec") or {}).get("finalizers") or []
        if "kubernetes" not in finalizers:
            finalizers = [*finalizers, "kubernetes"]
        obj["spec"] = {"finalizers": finalizers}
        obj["status"] = {"phase": "Active"}

    def prepare_update(self, obj: Object, old: Object) -> None:
        super().prepare_update(obj, old)
        _restore(obj, old, "spec")
        metadata = obj["metadata"]
        metadata["labels"] = {**(metadata.get("labels") or {}), NAMESPACE_LABEL: metadata["name"]}

    def may_be_removed(self, obj: Object) -> bool:
        return super().may_be_removed(obj) and not (obj.get("spec") or {}).get("finalizers")


def _restore(target: Object, source: Object, key: str) -> None:
    """Sets `target[key]` to what `source` has, or removes it."""
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)


_STRATEGIES: dict[str, type[Strategy]] = {
    "pods": PodStrategy,
    "deployments.apps": DeploymentStrategy,
    "namespaces": NamespaceStrategy,
}


def strategy_for(resource: Resource) -> Strategy:
    """The strategy of a resource."""
    return _STRATEGIES.get(resource.group_resource, Strategy)(resource)
