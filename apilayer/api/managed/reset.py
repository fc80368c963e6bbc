"""The fields that a write through one path cannot change, and that its manager therefore does not come to own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from apilayer.api.managed.fieldset import Fields
    from apilayer.api.resources import Resource

# What server-set metadata and the type itself say is nobody's.
STRIPPED: Fields = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        "f:name": {},
        "f:namespace": {},
        "f:creationTimestamp": {},
        "f:selfLink": {},
        "f:uid": {},
        "f:clusterName": {},
        "f:generation": {},
        "f:managedFields": {},
        "f:resourceVersion": {},
    },
}

_METADATA: Fields = {"f:metadata": {}}
# By resource and subresource, besides what holds for most kinds: the main path leaves the status alone, the status
# path the spec.
_SPECIAL: dict[tuple[str, str], Fields] = {
    ("deployments.apps", "status"): {"f:metadata": {"f:labels": {}}},
    ("pods", "status"): {"f:metadata": {"f:deletionTimestamp": {}, "f:ownerReferences": {}}},
    ("customresourcedefinitions.apiextensions.k8s.io", "status"): _METADATA,
    ("apiservices.apiregistration.k8s.io", "status"): _METADATA,
    ("volumeattachments.storage.k8s.io", "status"): _METADATA,
    ("resourceclaims.resource.k8s.io", "status"): _METADATA,
    ("flowschemas.flowcontrol.apiserver.k8s.io", "status"): _METADATA,
    ("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", "status"): _METADATA,
    ("certificatesigningrequests.certificates.k8s.io", ""): {"f:spec": {}},
    ("certificatesigningrequests.certificates.k8s.io", "status"): {"f:status": {"f:conditions": {}}},
}
_SPEC: Fields = {"f:spec": {}}
_STATUS: Fields = {"f:status": {}}


def ignored_fields(resource: Resource, subresource: str) -> Fields:
    """What a write to the resource, or to a subresource of it, leaves as it is."""
    special = _SPECIAL.get((resource.group_resource, subresource), {})
    if subresource == "status":
        return {**_SPEC, **special}
    if subresource == "approval":
        return {**_SPEC, "f:status": {"f:certificate": {}}}
    if subresource in ("", "finalize") and resource.subresource("status") is not None:
        return {**_STATUS, **special}
    return {}
