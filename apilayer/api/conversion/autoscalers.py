"""HorizontalPodAutoscalers of autoscaling/v1 and v2.

Version 1 knows a CPU target alone; everything else that version 2 has travels in annotations, as JSON. Source:
Kubernetes' ``pkg/apis/autoscaling/v1/conversion.go`` and ``annotations.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api import types
from apilayer.api.decode.convert import converter
from apilayer.later import Later

if TYPE_CHECKING:
    from apilayer.api.validation import goform
else:
    goform = Later("apilayer.api.validation.goform")

Object = dict[str, Any]

_PREFIX = "autoscaling.alpha.kubernetes.io/"
METRICS, BEHAVIOR = _PREFIX + "metrics", _PREFIX + "behavior"
CURRENT_METRICS, CONDITIONS = _PREFIX + "current-metrics", _PREFIX + "conditions"
_BEHAVIOR = "autoscaling/v2.HorizontalPodAutoscalerBehavior"  # which version 1 carries in its internal form
_ALL = (METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS)


def to_v2(scaler: Object) -> Object:
    """A version 1 object as version 2; annotations that are not JSON of the right shape are dropped."""
    metadata = dict(scaler.get("metadata") or {})
    annotations = dict(metadata.pop("annotations", None) or {})
    carried = {name: _loads(annotations.pop(name)) for name in _ALL if name in annotations}
    if annotations:
        metadata["annotations"] = annotations
    spec = dict(scaler.get("spec") or {})
    target = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = _fitting("MetricSpec", [_metric_to_v2(metric) for metric in _objects(carried.get(METRICS))])
    if target is not None:
        metrics.append(_cpu("target", {"type": "Utilization", "averageUtilization": target}))
    if metrics:
        spec["metrics"] = metrics
    for behavior in _fitting("HorizontalPodAutoscalerBehavior", [_json_names(carried.get(BEHAVIOR), _BEHAVIOR)]):
        spec["behavior"] = behavior
    status = dict(scaler.get("status") or {})
    current = status.pop("currentCPUUtilizationPercentage", None)
    metrics = _fitting("MetricStatus", [_status_to_v2(metric) for metric in _objects(carried.get(CURRENT_METRICS))])
    if current is not None:
        metrics.append(_cpu("current", {"averageUtilization": current}))
    status["currentMetrics"] = metrics or None
    conditions = _fitting("HorizontalPodAutoscalerCondition", _objects(carried.get(CONDITIONS)))
    if conditions:
        status["conditions"] = conditions
    return {**scaler, "metadata": metadata, "spec": spec, "status": status}


def from_v2(scaler: Object) -> Object:
    """A version 2 object as version 1."""
    metadata = dict(scaler.get("metadata") or {})
    annotations = {key: value for key, value in (metadata.pop("annotations", None) or {}).items() if key not in _ALL}
    spec = dict(scaler.get("spec") or {})
    target, others = _take_cpu(spec.pop("metrics", None) or (), "target")
    if target is not None:
        spec["targetCPUUtilizationPercentage"] = target
    if others:
        annotations[METRICS] = _dumps([_metric_from_v2(metric) for metric in others])
    behavior = spec.pop("behavior", None)
    if behavior:
        annotations[BEHAVIOR] = _dumps(goform.of(behavior, _BEHAVIOR))
    status = dict(scaler.get("status") or {})
    current, others = _take_cpu(status.pop("currentMetrics", None) or (), "current")
    if current is not None:
        status["currentCPUUtilizationPercentage"] = current
    if others:
        annotations[CURRENT_METRICS] = _dumps([_status_from_v2(metric) for metric in others])
    conditions = status.pop("conditions", None)
    if conditions:
        annotations[CONDITIONS] = _dumps(conditions)
    if annotations:
        metadata["annotations"] = annotations
    return {**scaler, "metadata": metadata, "spec": spec, "status": status}


def _cpu(key: str, value: Object) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", key: value}}


def _take_cpu(metrics: Any, key: str) -> tuple[int | None, list[Object]]:
    """The CPU utilization among the metrics, which version 1 has a field for, and all the others."""
    found: int | None = None
    others = []
    for metric in metrics:
        resource = metric.get("resource") or {}
        value = (resource.get(key) or {}).get("averageUtilization")
        if metric.get("type") == "Resource" and resource.get("name") == "cpu" and value is not None and found is None:
            found = value
        else:
            others.append(metric)
    return found, others


def _loads(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _fitting(kind: str, values: list[Any]) -> list[Object]:
    """Those of `values` that are messages `kind` of version 2, in canonical form."""
    found = []
    for value in values:
        if isinstance(value, dict):
            try:
                found.append(converter(f"autoscaling/v2.{kind}")(value))
            except ValueError:
                continue
    return found


def _json_names(value: Any, name: str) -> Any:
    """A message with Go's names, as JSON names its fields; any case is understood, as Go does."""
    if not isinstance(value, dict):
        return value
    fields = {key.lower(): (key, field) for key, field in types.message(name).json_fields.items()}
    out: Object = {}
    for given, member in value.items():
        key, field = fields.get(given.lower(), (given, None))
        if field is not None and field.is_message:
            out[key] = (
                [_json_names(item, field.type) for item in member]
                if isinstance(member, list)
                else _json_names(member, field.type)
            )
        else:
            out[key] = member
    return out


