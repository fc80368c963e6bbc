"""What is filled in, by message of the type table: constants, rules, and fields of features that are off.

Source: Kubernetes' ``pkg/apis/*/v1/defaults.go`` and ``conversion.go``, and the feature gates of 1.36.
A rule changes the object it is given. Rules run before constants, parents before children.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from apilayer.api import quantity
from apilayer.api.encoding import base64text

if TYPE_CHECKING:
    from collections.abc import Callable

    Rule = Callable[[dict[str, Any]], None]

_FILE_MODE = 0o644
_POD_RESOURCES = ("cpu", "memory", "hugepages-")  # what a pod as a whole may ask for
_MESSAGES = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_MILLI = quantity.parse("1m").amount
# A name, an optional tag, an optional digest, as container image references are written.
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?P<tag>:[\w][\w.-]{0,127})?(?P<digest>@[A-Za-z][A-Za-z0-9]*:[0-9a-fA-F]{32,})?",
    re.ASCII,
)


def pull_policy(image: str) -> str:
    """The imagePullPolicy of an image: Always for the tag "latest", given or implied."""
    match = _IMAGE.fullmatch(image)
    if match is None:
        return "IfNotPresent"
    latest = match["tag"] == ":latest" or (match["tag"] is None and match["digest"] is None)
    return "Always" if latest else "IfNotPresent"


def _container(container: dict[str, Any]) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image", ""))


def _image_volume(source: dict[str, Any]) -> None:
    if not source.get("pullPolicy"):
        source["pullPolicy"] = pull_policy(source.get("reference", ""))


def _volume(volume: dict[str, Any]) -> None:
    """A volume without a source is an empty directory."""
    if all(value is None for key, value in volume.items() if key != "name"):
        volume["emptyDir"] = {}


def _round_amounts(holder: dict[str, Any]) -> None:
    """Amounts of resources have no more than three digits after the point."""
    for key in ("limits", "requests", "overhead"):
        amounts = holder.get(key)
        if amounts:
            holder[key] = {name: _rounded(amount) for name, amount in amounts.items()}


@functools.lru_cache(maxsize=4096)
def _rounded(text: str) -> str:
    amount = quantity.parse(text)
    if amount.amount % _MILLI == 0:
        return text
    return str(quantity.Quantity(amount.milli_value * _MILLI, amount.family))


def _service_account(spec: dict[str, Any]) -> None:
    """The old and the new name of the field are kept equal; the new one wins."""
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _pod(obj: dict[str, Any]) -> None:
    """What holds for pods, not for pod templates."""
    spec = obj.setdefault("spec", {})
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        spec["terminationGracePeriodSeconds"] = 1
    for key in ("containers", "initContainers"):
        for container in spec.get(key) or ():
            _requests_from_limits(container)
            if spec.get("hostNetwork"):
                for port in container.get("ports") or ():
                    port["hostPort"] = port.get("hostPort") or port.get("containerPort", 0)
    _pod_resources(spec)


def _requests_from_limits(holder: dict[str, Any]) -> None:
    needs = holder.get("resources") or {}
    limits = needs.get("limits")
    if limits:
        needs["requests"] = {**limits, **(needs.get("requests") or {})}


def _pod_resources(spec: dict[str, Any]) -> None:
    """Requests of a pod as a whole: what its containers request together, else the pod's limit."""
    needs = spec.get("resources")
    if not needs or not needs.get("limits"):
        return
    requests = needs.get("requests") or {}
    for name, limit in needs["limits"].items():
        if name in requests or not name.startswith(_POD_RESOURCES):
            continue
        asked = [
            quantity.parse(amount)
            for container in spec.get("containers") or ()
            if (amount := ((container.get("resources") or {}).get("requests") or {}).get(name)) is not None
        ]
        if asked:
            total = sum((amount.amount for amount in asked), quantity.ZERO.amount)
            requests[name] = str(quantity.Quantity(total, asked[0].family))
        else:
            requests[name] = limit
    if requests:
        needs["requests"] = requests


