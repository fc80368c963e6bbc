"""The strategies of kinds that differ from the rest when they are written.

Source: Kubernetes' ``pkg/registry/*/strategy.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import status
from apilayer.api.meta import timestamp, utc_now
from apilayer.api.qos import pod_qos
from apilayer.api.validation.scheduling_kinds import SYSTEM_PRIORITIES
from apilayer.registry.strategy import Strategy, restore

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from apilayer.pipeline.authentication import User
    from apilayer.registry.options import DeleteOptions

Object = dict[str, Any]

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
_JOB_LABELS = "batch.kubernetes.io/"
_JOB_ORPHANS = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or"
    " set propagationPolicy=Orphan to suppress this warning"
)
_GATED = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "lastTransitionTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"
_RESIZED = ("resources", "resizePolicy")
_CLAIM_SOURCES = (("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot"))
_DECISIONS = ("Approved", "Denied")


class PodStrategy(Strategy):
    """Pods start Pending, are told to end and are removed by their node."""

    graceful = True
    status_keeps = ("ownerReferences",)

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"] = {"phase": "Pending", "qosClass": pod_qos(obj)}
        _merge_label_keys(obj.get("spec") or {}, obj["metadata"].get("labels") or {})
        if (obj.get("spec") or {}).get("schedulingGates"):
            obj["status"]["conditions"] = [{**_GATED, "lastTransitionTime": timestamp(utc_now())}]

    def prepare_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_status_update(obj, old)
        qos = (old.get("status") or {}).get("qosClass")
        if qos is not None and not (obj.get("status") or {}).get("qosClass"):
            obj.setdefault("status", {})["qosClass"] = qos

    def prepare_subresource_update(self, obj: Object, old: Object, subresource: str) -> None:
        """A binding is made by the server; ephemeral containers and resources are all that the others change."""
        if subresource == "binding":
            return
        spec = dict(old.get("spec") or {})
        given = obj.get("spec") or {}
        if subresource == "ephemeralcontainers":
            restore(spec, given, "ephemeralContainers")
        else:
            for key in ("containers", "initContainers"):
                if spec.get(key):
                    spec[key] = _resized(spec[key], given.get(key) or [])
            restore(spec, given, "resources")
        version = obj["metadata"].get("resourceVersion")
        obj.clear()
        obj.update({**old, "metadata": dict(old["metadata"]), "spec": spec})
        obj["metadata"]["resourceVersion"] = version
        if self.bumps_generation(obj, old):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def grace_period_seconds(self, obj: Object, options: DeleteOptions) -> int:
        """What was asked for, else the pod's own; nothing for a pod that is not on a node or has ended."""
        spec = obj.get("spec") or {}
        if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
            return 0
        period = options.grace_period_seconds
        if period is None:
            period = spec.get("terminationGracePeriodSeconds") or 0
        return 1 if period < 0 else period


_TERMS = ("requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution")


def _merge_label_keys(spec: Object, labels: dict[str, str]) -> None:
    """Selectors of affinities and spreads get the pod's own values of the labels that are named beside them."""
    affinity = spec.get("affinity") or {}
    terms = [
        term.get("podAffinityTerm") or term
        for key in ("podAffinity", "podAntiAffinity")
        for which in _TERMS
        for term in (affinity.get(key) or {}).get(which) or ()
    ]
    for term in terms + (spec.get("topologySpreadConstraints") or []):
        selector = term.get("labelSelector")
        if selector is None:
            continue
        added = [
            {"key": key, "operator": operator, "values": [labels[key]]}
            for keys, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
            for key in term.get(keys) or ()
            if key in labels
        ]
        if added:
            selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *added]


def _resized(containers: list[Object], given: list[Object]) -> list[Object]:
    """`containers` with the resources that those of the same name in `given` have."""
    by_name = {container.get("name"): container for container in given}
    found = []
    for container in containers:
        wanted = by_name.get(container.get("name"))
        changed = dict(container)
        if wanted is not None:
            for key in _RESIZED:
                restore(changed, wanted, key)
        found.append(changed)
    return found


class DeploymentStrategy(Strategy):
    """Annotations of a deployment are passed on to its replica sets, so they count as a change of the spec."""

    status_keeps = ("labels",)

    def bumps_generation(self, obj: Object, old: Object) -> bool:
        annotations = obj["metadata"].get("annotations") or {}
        return super().bumps_generation(obj, old) or annotations != (old["metadata"].get("annotations") or {})


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
        restore(obj, old, "spec")
        metadata = obj["metadata"]
        metadata["labels"] = {**(metadata.get("labels") or {}), NAMESPACE_LABEL: metadata["name"]}

    def prepare_subresource_update(self, obj: Object, old: Object, subresource: str) -> None:
        """`finalize` changes the spec, which holds the finalizers, and nothing else."""
        restore(obj, old, "status")

    def may_be_removed(self, obj: Object) -> bool:
        return super().may_be_removed(obj) and not (obj.get("spec") or {}).get("finalizers")