def _objects(value: Any) -> list[Object]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


# ---------------------------------------------------------------------- metrics: version 1 has flat sources


def _present(**members: Any) -> Object:
    return {key: value for key, value in members.items() if value is not None}


def _source(metric: Object) -> tuple[str, Object]:
    """The field that the metric's type names, and what is in it."""
    kind = str(metric.get("type") or "")
    name = kind[:1].lower() + kind[1:]
    source = metric.get(name)
    return name, source if isinstance(source, dict) else {}


def _target(average: Any, utilization: Any, value: Any) -> Object:
    if utilization is not None:
        return {"type": "Utilization", "averageUtilization": utilization}
    if average is not None:
        return {"type": "AverageValue", "averageValue": average}
    return _present(type="Value", value=value)


def _to_v2(metric: Object, key: str, value: Object) -> Object:
    """A metric of version 1 with `value` at `key`, where version 2 has its target or what it is at present."""
    name, flat = _source(metric)
    if name in ("resource", "containerResource"):
        made = _present(name=flat.get("name"), **{key: value}, container=flat.get("container"))
    else:
        selector = flat.get("selector") or flat.get("metricSelector")
        described = flat.get("target") if name == "object" else None
        identity = _present(name=flat.get("metricName"), selector=selector)
        made = _present(metric=identity, **{key: value}, describedObject=described)
    return {"type": metric.get("type"), name: made}


def _metric_to_v2(metric: Object) -> Object:
    _, flat = _source(metric)
    average = flat.get("targetAverageValue") or flat.get("averageValue")
    return _to_v2(metric, "target", _target(average, flat.get("targetAverageUtilization"), flat.get("targetValue")))


def _metric_from_v2(metric: Object) -> Object:
    name, source = _source(metric)
    target = source.get("target") or {}
    identity = source.get("metric") or {}
    average, utilization = target.get("averageValue"), target.get("averageUtilization")
    if name in ("resource", "containerResource"):
        made = _present(
            name=source.get("name"),
            targetAverageUtilization=utilization,
            targetAverageValue=average,
            container=source.get("container"),
        )
    elif name == "pods":
        made = _present(metricName=identity.get("name"), targetAverageValue=average, selector=identity.get("selector"))
    elif name == "object":
        made = _present(
            target=source.get("describedObject"),
            metricName=identity.get("name"),
            targetValue=target.get("value") or "0",
            selector=identity.get("selector"),
            averageValue=average,
        )
    else:
        made = _present(
            metricName=identity.get("name"),
            metricSelector=identity.get("selector"),
            targetValue=target.get("value"),
            targetAverageValue=average,
        )
    return {"type": metric.get("type"), name: made}


def _status_to_v2(metric: Object) -> Object:
    _, flat = _source(metric)
    current = _present(
        value=flat.get("currentValue"),
        averageValue=flat.get("currentAverageValue") or flat.get("averageValue"),
        averageUtilization=flat.get("currentAverageUtilization"),
    )
    return _to_v2(metric, "current", current)


def _status_from_v2(metric: Object) -> Object:
    name, source = _source(metric)
    current = source.get("current") or {}
    identity = source.get("metric") or {}
    average = current.get("averageValue")
    if name in ("resource", "containerResource"):
        made = _present(
            name=source.get("name"),
            currentAverageUtilization=current.get("averageUtilization"),
            currentAverageValue=average or "0",
            container=source.get("container"),
        )
    elif name == "object":
        made = _present(
            target=source.get("describedObject"),
            metricName=identity.get("name"),
            currentValue=current.get("value") or "0",
            selector=identity.get("selector"),
            averageValue=average,
        )
    else:
        selector = "metricSelector" if name == "external" else "selector"
        made = _present(
            metricName=identity.get("name"),
            currentValue=current.get("value") if name == "external" else None,
            currentAverageValue=average,
            **{selector: identity.get("selector")},
        )
    return {"type": metric.get("type"), name: made}
