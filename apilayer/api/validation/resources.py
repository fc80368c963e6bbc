"""Rules for resource requests and limits of containers and pods."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from apilayer.api import field, names, quantity
from apilayer.api.validation.common import NOT_NEGATIVE, Errors, Object, items, named, part, supported, text

if TYPE_CHECKING:
    from collections.abc import Collection

_HUGE_PAGES = "hugepages-"
CONTAINER_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage"})
COUNTED_RESOURCES = frozenset(
    {
        "pods",
        "services",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    }
)
STANDARD_RESOURCES = (
    CONTAINER_RESOURCES
    | COUNTED_RESOURCES
    | {
        "storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "requests.storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    }
)
_POD_RESOURCES = ("cpu", _HUGE_PAGES, "memory")
_NO_OVERCOMMIT = "Limit must be set for non overcommitable resources"


def resources(needs: Object, path: str) -> Errors:
    """Rules for one set of requests and limits."""
    wrong: Errors = []
    limits, requests = part(needs, "limits"), part(needs, "requests")
    for name, amount in limits.items():
        wrong += _amount(name, amount, f"{path}.limits[{name}]")
    for name, amount in requests.items():
        wrong += _amount(name, amount, f"{path}.requests[{name}]")
        wrong += _within_limit(name, amount, limits.get(name), path)
    huge = any(name.startswith(_HUGE_PAGES) for name in (*limits, *requests))
    if huge and not any(name in ("cpu", "memory") for name in (*limits, *requests)):
        wrong.append(field.forbidden(path, "HugePages require cpu or memory"))
    return wrong


def _within_limit(name: str, request: str, limit: str | None, path: str) -> Errors:
    if limit is None:
        if overcommit_allowed(name):
            return []
        return [field.required(f"{path}.limits", _NO_OVERCOMMIT)]
    asked, allowed = quantity.parse(request).amount, quantity.parse(limit).amount
    where = f"{path}.requests"
    if asked != allowed and not overcommit_allowed(name):
        return [field.invalid(where, request, f"must be equal to {name} limit of {limit}")]
    if asked > allowed:
        return [field.invalid(where, request, f"must be less than or equal to {name} limit of {limit}")]
    return []


def _is_native(name: str) -> bool:
    return "/" not in name or "kubernetes.io/" in name


def overcommit_allowed(name: str) -> bool:
    """Whether a limit may be above what is requested."""
    return _is_native(name) and not name.startswith(_HUGE_PAGES)


def _amount(name: str, amount: str, path: str) -> Errors:
    return resource_name(name, path, CONTAINER_RESOURCES, "containers") + _resource_value(name, amount, path)


def resource_name(name: str, path: str, special: Collection[str] | None, where_used: str) -> Errors:
    """Rules for the name of a resource; one without a domain is standard, and among the `special` ones if given."""
    wrong = named(path, name, names.qualified_name)
    if wrong or "/" in name:
        if not wrong and name.startswith("requests."):
            detail = "doesn't follow extended resource name standard"
            wrong = [field.invalid(path, name, detail)]
        return wrong
    huge = name.startswith((_HUGE_PAGES, f"requests.{_HUGE_PAGES}", f"limits.{_HUGE_PAGES}"))
    if not huge and name not in STANDARD_RESOURCES:
        detail = "must be a standard resource type or fully qualified"
        wrong.append(field.invalid(path, name, detail))
    if special is not None and not huge and name not in special:
        wrong.append(field.invalid(path, name, f"must be a standard resource for {where_used}"))
    return wrong


def _resource_value(name: str, amount: str, path: str) -> Errors:
    wrong: Errors = []
    value = quantity.parse(amount).amount
    if value < 0:
        wrong.append(field.invalid(path, amount, NOT_NEGATIVE))
    if not _is_native(name) and value.denominator != 1:
        wrong.append(field.invalid(path, amount, "must be an integer"))
    if name.startswith(_HUGE_PAGES):
        wrong += _huge_page_value(name, amount, path)
    return wrong


def _huge_page_value(name: str, amount: str, path: str) -> Errors:
    try:
        size = quantity.parse(name.removeprefix(_HUGE_PAGES)).amount
    except quantity.QuantityError as error:
        return [field.invalid(path, amount, str(error))]
    value = quantity.parse(amount).amount
    if size > 0 and value % size == 0:
        return []
    return [field.invalid(path, amount, f"{amount} is not positive integer multiple of {name}")]


def claims(needs: Object, known: Collection[str], path: str) -> Errors:
    """A container's claims name claims of its pod, each once."""
    wrong: Errors = []
    seen: set[tuple[str, str]] = set()
    for index, claim in enumerate(items(needs, "claims")):
        where = f"{path}[{index}]"
        name, request = text(claim, "name"), text(claim, "request")
        if not name:
            wrong.append(field.required(f"{where}.name"))
        elif (name, request) in seen:
            wrong.append(field.duplicate(where, f"{name}/{request}" if request else name))
        elif name not in known:
            detail = "must be one of the names in pod.spec.resourceClaims"
            wrong.append(field.not_found(where, name, detail + ("" if known else " which is empty")))
        seen.add((name, request))
    return wrong


