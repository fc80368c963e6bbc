"""What field selectors can compare, by resource: labels, where their values are, and what an absent value counts as.

Source: Kubernetes' field label conversions (``pkg/apis/*/v1/conversion.go``). Paths lead into the stored form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str, ...]


@attrs.frozen
class FieldLabels:
    """`paths` maps a label to its value's path, `defaults` to the text for an absent value, `fallbacks` to the label
    to read instead of an empty one. `unknown` is what is said of a label that is not there.
    """

    paths: Mapping[str, Path]
    defaults: Mapping[str, str] = attrs.field(factory=dict)
    fallbacks: Mapping[str, str] = attrs.field(factory=dict)
    unknown: str = "field label not supported: {label}"


def _paths(*labels: str) -> dict[str, Path]:
    return {label: tuple(label.split(".")) for label in labels}


_NAME = _paths("metadata.name")
_NAME_AND_NAMESPACE = _paths("metadata.name", "metadata.namespace")
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")

ANY = FieldLabels(
    _NAME_AND_NAMESPACE,
    unknown='"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"',
)
"""What every resource has that is not named in `LABELS`."""

LABELS: dict[str, FieldLabels] = {
    "pods": FieldLabels(
        {
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
        },
        {"spec.hostNetwork": "false"},
    ),
    "events": FieldLabels(
        {
            **_NAME_AND_NAMESPACE,
            **_paths(*(f"involvedObject.{name}" for name in _REFERENCE), "reason", "reportingComponent", "type"),
            "source": ("source", "component"),
        },
        fallbacks={"source": "reportingComponent"},
    ),
    "events.events.k8s.io": FieldLabels(
        {
            **_NAME_AND_NAMESPACE,
            **{f"regarding.{name}": ("involvedObject", name) for name in _REFERENCE},
            **_paths("reason", "type"),
            "reportingController": ("reportingComponent",),
        }
    ),
    "namespaces": FieldLabels({**_NAME, **_paths("status.phase")}),
    "nodes": FieldLabels({**_NAME, **_paths("spec.unschedulable")}, {"spec.unschedulable": "false"}),
    "secrets": FieldLabels({**_NAME_AND_NAMESPACE, **_paths("type")}),
    "services": FieldLabels({**_NAME_AND_NAMESPACE, **_paths("spec.clusterIP", "spec.type")}),
    "replicationcontrollers": FieldLabels(
        {**_NAME_AND_NAMESPACE, **_paths("status.replicas")}, {"status.replicas": "0"}
    ),
    "jobs.batch": FieldLabels(
        {**_NAME_AND_NAMESPACE, "status.successful": ("status", "succeeded")},
        {"status.successful": "0"},
        unknown='field label "{label}" not supported for Job',
    ),
    "resourceslices.resource.k8s.io": FieldLabels(
        {**_NAME, **_paths("spec.nodeName", "spec.driver")},
        unknown="field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {label}",
    ),
    "certificatesigningrequests.certificates.k8s.io": FieldLabels({**_NAME, **_paths("spec.signerName")}),
}
