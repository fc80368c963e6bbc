"""What is filled in for nodes, limits, roles, webhooks, flow control and other kinds that rule the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from apilayer.api.defaults.tables import Rule

Object = dict[str, Any]

_RBAC = "rbac.authorization.k8s.io"
_WEBHOOK = {
    "failurePolicy": "Fail",
    "matchPolicy": "Equivalent",
    "namespaceSelector": {},
    "objectSelector": {},
    "timeoutSeconds": 10,
}


def _node_spec(spec: Object) -> None:
    """The first of the ranges is also given alone; the single one wins."""
    one, many = spec.get("podCIDR"), spec.get("podCIDRs") or []
    if one and (not many or many[0] != one):
        spec["podCIDRs"] = [one]
    elif many and not one:
        spec["podCIDR"] = many[0]


def _node_status(status: Object) -> None:
    if status.get("allocatable") is None and status.get("capacity"):
        status["allocatable"] = dict(status["capacity"])


def _limit(item: Object) -> None:
    """For containers, a default is the maximum, and a default request the default or the minimum."""
    if item.get("type") != "Container":
        return
    maximum, minimum = item.get("max") or {}, item.get("min") or {}
    default = {**maximum, **(item.get("default") or {})}
    request = {**minimum, **default, **(item.get("defaultRequest") or {})}
    for key, amounts in (("default", default), ("defaultRequest", request)):
        if amounts:
            item[key] = amounts


def _subject(subject: Object) -> None:
    if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
        subject["apiGroup"] = _RBAC


def _device_request(request: Object) -> None:
    mode = request["allocationMode"] = request.get("allocationMode") or "ExactCount"
    if mode == "ExactCount" and not request.get("count"):
        request["count"] = 1


def _definition(spec: Object) -> None:
    """Names that follow from the kind, and no conversion."""
    names = spec.setdefault("names", {})
    kind = names.get("kind", "")
    names["singular"] = names.get("singular") or kind.lower()
    if kind:
        names["listKind"] = names.get("listKind") or f"{kind}List"
    if spec.get("conversion") is None:
        spec["conversion"] = {"strategy": "None"}


RULES: dict[str, tuple[Rule, ...]] = {
    "apiextensions.k8s.io/v1.CustomResourceDefinitionSpec": (_definition,),
    "core/v1.LimitRangeItem": (_limit,),
    "core/v1.NodeSpec": (_node_spec,),
    "core/v1.NodeStatus": (_node_status,),
    "rbac.authorization.k8s.io/v1.Subject": (_subject,),
    "resource.k8s.io/v1.DeviceSubRequest": (_device_request,),
    "resource.k8s.io/v1.ExactDeviceRequest": (_device_request,),
}

CONSTANTS: dict[str, dict[str, Any]] = {
    "admissionregistration.k8s.io/v1.MatchResources": {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
    },
    "admissionregistration.k8s.io/v1.MutatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    "admissionregistration.k8s.io/v1.MutatingWebhook": {**_WEBHOOK, "reinvocationPolicy": "Never"},
    "admissionregistration.k8s.io/v1.NamedRuleWithOperations": {"scope": "*"},
    "admissionregistration.k8s.io/v1.RuleWithOperations": {"scope": "*"},
    "admissionregistration.k8s.io/v1.ServiceReference": {"port": 443},
    "admissionregistration.k8s.io/v1.ValidatingAdmissionPolicySpec": {"failurePolicy": "Fail"},
    "admissionregistration.k8s.io/v1.ValidatingWebhook": _WEBHOOK,
    "apiextensions.k8s.io/v1.ServiceReference": {"port": 443},
    "apiregistration.k8s.io/v1.ServiceReference": {"port": 443},
    "flowcontrol.apiserver.k8s.io/v1.ExemptPriorityLevelConfiguration": {
        "nominalConcurrencyShares": 0,
        "lendablePercent": 0,
    },
    "flowcontrol.apiserver.k8s.io/v1.FlowSchemaSpec": {"matchingPrecedence": 1000},
    "flowcontrol.apiserver.k8s.io/v1.LimitedPriorityLevelConfiguration": {
        "nominalConcurrencyShares": 30,
        "lendablePercent": 0,
    },
    "flowcontrol.apiserver.k8s.io/v1.QueuingConfiguration": {"queues": 64, "handSize": 8, "queueLengthLimit": 50},
    "rbac.authorization.k8s.io/v1.RoleRef": {"apiGroup": _RBAC},
    "scheduling.k8s.io/v1.PriorityClass": {"preemptionPolicy": "PreemptLowerPriority"},
}

DISABLED: dict[str, tuple[str, ...]] = {}