def resize_policy(container: Object, path: str, *, never_restarts: bool) -> Errors:
    """What happens to a container when a resource is resized; those of a pod that never restarts go on."""
    wrong: Errors = []
    seen: set[str] = set()
    for policy in items(container, "resizePolicy"):
        name, restart = text(policy, "resourceName"), text(policy, "restartPolicy")
        if name in seen:
            wrong.append(field.duplicate(path, name))
        seen.add(name)
        for value, valid in ((name, ("cpu", "memory")), (restart, ("NotRequired", "RestartContainer"))):
            wrong += supported(path, value, valid) if value else [field.required(path)]
        if never_restarts and restart != "NotRequired":
            detail = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            wrong.append(field.invalid(path, restart, detail))
    return wrong


def _aggregate_requests(spec: Object) -> dict[str, quantity.Quantity]:
    """What the containers of a pod request together: all that run for long, or more while it is initialized."""
    running: dict[str, Fraction] = {}
    most: dict[str, Fraction] = {}
    shown: dict[str, quantity.Quantity] = {}
    for container in items(spec, "initContainers"):
        sidecar = container.get("restartPolicy") == "Always"
        for name, amount in _requests(container, shown).items():
            if sidecar:
                running[name] = running.get(name, Fraction(0)) + amount
            needed = running.get(name, Fraction(0)) + (0 if sidecar else amount)
            most[name] = max(most.get(name, Fraction(0)), needed)
    for container in items(spec, "containers"):
        for name, amount in _requests(container, shown).items():
            running[name] = running.get(name, Fraction(0)) + amount
    return {
        name: quantity.Quantity(max(running.get(name, Fraction(0)), most.get(name, Fraction(0))), parsed.family)
        for name, parsed in shown.items()
    }


def _requests(container: Object, shown: dict[str, quantity.Quantity]) -> dict[str, Fraction]:
    parsed = {name: quantity.parse(amount) for name, amount in part(part(container, "resources"), "requests").items()}
    for name, amount in parsed.items():
        shown.setdefault(name, amount)
    return {name: amount.amount for name, amount in parsed.items()}


def _counts_for_pods(name: str) -> bool:
    """Whether a resource can be asked for by a pod as a whole."""
    return name in ("cpu", "memory") or name.startswith(_HUGE_PAGES)


def pod_resources(spec: Object, path: str) -> Errors:
    """Rules for the resources of a pod as a whole: they bound those of each container."""
    needs = spec.get("resources")
    if needs is None:
        return []
    where = f"{path}.resources"
    wrong: Errors = []
    if needs.get("claims"):
        wrong.append(field.forbidden(f"{where}.claims", "claims cannot be set for Resources at pod-level"))
    for which in ("limits", "requests"):
        for name, amount in part(needs, which).items():
            if not _counts_for_pods(name):
                wrong.append(field.not_supported(f"{where}.{which}[{name}]", name, _POD_RESOURCES))
            else:
                wrong += _resource_value(name, amount, f"{where}.{which}[{name}]")
    limits = part(needs, "limits")
    for name, amount in part(needs, "requests").items():
        if name in limits:
            wrong += _within_limit(name, amount, limits[name], where)
    for name, together in _aggregate_requests(spec).items():
        asked = part(needs, "requests").get(name, "0")
        if together.amount > quantity.parse(asked).amount and _counts_for_pods(name):
            detail = f"must be greater than or equal to aggregate container requests of {together}"
            wrong.append(field.invalid(f"{where}.requests[{name}]", asked, detail))
    for index, container in enumerate(items(spec, "containers")):
        for name, amount in part(part(container, "resources"), "limits").items():
            allowed = limits.get(name)
            if allowed is not None and quantity.parse(amount).amount > quantity.parse(allowed).amount:
                at = f"{where}.containers[{index}][{name}].limits"
                detail = f"must be less than or equal to pod limits of {allowed}"
                wrong.append(field.invalid(at, amount, detail))
    return wrong
