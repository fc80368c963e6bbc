"""Evicting a pod: a deletion that its PodDisruptionBudget may forbid.

Source: Kubernetes' ``pkg/registry/core/pod/storage/eviction.go``. The budget is taken first, in a write of its own
that fails when somebody else took it; only then is the pod told why it ends, and deleted. Where its state is the reason
that no budget is taken, it is deleted only in that state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api import status
from apilayer.api.meta import timestamp, utc_now
from apilayer.api.resources import Resource
from apilayer.api.selectors import selector_matches
from apilayer.registry.deletion import check_preconditions
from apilayer.registry.options import ListOptions, WriteOptions

if TYPE_CHECKING:
    from datetime import datetime

    from apilayer.registry.options import DeleteOptions
    from apilayer.registry.registry import Registry

Object = dict[str, Any]

EVICTION = Resource("policy", "v1", "evictions", "Eviction", namespaced=True, virtual=True, also_as=("policy/v1beta1",))
MAX_DISRUPTED_PODS = 2000
PROCESSING_RETRY_SECONDS = 10
ATTEMPTS = 20
"""How often a pod is looked at anew because it changed meanwhile, as kube-apiserver does."""
_PROCESSING = "The disruption budget {} is still being processed by the server."
_SEVERAL_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."

_EXHAUSTED = {"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": ""}
_DISRUPTION = {
    "type": "DisruptionTarget",
    "status": "True",
    "lastProbeTime": None,
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}


async def evict(registry: Registry, namespace: str, name: str, options: DeleteOptions) -> None:
    """Deletes the pod if its budget allows it. Raises StatusError 404, 409, 429, or 500 for several budgets."""
    pods = registry.of("pods").store
    for attempt in range(ATTEMPTS):
        pod = (await pods.get(namespace, name)).object()
        if not _goes_anyway(pod):
            break
        try:
            return await _delete(registry, pod, options, as_it_is=not _has_ended(pod))
        except status.StatusError as error:
            last = attempt == ATTEMPTS - 1
            if error.status.get("reason") != "Conflict" or options.resource_version is not None or last:
                raise
    budget = await _budget_of(registry, namespace, pod)
    unhealthy = budget is not None and _unhealthy_may_go(pod, budget)
    if budget is not None and not unhealthy:
        await _take(registry, namespace, budget["metadata"]["name"], name, dry_run=options.dry_run)
    try:
        await _delete(registry, pod, options, as_it_is=unhealthy)
    except status.StatusError as error:
        if not unhealthy or error.status.get("reason") != "Conflict" or options.resource_version is not None:
            raise
        # It may be healthy by now, and then it counts.
        assert budget is not None
        text = _PROCESSING.format(budget["metadata"]["name"])
        raise status.disruption_budget(text, PROCESSING_RETRY_SECONDS) from error


def _goes_anyway(pod: Object) -> bool:
    """Pods that run nothing, or are ending already, disrupt nobody."""
    return _has_ended(pod) or (pod.get("status") or {}).get("phase") == "Pending"


def _has_ended(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed") or bool(pod["metadata"].get("deletionTimestamp"))


async def _delete(registry: Registry, pod: Object, options: DeleteOptions, *, as_it_is: bool) -> None:
    """Says in the pod's status why it ends and deletes it; `as_it_is`: only if it has not changed since it was read."""
    pods, metadata = registry.of("pods").store, pod["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    version = options.resource_version
    if version is None and as_it_is:
        version = metadata["resourceVersion"]
    if not options.dry_run:

        def told(old: Object) -> Object:
            check_preconditions(pods.strategy, old, attrs.evolve(options, resource_version=version))
            return disrupted(old, utc_now())

        entry = await pods.patch(namespace, name, told, WriteOptions(), "status")
        if version is not None:
            version = str(entry.revision)
    await pods.delete(namespace, name, attrs.evolve(options, resource_version=version))


def disrupted(pod: Object, now: datetime) -> Object:
    """`pod` with the condition that an eviction ends it."""
    state = pod.setdefault("status", {})
    state["conditions"] = with_condition(state.get("conditions") or [], _DISRUPTION, now)
    return pod


def with_condition(known: list[Object], wanted: Object, now: datetime) -> list[Object]:
    """`known` with one condition as wanted; its time is that of the last change of its status."""
    before = next((item for item in known if item.get("type") == wanted["type"]), None)
    condition = {**wanted, "lastTransitionTime": timestamp(now)}
    if before is None:
        return [*known, condition]
    if before.get("status") == wanted["status"]:
        condition["lastTransitionTime"] = before.get("lastTransitionTime")
    return [condition if item is before else item for item in known]


async def _budget_of(registry: Registry, namespace: str, pod: Object) -> Object | None:
    labels = pod["metadata"].get("labels")
    listing = await registry.of("poddisruptionbudgets.policy").lists.list(namespace, ListOptions())
    found = [
        budget
        for budget in (entry.object() for entry in listing.entries)
        if selector_matches((budget.get("spec") or {}).get("selector"), labels)
    ]
    if len(found) > 1:
        raise status.raw(500, _SEVERAL_BUDGETS)
    return found[0] if found else None


def _unhealthy_may_go(pod: Object, budget: Object) -> bool:
    """Whether the pod is not ready, and the budget's policy lets such pods go without counting them."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    if any(condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    state = budget.get("status") or {}
    wanted = state.get("desiredHealthy") or 0
    return wanted > 0 and (state.get("currentHealthy") or 0) >= wanted


async def _take(registry: Registry, namespace: str, budget: str, pod: str, *, dry_run: bool) -> None:
    """Counts the pod against its budget."""
    store = registry.of("poddisruptionbudgets.policy").store
    await store.patch(
        namespace,
        budget,
        lambda old: taken(old, pod, utc_now()),
        WriteOptions(dry_run=dry_run),
        "status",
    )


def taken(budget: Object, pod: str, now: datetime) -> Object:
    """`budget` with one disruption less. Raises StatusError 403 or 429 when it has none left."""
    name = budget["metadata"]["name"]
    state = budget.setdefault("status", {})
    if (state.get("observedGeneration") or 0) < (budget["metadata"].get("generation") or 0):
        raise status.disruption_budget(_PROCESSING.format(name), PROCESSING_RETRY_SECONDS)
    allowed = state.get("disruptionsAllowed") or 0
    pods = state.get("disruptedPods") or {}
    if allowed < 0:
        raise status.forbidden("poddisruptionbudget", "policy", name, "pdb disruptions allowed is negative")
    if len(pods) > MAX_DISRUPTED_PODS:
        text = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise status.forbidden("poddisruptionbudget", "policy", name, text)
    if allowed == 0:
        wanted, have = state.get("desiredHealthy") or 0, state.get("currentHealthy") or 0
        text = f"The disruption budget {name} needs {wanted} healthy pods and has {have} currently"
        raise status.disruption_budget(text, 0)
    state["disruptionsAllowed"] = allowed - 1
    state["disruptedPods"] = {**pods, pod: timestamp(now)}
    if allowed == 1:
        exhausted = {**_EXHAUSTED, "observedGeneration": state.get("observedGeneration") or 0}
        state["conditions"] = with_condition(state.get("conditions") or [], exhausted, now)
    return budget
