"""What a pod as a whole requests and may use at most: its containers', its own, and its overhead. Pure.

Source: Kubernetes documentation, "Resource sharing within containers" (sidecars), "Pod-level resources",
"Pod Overhead", "Resize CPU and Memory Resources".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.quota.amounts import Amounts, amounts, largest, plus

if TYPE_CHECKING:
    from collections.abc import Mapping

Object = dict[str, Any]


def requests(pod: Object) -> Amounts:
    """What is set aside for the pod."""
    return plus(_of_pod(pod, "requests"), _overhead(pod))


def limits(pod: Object) -> Amounts:
    """What the pod may use at most. Overhead comes on top of limits that there are, and makes none."""
    found = _of_pod(pod, "limits")
    bounded = {name for name, amount in found.items() if amount.amount}
    return plus(found, {name: amount for name, amount in _overhead(pod).items() if name in bounded})


def has_own_resources(pod: Object) -> bool:
    """Whether the pod itself says how much it needs, beside what its containers say."""
    own = (pod.get("spec") or {}).get("resources") or {}
    return any(_is_pod_level(name) for key in ("requests", "limits") for name in own.get(key) or ())


def _is_pod_level(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def _overhead(pod: Object) -> Amounts:
    return amounts((pod.get("spec") or {}).get("overhead"))


def _of_pod(pod: Object, key: str) -> Amounts:
    own = amounts(((pod.get("spec") or {}).get("resources") or {}).get(key))
    return {**_of_containers(pod, key), **{name: amount for name, amount in own.items() if _is_pod_level(name)}}


def _of_containers(pod: Object, key: str) -> Amounts:
    """Containers run together, initial ones in turn before them, each beside the sidecars started so far."""
    spec, state = pod.get("spec") or {}, pod.get("status") or {}
    infeasible = _is_infeasible(state)
    total: Amounts = {}
    for container in spec.get("containers") or ():
        total = plus(total, _of_container(container, _status(state, "containerStatuses", container), key, infeasible))
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        needed = _of_container(container, _status(state, "initContainerStatuses", container), key, infeasible)
        if container.get("restartPolicy") == "Always":
            total = plus(total, needed)
            sidecars = plus(sidecars, needed)
            peak = largest(peak, sidecars)
        else:
            peak = largest(peak, plus(needed, sidecars))
    return largest(total, peak)


def _is_infeasible(state: Object) -> bool:
    """Whether the node said that it will never give the pod what it now asks for."""
    conditions = state.get("conditions") or ()
    return any(item.get("type") == "PodResizePending" and item.get("reason") == "Infeasible" for item in conditions)


def _status(state: Object, key: str, container: Object) -> Object:
    listed = state.get(key) or ()
    return next((item for item in listed if item.get("name") == container.get("name")), {})


def _of_container(container: Object, state: Mapping[str, Any], key: str, infeasible: bool) -> Amounts:
    """While a container is resized it counts with the most of what it asks for and what it has."""
    asked = amounts((container.get("resources") or {}).get(key))
    if not state.get("resources"):
        return asked
    has = amounts((state["resources"] or {}).get(key))
    if key == "requests":
        has = largest(has, amounts(state.get("allocatedResources")))
    return has if infeasible else largest(asked, has)