class NodeStrategy(Strategy):
    """Nodes register themselves together with their status."""

    def prepare_create(self, obj: Object) -> None:
        status = obj.get("status")
        super().prepare_create(obj)
        if status is not None:
            obj["status"] = status


class PhaseStrategy(Strategy):
    """Volumes and claims begin as Pending."""

    def blank_status(self) -> Object:
        return {**super().blank_status(), "phase": "Pending"}


class VolumeStrategy(PhaseStrategy):
    """Volumes say since when they are in their phase."""

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        obj["status"]["lastPhaseTransitionTime"] = timestamp(utc_now())

    def prepare_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_status_update(obj, old)
        status = obj.get("status") or {}
        if status.get("phase") != (old.get("status") or {}).get("phase"):
            status.setdefault("lastPhaseTransitionTime", timestamp(utc_now()))
            if status["lastPhaseTransitionTime"] == (old.get("status") or {}).get("lastPhaseTransitionTime"):
                status["lastPhaseTransitionTime"] = timestamp(utc_now())


class ClaimStrategy(PhaseStrategy):
    """The old field for what a claim starts from and the new one say the same, for kinds that the old one knows."""

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        spec = obj.get("spec") or {}
        if spec.get("dataSource") is not None and not _known_source(spec["dataSource"]):
            del spec["dataSource"]
        _pair_sources(spec)

    def prepare_update(self, obj: Object, old: Object) -> None:
        super().prepare_update(obj, old)
        _pair_sources(obj.get("spec") or {})


def _known_source(source: Object) -> bool:
    return (source.get("apiGroup") or "", source.get("kind")) in _CLAIM_SOURCES


def _pair_sources(spec: Object) -> None:
    old, new = spec.get("dataSource"), spec.get("dataSourceRef")
    if old is not None and new is None:
        spec["dataSourceRef"] = dict(old)
    elif old is None and new is not None and _known_source(new) and not new.get("namespace"):
        spec["dataSource"] = {key: value for key, value in new.items() if key != "namespace"}


class OrphaningStrategy(Strategy):
    """Replication controllers leave their pods behind, as they always have."""

    orphans_by_default = True


class EventStrategy(Strategy):
    """Events own nothing."""

    may_own = False


class PriorityClassStrategy(Strategy):
    """The classes of the system's own pods stay."""

    def check_delete(self, name: str) -> None:
        if name in SYSTEM_PRIORITIES:
            text = "this is a system priority class and cannot be deleted"
            raise status.forbidden(self.resource.plural, self.resource.group, name, text)


class JobStrategy(Strategy):
    """Jobs find their pods by a label with the job's uid, and leave them behind."""

    orphans_by_default = True

    def delete_warnings(self, options: DeleteOptions) -> list[str]:
        asked = options.propagation_policy is not None or options.orphan_dependents is not None
        return [] if asked else [_JOB_ORPHANS]

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        spec, metadata = obj.get("spec") or {}, obj["metadata"]
        template = spec.get("template")
        if spec.get("manualSelector") or not isinstance(template, dict):
            return
        uid, name = metadata["uid"], metadata.get("name") or ""
        wanted = {"controller-uid": uid, "job-name": name, f"{_JOB_LABELS}controller-uid": uid}
        wanted[f"{_JOB_LABELS}job-name"] = name
        inner = template.setdefault("metadata", {})
        # In place: labels that the Job has by default are those of its template, and get these too.
        labels = inner.setdefault("labels", {})
        for key, value in wanted.items():
            labels.setdefault(key, value)
        selector = spec.get("selector") or {}
        labels = {f"{_JOB_LABELS}controller-uid": uid, **(selector.get("matchLabels") or {})}
        spec["selector"] = {**selector, "matchLabels": dict(sorted(labels.items()))}

    def settle(self, obj: Object) -> None:
        """A Job without labels is read back with those of its pods, which by now include the server's own."""
        metadata, template = obj["metadata"], (obj.get("spec") or {}).get("template") or {}
        labels = (template.get("metadata") or {}).get("labels")
        if labels and not metadata.get("labels"):
            metadata["labels"] = dict(labels)


class DaemonSetStrategy(Strategy):
    """Changes of the pod template are counted once more, in an annotation that old clients read."""

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        _annotate(obj, _TEMPLATE_GENERATION, "1")

    def prepare_update(self, obj: Object, old: Object) -> None:
        super().prepare_update(obj, old)
        count = (old["metadata"].get("annotations") or {}).get(_TEMPLATE_GENERATION, "")
        number = int(count) if count.isascii() and count.isdecimal() else 0
        if (obj.get("spec") or {}).get("template") != (old.get("spec") or {}).get("template"):
            number += 1
        _annotate(obj, _TEMPLATE_GENERATION, str(number))


