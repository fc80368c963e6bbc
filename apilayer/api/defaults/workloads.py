"""What is filled in for workloads: sets of pods, jobs and what scales them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apilayer.api.defaults.tables import Rule

Object = dict[str, Any]

_MAX_INT32 = 2**31 - 1
_CPU_PERCENT = 80
_TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _shared_labels(obj: Object, template: Object) -> Object | None:
    """Gives an object without labels those of its pods: the same map, so that what is added to it counts for both."""
    labels: Object | None = (template.get("metadata") or {}).get("labels")
    if labels is not None and not obj["metadata"].get("labels"):
        obj["metadata"]["labels"] = labels
    return labels


def _replication_controller(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    labels = _shared_labels(obj, spec.get("template") or {})
    if labels is not None and not spec.get("selector"):
        spec["selector"] = dict(labels)


def _stateful_set(spec: Object) -> None:
    policy = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    for key in ("whenDeleted", "whenScaled"):
        policy[key] = policy.get(key) or "Retain"
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("apiVersion", "v1")


def _set_strategy(strategy: Object) -> None:
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        strategy.setdefault("rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        strategy["rollingUpdate"].setdefault("partition", 0)


def _daemon_set(obj: Object) -> None:
    """The count of changes of the template is an annotation, which whoever creates the set owns."""
    annotations = obj["metadata"].get("annotations") or {}
    obj["metadata"]["annotations"] = {_TEMPLATE_GENERATION: "0", **annotations}


def _daemon_strategy(strategy: Object) -> None:
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)


def _job(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    constants = {
        "parallelism": 1,
        "backoffLimit": 6 if spec.get("backoffLimitPerIndex") is None else _MAX_INT32,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed",
    }
    for key, value in constants.items():
        spec.setdefault(key, value)
    _shared_labels(obj, spec.get("template") or {})


def _cpu_metric(spec: Object) -> None:
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def _behavior(behavior: Object) -> None:
    up = behavior.setdefault("scaleUp", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    up.setdefault("selectPolicy", "Max")
    if up.get("policies") is None:
        up["policies"] = [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]
    down = behavior.setdefault("scaleDown", {})
    down.setdefault("selectPolicy", "Max")
    if down.get("policies") is None:
        down["policies"] = [{"type": "Percent", "value": 100, "periodSeconds": 15}]


RULES: dict[str, tuple[Rule, ...]] = {
    "apps/v1.DaemonSet": (_daemon_set,),
    "apps/v1.DaemonSetUpdateStrategy": (_daemon_strategy,),
    "apps/v1.StatefulSetSpec": (_stateful_set,),
    "apps/v1.StatefulSetUpdateStrategy": (_set_strategy,),
    "autoscaling/v2.HorizontalPodAutoscalerBehavior": (_behavior,),
    "autoscaling/v2.HorizontalPodAutoscalerSpec": (_cpu_metric,),
    "batch/v1.Job": (_job,),
    "core/v1.ReplicationController": (_replication_controller,),
}

CONSTANTS: dict[str, dict[str, Any]] = {
    "apps/v1.DaemonSetSpec": {"revisionHistoryLimit": 10},
    "apps/v1.ReplicaSetSpec": {"replicas": 1},
    "apps/v1.StatefulSetSpec": {
        "podManagementPolicy": "OrderedReady",
        "replicas": 1,
        "revisionHistoryLimit": 10,
    },
    "autoscaling/v2.HorizontalPodAutoscalerSpec": {"minReplicas": 1},
    "batch/v1.CronJobSpec": {
        "concurrencyPolicy": "Allow",
        "suspend": False,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 1,
    },
    "batch/v1.PodFailurePolicyOnPodConditionsPattern": {"status": "True"},
    "core/v1.ReplicationControllerSpec": {"replicas": 1},
}

DISABLED = {
    "apps/v1.RollingUpdateStatefulSetStrategy": ("maxUnavailable",),
}