def _pod_status(status: dict[str, Any]) -> None:
    """The first of the addresses is also given alone; the single one wins."""
    for one, many in (("podIP", "podIPs"), ("hostIP", "hostIPs")):
        listed = status.get(many)
        if one == "hostIP" and not listed:
            continue
        if status.get(one):
            if not listed or listed[0].get("ip") != status[one]:
                status[many] = [{"ip": status[one]}]
        elif listed:
            status[one] = listed[0]["ip"]


def _secret(obj: dict[str, Any]) -> None:
    """``stringData`` is written into ``data`` and never kept."""
    plain = obj.pop("stringData", None)
    if plain:
        data = obj.setdefault("data", {})
        data.update({key: base64text.encode(value.encode()) for key, value in plain.items()})


def _namespace(obj: dict[str, Any]) -> None:
    """A Namespace carries its own name as a label."""
    meta = obj["metadata"]
    if meta.get("name"):
        labels = meta.setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = meta["name"]


def _deployment_strategy(strategy: dict[str, Any]) -> None:
    kind = strategy.setdefault("type", "RollingUpdate")
    if kind == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")


RULES: dict[str, tuple[Rule, ...]] = {
    "apps/v1.DeploymentStrategy": (_deployment_strategy,),
    "core/v1.Container": (_container,),
    "core/v1.EphemeralContainer": (_container,),
    "core/v1.ImageVolumeSource": (_image_volume,),
    "core/v1.Namespace": (_namespace,),
    "core/v1.Pod": (_pod,),
    "core/v1.PodSpec": (_service_account, _round_amounts),
    "core/v1.PodStatus": (_pod_status,),
    "core/v1.ResourceRequirements": (_round_amounts,),
    "core/v1.Secret": (_secret,),
    "core/v1.Volume": (_volume,),
}

CONSTANTS: dict[str, dict[str, Any]] = {
    "apps/v1.DeploymentSpec": {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    },
    "core/v1.AzureDiskVolumeSource": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "readOnly": False,
        "kind": "Shared",
    },
    "core/v1.ConfigMapVolumeSource": {"defaultMode": _FILE_MODE},
    "core/v1.Container": _MESSAGES,
    "core/v1.ContainerPort": {"protocol": "TCP"},
    "core/v1.DownwardAPIVolumeSource": {"defaultMode": _FILE_MODE},
    "core/v1.EphemeralContainer": _MESSAGES,
    "core/v1.GRPCAction": {"service": ""},
    "core/v1.HTTPGetAction": {"path": "/", "scheme": "HTTP"},
    "core/v1.HostPathVolumeSource": {"type": ""},
    "core/v1.ISCSIVolumeSource": {"iscsiInterface": "default"},
    "core/v1.NamespaceStatus": {"phase": "Active"},
    "core/v1.ObjectFieldSelector": {"apiVersion": "v1"},
    "core/v1.PersistentVolumeClaimSpec": {"volumeMode": "Filesystem"},
    "core/v1.PodSpec": {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    },
    "core/v1.Probe": {
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    },
    "core/v1.ProjectedVolumeSource": {"defaultMode": _FILE_MODE},
    "core/v1.RBDVolumeSource": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "core/v1.ScaleIOVolumeSource": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
    "core/v1.Secret": {"type": "Opaque"},
    "core/v1.SecretVolumeSource": {"defaultMode": _FILE_MODE},
    "core/v1.ServiceAccountTokenProjection": {"expirationSeconds": 3600},
}

DISABLED: dict[str, tuple[str, ...]] = {
    "coordination.k8s.io/v1.LeaseSpec": ("strategy", "preferredHolder"),
    "core/v1.Lifecycle": ("stopSignal",),
    "core/v1.PodSpec": ("schedulingGroup",),
    "core/v1.VolumeProjection": ("clusterTrustBundle", "podCertificate"),
}
