"""Rules for what keeps pods running: ReplicaSets, StatefulSets, DaemonSets and ReplicationControllers.

PodTemplates and ControllerRevisions, which these and other controllers keep, are here too.
"""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.claims import claim_spec
from apilayer.api.validation.common import Errors, Object, count_of, items, part, supported, text
from apilayer.api.validation.deployment import replica_template
from apilayer.api.validation.metadata import validate_annotations, validate_labels
from apilayer.api.validation.pod import pod_template
from apilayer.api.validation.selectors import label_selector, matches
from apilayer.api.validation.vocabulary import (
    Check,
    at,
    bounded_by,
    count_or_percent,
    each,
    every,
    fixed,
    given,
    maybe_one_of,
    name,
    non_negative,
    not_decremented,
    required,
    rules,
    still,
)

_TOO_MANY = "cannot be greater than status.replicas"
_MISMATCH = "`selector` does not match template `labels`"
_SET_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_SET_FIXED = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy',"
    " 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _selector(kind: str, ending: str = "") -> Check:
    """A selector is given, well formed and selects by something."""

    def check(spec: Object, path: str) -> Errors:
        where, selector = f"{path}.selector", spec.get("selector")
        if selector is None:
            return [field.required(where)]
        wrong = label_selector(selector, where)
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            wrong.append(field.invalid(where, selector, f"empty selector is {ending or 'invalid'} for {kind}"))
        return wrong

    return check


def _always(kind: str) -> Check:
    """Pods that are replaced for ever always restart and have no deadline."""

    def check(spec: Object, path: str) -> Errors:
        pod = part(part(spec, "template"), "spec")
        where = f"{path}.template.spec"
        wrong = supported(f"{where}.restartPolicy", text(pod, "restartPolicy"), ("Always",))
        if pod.get("activeDeadlineSeconds") is not None:
            detail = f"activeDeadlineSeconds in {kind} is not Supported"
            wrong.append(field.forbidden(f"{where}.activeDeadlineSeconds", detail))
        return wrong

    return check


def _replica_template(spec: Object, path: str) -> Errors:
    selector = spec.get("selector")
    if label_selector(selector, ""):
        return [field.invalid(f"{path}.selector", selector, "invalid label selector")]
    return replica_template(part(spec, "template"), selector, f"{path}.template")


def _labels_of(template: Object, selector: Object | None, path: str) -> Errors:
    found = part(template, "metadata").get("labels")
    if matches(selector, found or {}):
        return []
    return [field.invalid(f"{path}.metadata.labels", found, _MISMATCH)]


replica_set = rules(
    at("spec", non_negative("replicas", "minReadySeconds"), _selector("deployment"), _replica_template),
)

_replica_counts = at(
    "status",
    non_negative("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"),
    bounded_by("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", detail=_TOO_MANY),
    bounded_by("readyReplicas", "availableReplicas", detail="cannot be greater than readyReplicas"),
)
REPLICA_SET_UPDATE = (still(replica_set), fixed("spec.selector"))
REPLICA_STATUS = (still(rules(_replica_counts)),)


def _controller_template(spec: Object, path: str) -> Errors:
    template, selector, where = spec.get("template"), part(spec, "selector"), f"{path}.template"
    if template is None:
        return [field.required(where)]
    wrong = _labels_of(template, {"matchLabels": selector}, where) if selector else []
    return wrong + pod_template(template, where) + _always("ReplicationController")(spec, path)


replication_controller = rules(
    at(
        "spec",
        non_negative("minReadySeconds"),
        required("selector"),
        non_negative("replicas"),
        _controller_template,
    ),
)
REPLICATION_CONTROLLER_UPDATE = (still(replication_controller),)


