"""Evicting a pod: a deletion that its PodDisruptionBudget may forbid.

Source: Kubernetes' ``pkg/registry/core/pod/storage/eviction.go``. The budget is taken first, in a write of its own
that fails when somebody else took it; only then is the pod deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import status
from apilayer.api.meta import timestamp, utc_now
from apilayer.api.resources import Resource
from apilayer.api.selectors import selector_matches
from apilayer.registry.options import ListOptions, WriteOptions

if TYPE_CHECKING:
    from datetime import datetime

    from apilayer.registry.options import DeleteOptions
    from apilayer.registry.registry import Registry

Object = dict[str, Any]

EVICTION = Resource("policy", "v1", "evictions", "Eviction", namespaced=True, virtual=True)
MAX_DISRUPTED_PODS = 2000
PROCESSING_RETRY_SECONDS = 10
_SEVERAL_BUDGETS = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."


async def evict(registry: Registry, namespace: str, name: str, options: DeleteOptions) -> None:
    """Deletes the pod if its budget allows it. Raises StatusError 404, 409, 429, or 500 for several budgets."""
    pods = registry.of("pods").store
    pod = (await pods.get(namespace, name)).object()
    if not _goes_anyway(pod):
        budget = await _budget_of(registry, namespace, pod)
        if budget is not None and not _unhealthy_may_go(pod, budget):
            await _take(registry, namespace, budget["metadata"]["name"], name, dry_run=options.dry_run)
    await pods.delete(namespace, name, options)


def _goes_anyway(pod: Object) -> bool:
    """Pods that run nothing, or are ending already, disrupt nobody."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod["metadata"].get("deletionTimestamp"))


async def _budget_of(registry: Registry, namespace: str, pod: Object) -> Object | None:
    labels = pod["metadata"].get("labels")
    listing = await registry.of("poddisruptionbudgets.policy").lists.list(namespace, ListOptions())
    found = [
        budget
        for budget in (entry.object() for entry in listing.entries)
        if selector_matches((budget.get("spec") or {}).get("selector"), labels)
    ]
    if len(found) > 1:
        raise status.internal_error(_SEVERAL_BUDGETS)
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
        text = f"The disruption budget {name} is still being processed by the server."
        raise status.disruption_budget(text, PROCESSING_RETRY_SECONDS)
    allowed = state.get("disruptionsAllowed") or 0
    disrupted = state.get("disruptedPods") or {}
    if allowed < 0:
        raise status.forbidden("poddisruptionbudgets", "policy", name, "pdb disruptions allowed is negative")
    if len(disrupted) > MAX_DISRUPTED_PODS:
        text = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise status.forbidden("poddisruptionbudgets", "policy", name, text)
    if allowed == 0:
        wanted, have = state.get("desiredHealthy") or 0, state.get("currentHealthy") or 0
        text = f"The disruption budget {name} needs {wanted} healthy pods and has {have} currently"
        raise status.disruption_budget(text, 0)
    state["disruptionsAllowed"] = allowed - 1
    state["disruptedPods"] = {**disrupted, pod: timestamp(now)}
    return budget
