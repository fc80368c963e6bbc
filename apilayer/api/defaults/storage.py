"""What is filled in for volumes, claims, their classes and drivers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apilayer.api.defaults.tables import Rule

Object = dict[str, Any]


def _pending(obj: Object) -> None:
    status = obj.setdefault("status", {})
    status["phase"] = status.get("phase") or "Pending"


def _driver(spec: Object) -> None:
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


RULES: dict[str, tuple[Rule, ...]] = {
    "core/v1.PersistentVolume": (_pending,),
    "core/v1.PersistentVolumeClaim": (_pending,),
    "storage.k8s.io/v1.CSIDriverSpec": (_driver,),
}

CONSTANTS: dict[str, dict[str, Any]] = {
    "core/v1.ISCSIPersistentVolumeSource": {"iscsiInterface": "default"},
    "core/v1.PersistentVolumeSpec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"},
    "core/v1.RBDPersistentVolumeSource": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "core/v1.ScaleIOPersistentVolumeSource": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    "storage.k8s.io/v1.CSIDriverSpec": {
        "attachRequired": True,
        "podInfoOnMount": False,
        "storageCapacity": False,
        "fsGroupPolicy": "ReadWriteOnceWithFSType",
        "requiresRepublish": False,
        "seLinuxMount": False,
    },
    "storage.k8s.io/v1.StorageClass": {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"},
}

DISABLED: dict[str, tuple[str, ...]] = {}
