"""Plugins for claims, volumes and ingresses: default classes, protection, growth."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.admission.plugin import CREATE, UPDATE
from apilayer.admission.plugins.default_ingress_class import DefaultIngressClass
from apilayer.admission.plugins.default_storage_class import DefaultStorageClass
from apilayer.admission.plugins.persistent_volume_claim_resize import PersistentVolumeClaimResize
from apilayer.admission.plugins.storage_object_in_use_protection import StorageObjectInUseProtection
from tests.apilayer.admitting import Cluster, review, setup

Object = dict[str, Any]


def marked(name: str, created: str, mark: str, value: str = "true", **more: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": created, "annotations": {mark: value}}, **more}


STORAGE = "storageclass.kubernetes.io/is-default-class"
INGRESS = "ingressclass.kubernetes.io/is-default-class"
OLD_AND_NEW = [("b", "2026-01-01T00:00:00Z"), ("a", "2026-01-02T00:00:00Z"), ("c", "2026-01-02T00:00:00Z")]


@pytest.mark.parametrize(
    ("spec", "annotations", "expected"),
    [
        ({}, {}, "a"),
        ({"storageClassName": ""}, {}, ""),
        ({"storageClassName": "own"}, {}, "own"),
        ({}, {"volume.beta.kubernetes.io/storage-class": "own"}, None),
    ],
)
def test_the_youngest_default_storage_class(spec: Object, annotations: Object, expected: str | None) -> None:
    cluster = Cluster()
    for name, created in OLD_AND_NEW:
        cluster.put("storageclasses.storage.k8s.io", marked(name, created, STORAGE))
    claim = {"metadata": {"name": "x", "annotations": annotations}, "spec": spec}
    outcome = review(DefaultStorageClass(setup(cluster)), CREATE, "persistentvolumeclaims", claim)
    assert outcome.obj["spec"].get("storageClassName") == expected


def test_without_a_default_class_a_claim_has_none() -> None:
    cluster = Cluster().put("storageclasses.storage.k8s.io", marked("a", "2026-01-01T00:00:00Z", STORAGE, "false"))
    claim = {"metadata": {"name": "x"}, "spec": {}}
    assert review(DefaultStorageClass(setup(cluster)), CREATE, "persistentvolumeclaims", claim).obj == claim


@pytest.mark.parametrize(
    ("spec", "annotations", "expected"),
    [
        ({}, {}, "a"),
        ({"ingressClassName": "own"}, {}, "own"),
        ({}, {"kubernetes.io/ingress.class": "own"}, None),
    ],
)
def test_the_default_ingress_class(spec: Object, annotations: Object, expected: str | None) -> None:
    cluster = Cluster()
    for name, created in OLD_AND_NEW:
        cluster.put("ingressclasses.networking.k8s.io", marked(name, created, INGRESS))
    ingress = {"metadata": {"name": "x", "annotations": annotations}, "spec": spec}
    outcome = review(DefaultIngressClass(setup(cluster)), CREATE, "ingresses.networking.k8s.io", ingress)
    assert outcome.obj["spec"].get("ingressClassName") == expected


@pytest.mark.parametrize(
    ("resource", "finalizer"),
    [
        ("persistentvolumes", "kubernetes.io/pv-protection"),
        ("persistentvolumeclaims", "kubernetes.io/pvc-protection"),
        ("volumeattributesclasses.storage.k8s.io", "kubernetes.io/vac-protection"),
    ],
)
def test_what_is_in_use_is_held(resource: str, finalizer: str) -> None:
    obj = {"metadata": {"name": "x", "finalizers": ["a/b"]}}
    made = review(StorageObjectInUseProtection(setup(Cluster())), CREATE, resource, obj).obj
    assert made["metadata"]["finalizers"] == ["a/b", finalizer]


def claim(size: str, storage_class: str = "grows", phase: str = "Bound") -> Object:
    spec = {"storageClassName": storage_class, "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": "x"}, "spec": spec, "status": {"phase": phase}}


FIXED = (
    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
)


@pytest.mark.parametrize(
    ("old", "new", "refusal"),
    [
        (claim("1Gi"), claim("2Gi"), ""),
        (claim("1Gi", phase="Pending"), claim("2Gi"), "Only bound persistent volume claims can be expanded"),
        (claim("1Gi", "fixed"), claim("2Gi", "fixed"), FIXED),
        (claim("1Gi", "none"), claim("2Gi", "none"), FIXED),
        (claim("2Gi", "fixed"), claim("2048Mi", "fixed"), ""),
        (claim("2Gi", "fixed"), claim("1Gi", "fixed"), ""),
    ],
)
def test_claims_that_grow(old: Object, new: Object, refusal: str) -> None:
    classes = "storageclasses.storage.k8s.io"
    cluster = Cluster().put(classes, {"metadata": {"name": "grows"}, "allowVolumeExpansion": True})
    cluster.put(classes, {"metadata": {"name": "fixed"}})
    outcome = review(PersistentVolumeClaimResize(setup(cluster)), UPDATE, "persistentvolumeclaims", new, old)
    assert outcome.refusal == (f'persistentvolumeclaims "x" is forbidden: {refusal}' if refusal else "")