def _annotate(obj: Object, key: str, value: str) -> None:
    metadata = obj["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), key: value}


class EndpointSliceStrategy(Strategy):
    """Labels of a slice say which service it is for, so they count as a change."""

    def bumps_generation(self, obj: Object, old: Object) -> bool:
        return super().bumps_generation(obj, old) or obj["metadata"].get("labels") != old["metadata"].get("labels")


class OwnStatusStrategy(Strategy):
    """A write of the status changes no metadata."""

    status_keeps = ("labels", "annotations", "finalizers", "ownerReferences")


class DefinitionStrategy(OwnStatusStrategy):
    """A custom resource definition remembers which versions were ever kept."""

    def prepare_create(self, obj: Object) -> None:
        super().prepare_create(obj)
        versions = (obj.get("spec") or {}).get("versions") or []
        obj["status"]["storedVersions"] = [item.get("name", "") for item in versions if item.get("storage")] or None


class CertificateStrategy(Strategy):
    """A request says who makes it; approving and issuing are two subresources."""

    def stamp_user(self, obj: Object, user: User) -> None:
        spec = obj.setdefault("spec", {})
        extra = {name: list(values) for name, values in user.extra}
        known = (("username", user.name), ("uid", user.uid), ("groups", list(user.groups)), ("extra", extra))
        for key, value in known:
            if value:
                spec[key] = value
            else:
                spec.pop(key, None)

    def prepare_update(self, obj: Object, old: Object) -> None:
        super().prepare_update(obj, old)
        restore(obj, old, "spec")

    def prepare_status_update(self, obj: Object, old: Object) -> None:
        super().prepare_status_update(obj, old)
        status = obj.setdefault("status", {})
        _set_conditions(status, _stamped(_with_decisions(_conditions(obj), _conditions(old)), old))

    def prepare_subresource_update(self, obj: Object, old: Object, subresource: str) -> None:
        restore(obj, old, "spec")
        certificate = (old.get("status") or {}).get("certificate")
        status = {key: value for key, value in (obj.get("status") or {}).items() if key != "certificate"}
        if certificate is not None:
            status["certificate"] = certificate
        _set_conditions(status, _stamped(status.get("conditions") or [], old))
        obj["status"] = status


def _with_decisions(conditions: list[Object], before: list[Object]) -> list[Object]:
    """`conditions` with decisions as they were, unless some were added or are missing, which is not allowed."""
    found = list(conditions)
    for kind in _DECISIONS:
        kept = [item for item in before if item.get("type") == kind]
        places = [index for index, item in enumerate(found) if item.get("type") == kind]
        if len(kept) == len(places):
            for index, item in zip(places, kept, strict=True):
                found[index] = item
    return found


def _conditions(obj: Object) -> list[Object]:
    return (obj.get("status") or {}).get("conditions") or []


def _set_conditions(status: Object, conditions: list[Object]) -> None:
    if conditions:
        status["conditions"] = conditions
    else:
        status.pop("conditions", None)


def _stamped(conditions: list[Object], old: Object) -> list[Object]:
    """The conditions with times: of the last change, and of the last update."""
    now = timestamp(utc_now())
    before = {item.get("type"): item for item in _conditions(old)}
    for item in conditions:
        if not item.get("lastUpdateTime"):
            item["lastUpdateTime"] = now
        if not item.get("lastTransitionTime"):
            known = before.get(item.get("type"), {})
            same = known.get("status") == item.get("status") and known.get("lastTransitionTime")
            item["lastTransitionTime"] = known["lastTransitionTime"] if same else now
    return conditions


_STRATEGIES: dict[str, type[Strategy]] = {
    "pods": PodStrategy,
    "deployments.apps": DeploymentStrategy,
    "namespaces": NamespaceStrategy,
    "nodes": NodeStrategy,
    "persistentvolumes": VolumeStrategy,
    "persistentvolumeclaims": ClaimStrategy,
    "replicationcontrollers": OrphaningStrategy,
    "events": EventStrategy,
    "priorityclasses.scheduling.k8s.io": PriorityClassStrategy,
    "jobs.batch": JobStrategy,
    "daemonsets.apps": DaemonSetStrategy,
    "endpointslices.discovery.k8s.io": EndpointSliceStrategy,
    "apiservices.apiregistration.k8s.io": OwnStatusStrategy,
    "volumeattachments.storage.k8s.io": OwnStatusStrategy,
    "resourceclaims.resource.k8s.io": OwnStatusStrategy,
    "flowschemas.flowcontrol.apiserver.k8s.io": OwnStatusStrategy,
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": OwnStatusStrategy,
    "customresourcedefinitions.apiextensions.k8s.io": DefinitionStrategy,
    "certificatesigningrequests.certificates.k8s.io": CertificateStrategy,
}


def strategy_for(resource: Resource) -> Strategy:
    """The strategy of a resource."""
    return _STRATEGIES.get(resource.group_resource, Strategy)(resource)