def _set_strategy(spec: Object, path: str) -> Errors:
    strategy, where = part(spec, "updateStrategy"), f"{path}.updateStrategy"
    kind, rolling = text(strategy, "type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        if rolling is None:
            return []
        shown = goform.of(rolling, "apps/v1.RollingUpdateStatefulSetStrategy")
        return [field.invalid(f"{where}.rollingUpdate", shown, "only allowed for updateStrategy 'RollingUpdate'")]
    if kind == "RollingUpdate":
        return given("rollingUpdate", non_negative("partition"), count_or_percent("maxUnavailable"))(strategy, where)
    shown = goform.of(strategy, "apps/v1.StatefulSetUpdateStrategy")
    return [field.invalid(where, shown, "must be 'RollingUpdate' or 'OnDelete'")]


def _pod_management(spec: Object, path: str) -> Errors:
    policy = text(spec, "podManagementPolicy")
    if policy in ("OrderedReady", "Parallel"):
        return []
    return [field.invalid(f"{path}.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'")]


def _set_template(spec: Object, path: str) -> Errors:
    """The template of a StatefulSet, whose pods have a volume for each claim template too."""
    selector, template, where = spec.get("selector"), part(spec, "template"), f"{path}.template"
    if label_selector(selector, ""):
        return [field.invalid(f"{path}.selector", selector)]
    wrong = [] if selector == {} else _labels_of(template, selector, where)
    wrong += pod_template(_with_claims(template, items(spec, "volumeClaimTemplates")), where)
    meta = part(template, "metadata")
    wrong += validate_labels(part(meta, "labels"), f"{where}.labels")
    return wrong + validate_annotations(part(meta, "annotations"), f"{where}.annotations")


def _with_claims(template: Object, claims: list[Object]) -> Object:
    by_name = {text(part(claim, "metadata"), "name"): claim for claim in claims}
    if not by_name:
        return template
    spec = part(template, "spec")
    own = [volume for volume in items(spec, "volumes") if volume.get("name") not in by_name]
    made = [{"name": claim, "persistentVolumeClaim": {"claimName": claim}} for claim in by_name if claim]
    return {**template, "spec": {**spec, "volumes": own + made}}


def _claim_template(claim: Object, path: str) -> Errors:
    return claim_spec(part(claim, "spec"), f"{path}.spec")


stateful_set = rules(
    at(
        "spec",
        _pod_management,
        _set_strategy,
        given(
            "persistentVolumeClaimRetentionPolicy",
            maybe_one_of("whenDeleted", "Retain", "Delete"),
            maybe_one_of("whenScaled", "Retain", "Delete"),
        ),
        non_negative("replicas", "minReadySeconds"),
        given("ordinals", non_negative("start")),
        _selector("statefulset"),
        _set_template,
        _always("StatefulSet"),
        non_negative("revisionHistoryLimit"),
        name("serviceName", names.dns_label),
        each("volumeClaimTemplates", _claim_template),
    ),
)


def _set_fixed(new: Object, old: Object) -> Errors:
    after, before = part(new, "spec"), part(old, "spec")
    fixed_keys = (after.keys() | before.keys()) - set(_SET_MUTABLE)
    if all(after.get(key) == before.get(key) for key in fixed_keys):
        return []
    return [field.forbidden("spec", _SET_FIXED)]


STATEFUL_SET_UPDATE = (_set_fixed,)
_set_counts = at(
    "status",
    non_negative("replicas", "readyReplicas", "currentReplicas", "updatedReplicas"),
    non_negative("observedGeneration", "collisionCount", "availableReplicas"),
    bounded_by(
        "replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas", detail=_TOO_MANY
    ),
    bounded_by("readyReplicas", "availableReplicas", detail="cannot be greater than status.readyReplicas"),
)
STATEFUL_SET_STATUS = (still(rules(_set_counts)), not_decremented("status.collisionCount"))


def _daemon_selector(spec: Object, path: str) -> Errors:
    selector, where = spec.get("selector"), f"{path}.selector"
    wrong = label_selector(selector, where)
    if not wrong:
        wrong += _labels_of(part(spec, "template"), selector, f"{path}.template")
    if selector is not None and not selector.get("matchLabels") and not selector.get("matchExpressions"):
        wrong.append(field.invalid(where, selector, "empty selector is invalid for daemonset"))
    return wrong


def _template(spec: Object, path: str) -> Errors:
    return pod_template(part(spec, "template"), f"{path}.template")


def _daemon_strategy(spec: Object, path: str) -> Errors:
    strategy, where = part(spec, "updateStrategy"), f"{path}.updateStrategy"
    kind, rolling = text(strategy, "type"), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        return []
    if kind == "RollingUpdate":
        if rolling is None:
            return [field.required(f"{where}.rollingUpdate")]
        check = every(count_or_percent("maxUnavailable", "maxSurge"), _one_of_two_rates)
        return check(rolling, f"{where}.rollingUpdate")
    shown = goform.of(strategy, "apps/v1.DaemonSetUpdateStrategy")
    return [field.not_supported(where, shown, ("RollingUpdate", "OnDelete"))]


def _one_of_two_rates(rolling: Object, path: str) -> Errors:
    unavailable, surge = rolling.get("maxUnavailable", 0), rolling.get("maxSurge", 0)
    if count_of(unavailable) == 0 and count_of(surge) == 0:
        return [field.required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")]
    if count_of(unavailable) != 0 and count_of(surge) != 0:
        return [field.invalid(f"{path}.maxSurge", surge, "may not be set when maxUnavailable is non-zero")]
    return []


daemon_set = rules(
    at(
        "spec",
        _daemon_selector,
        _template,
        _always("DaemonSet"),
        non_negative("minReadySeconds"),
        _daemon_strategy,
        non_negative("revisionHistoryLimit"),
    ),
)
DAEMON_SET_UPDATE = (still(daemon_set), fixed("spec.selector"))
_daemon_counts = at(
    "status",
    non_negative("currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady"),
    non_negative("observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable"),
    non_negative("collisionCount"),
)
DAEMON_SET_STATUS = (still(rules(_daemon_counts)), not_decremented("status.collisionCount"))


def template_object(obj: Object) -> Errors:
    """Rules for a PodTemplate."""
    return pod_template(part(obj, "template"), "template")


def _revision_data(obj: Object, path: str) -> Errors:
    del path
    data = obj.get("data")
    if data is None:
        return [field.required("data", "data is mandatory")]
    return [] if isinstance(data, dict) else [field.required("data", "data must be a valid JSON object")]


controller_revision = rules(_revision_data, non_negative("revision"))
CONTROLLER_REVISION_UPDATE = (fixed("data"),)
