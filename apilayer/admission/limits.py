"""Resources held against the items of a LimitRange. Pure.

Source: Kubernetes' ``plugin/pkg/admission/limitranger`` and ``component-helpers/resource``.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from apilayer.admission.pods import containers
from apilayer.api.quantity import Quantity, QuantityError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Object = dict[str, Any]
Amounts = dict[str, Quantity]


def pod_errors(spec: Object, items: Sequence[Object]) -> Iterator[str]:
    """What is wrong with a pod's resources: of each container, and of the pod as a whole."""
    for item in items:
        if item.get("type") == "Container":
            for container in containers(spec, "containers", "initContainers"):
                resources = container.get("resources") or {}
                yield from _errors(item, amounts(resources.get("requests")), amounts(resources.get("limits")))
        elif item.get("type") == "Pod":
            yield from _errors(item, pod_total(spec, "requests"), pod_total(spec, "limits"))


def claim_errors(spec: Object, items: Sequence[Object]) -> Iterator[str]:
    """What is wrong with the size that a claim asks for."""
    requests = amounts((spec.get("resources") or {}).get("requests"))
    for item in items:
        if item.get("type") != "PersistentVolumeClaim":
            continue
        for name, bound in sorted(amounts(item.get("min")).items()):
            yield from _minimum("PersistentVolumeClaim", name, bound, requests, {})
        for name, bound in sorted(amounts(item.get("max")).items()):
            head = f"maximum {name} usage per PersistentVolumeClaim is {bound}"
            if name not in requests:
                yield f"{head}.  No request is specified"
            elif requests[name].amount > bound.amount:
                yield f"{head}, but request is {requests[name]}"


def pod_total(spec: Object, kind: str) -> Amounts:
    """What a pod needs of each resource: its containers together, or more while it starts.

    `kind` is "requests" or "limits". What the pod says for itself as a whole counts instead.
    """
    total: Amounts = {}
    for container in containers(spec, "containers"):
        _add(total, _of(container, kind))
    beside: Amounts = {}
    starting: Amounts = {}
    for container in containers(spec, "initContainers"):
        own = _of(container, kind)
        if container.get("restartPolicy") == "Always":
            _add(total, own)
            _add(beside, own)
            own = beside
        else:
            _add(own, beside)
        _raise(starting, own)
    _raise(total, starting)
    total.update(amounts((spec.get("resources") or {}).get(kind)))
    return total


def _of(container: Object, kind: str) -> Amounts:
    return amounts((container.get("resources") or {}).get(kind))


def amounts(resources: dict[str, str] | None) -> Amounts:
    """The quantities of a resource list; what is none is left to validation."""
    found: Amounts = {}
    for name, text in (resources or {}).items():
        try:
            found[name] = parse(str(text))
        except QuantityError:
            continue
    return found


def _add(total: Amounts, more: Amounts) -> None:
    for name, quantity in more.items():
        known = total.get(name)
        total[name] = quantity if known is None else Quantity(known.amount + quantity.amount, known.family)


def _raise(total: Amounts, least: Amounts) -> None:
    for name, quantity in least.items():
        known = total.get(name)
        if known is None or quantity.amount > known.amount:
            total[name] = quantity


def _errors(item: Object, requests: Amounts, ceilings: Amounts) -> Iterator[str]:
    kind = item["type"]
    for name, bound in sorted(amounts(item.get("min")).items()):
        yield from _minimum(kind, name, bound, requests, ceilings)
    for name, bound in sorted(amounts(item.get("max")).items()):
        yield from _maximum(kind, name, bound, requests, ceilings)
    for name, bound in sorted(amounts(item.get("maxLimitRequestRatio")).items()):
        yield from _ratio(kind, name, bound, requests.get(name), ceilings.get(name))


def _minimum(kind: str, name: str, bound: Quantity, requests: Amounts, ceilings: Amounts) -> Iterator[str]:
    head = f"minimum {name} usage per {kind} is {bound}"
    if name not in requests:
        yield f"{head}.  No request is specified"
    elif requests[name].amount < bound.amount:
        yield f"{head}, but request is {requests[name]}"
    elif name in ceilings and ceilings[name].amount < bound.amount:
        yield f"{head}, but limit is {ceilings[name]}"


def _maximum(kind: str, name: str, bound: Quantity, requests: Amounts, ceilings: Amounts) -> Iterator[str]:
    head = f"maximum {name} usage per {kind} is {bound}"
    if name not in ceilings:
        yield f"{head}.  No limit is specified"
    elif ceilings[name].amount > bound.amount:
        yield f"{head}, but limit is {ceilings[name]}"
    elif name in requests and requests[name].amount > bound.amount:
        yield f"{head}, but request is {requests[name]}"


def _ratio(kind: str, name: str, bound: Quantity, request: Quantity | None, ceiling: Quantity | None) -> Iterator[str]:
    head = f"{name} max limit to request ratio per {kind} is {bound}"
    if request is None or not request.amount:
        yield f"{head}, but no request is specified or request is 0"
    elif ceiling is None or not ceiling.amount:
        yield f"{head}, but no limit is specified or limit is 0"
    else:
        ratio = Fraction(ceiling.amount, request.amount)
        if ratio > bound.amount:
            yield f"{head}, but provided ratio is {float(ratio):.6f}"
