"""What the API serves, as data: one row per resource. Routes, discovery, OpenAPI and printing derive from it.

Only facts that hold for every object of a resource belong here; rules about fields are in `validation` and
`defaults`, keyed by schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
STATUS_VERBS = ("get", "patch", "update")

# The order in which /apis lists groups; it decides which group a short name means.
GROUP_ORDER: tuple[str, ...] = (
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
)

Path = tuple[str, ...]

_NAME: dict[str, Path] = {"metadata.name": ("metadata", "name")}
_NAME_AND_NAMESPACE: dict[str, Path] = {**_NAME, "metadata.namespace": ("metadata", "namespace")}


def _paths(*labels: str) -> dict[str, Path]:
    return {label: tuple(label.split(".")) for label in labels}


@attrs.frozen
class Subresource:
    """A path below an object, e.g. ``pods/status``: the kind it speaks and what may be done."""

    name: str
    kind: str
    group: str
    version: str
    verbs: tuple[str, ...] = STATUS_VERBS


@attrs.frozen
class Resource:
    """One resource: ``pods`` of group ``""`` in version ``v1``, and what holds for all its objects.

    `field_selectors` maps a field label to the path of its value (see `field_value`). `field_defaults`
    gives the text for an absent value, `field_fallbacks` the label to read instead of an empty one.
    `key_prefix` is Kubernetes' own: it leaves the group out for built-in kinds.
    """

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    allow_unconditional_update: bool = True
    allow_create_on_update: bool = False
    tracks_generation: bool = False
    field_selectors: Mapping[str, Path] = attrs.field(factory=lambda: dict(_NAME_AND_NAMESPACE))
    field_defaults: Mapping[str, str] = attrs.field(factory=dict)
    field_fallbacks: Mapping[str, str] = attrs.field(factory=dict)
    list_kind: str = attrs.field()
    api_version: str = attrs.field(init=False)
    group_resource: str = attrs.field(init=False)
    key_prefix: str = attrs.field(init=False)
    golden_order: int = attrs.field(init=False)

    @list_kind.default
    def _list_kind(self) -> str:
        return self.kind + "List"

    @api_version.default
    def _api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @group_resource.default
    def _group_resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @key_prefix.default
    def _key_prefix(self) -> str:
        return f"/registry/{self.plural}/"

    @golden_order.default
    def _golden_order(self) -> int:
        return GROUP_ORDER.index(self.group)

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, or None."""
        return next((sub for sub in self.subresources if sub.name == name), None)

    def field_value(self, obj: Mapping[str, Any], label: str) -> str:
        """The text that a field selector with `label` compares: "" when the object has no such value.

        Raises KeyError for a label that the resource does not know.
        """
        value: Any = obj
        for key in self.field_selectors[label]:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str) and value:
            return value
        fallback = self.field_fallbacks.get(label)
        if fallback is not None:
            return self.field_value(obj, fallback)
        return self.field_defaults.get(label, "")


_POD_FIELDS = {
    **_NAME_AND_NAMESPACE,
    **_paths(
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
}

_EVENT_FIELDS = {
    **_NAME_AND_NAMESPACE,
    **_paths(
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "type",
    ),
    "source": ("source", "component"),
}

RESOURCES: tuple[Resource, ...] = (
    Resource("", "v1", "configmaps", "configmap", "ConfigMap", namespaced=True, short_names=("cm",)),
    Resource(
        "",
        "v1",
        "events",
        "event",
        "Event",
        namespaced=True,
        short_names=("ev",),
        allow_create_on_update=True,
        field_selectors=_EVENT_FIELDS,
        field_fallbacks={"source": "reportingComponent"},
    ),
    Resource(
        "",
        "v1",
        "namespaces",
        "namespace",
        "Namespace",
        namespaced=False,
        short_names=("ns",),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
        subresources=(Subresource("status", "Namespace", "", "v1"),),
        field_selectors={**_NAME, **_paths("status.phase")},
    ),
    Resource(
        "",
        "v1",
        "pods",
        "pod",
        "Pod",
        namespaced=True,
        short_names=("po",),
        categories=("all",),
        subresources=(Subresource("status", "Pod", "", "v1"),),
        tracks_generation=True,
        field_selectors=_POD_FIELDS,
        field_defaults={"spec.hostNetwork": "false"},
    ),
    Resource(
        "",
        "v1",
        "secrets",
        "secret",
        "Secret",
        namespaced=True,
        field_selectors={**_NAME_AND_NAMESPACE, **_paths("type")},
    ),
    Resource(
        "apps",
        "v1",
        "deployments",
        "deployment",
        "Deployment",
        namespaced=True,
        short_names=("deploy",),
        categories=("all",),
        subresources=(Subresource("status", "Deployment", "apps", "v1"),),
        tracks_generation=True,
    ),
    Resource(
        "coordination.k8s.io",
        "v1",
        "leases",
        "lease",
        "Lease",
        namespaced=True,
        allow_unconditional_update=False,
        allow_create_on_update=True,
    ),
)

_BY_PATH: dict[tuple[str, str, str], Resource] = {
    (resource.group, resource.version, resource.plural): resource for resource in RESOURCES
}


def find(group: str, version: str, plural: str) -> Resource | None:
    """The row of a served resource, or None; the core group is ""."""
    return _BY_PATH.get((group, version, plural))
