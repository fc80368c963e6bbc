"""The cells of a pod: how many containers are ready, one word for its state, restarts, and the wide columns.

Rules are those of Kubernetes' ``printPod``. Init containers are looked at in order until one has not
finished; sidecars (init containers with restartPolicy Always) count as containers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.table.age import human_duration, parse_time, since
from apilayer.api.table.cells import NONE, dig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    Obj = Mapping[str, Any]

_NODE_LOST = "NodeLost"
_TERMINAL = ("Succeeded", "Failed")


@attrs.define
class _Summary:
    """What the containers' statuses add up to."""

    reason: str
    ready: int = 0
    restarts: int = 0
    last_restart: datetime | None = None

    def restarted(self, container: Obj) -> None:
        self.restarts += container.get("restartCount") or 0
        finished = parse_time(dig(container, "lastState", "terminated", "finishedAt"))
        if finished is not None and (self.last_restart is None or finished > self.last_restart):
            self.last_restart = finished


def pod_cells(pod: Obj, now: datetime) -> list[Any]:
    """A pod's row: name, ready, status, restarts, age, and wide IP, node, nominated node, readiness gates."""
    spec: Obj = pod.get("spec") or {}
    pod_status: Obj = pod.get("status") or {}
    init = {container.get("name"): container for container in spec.get("initContainers") or ()}
    sidecars = {name for name, container in init.items() if container.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or ()) + len(sidecars)

    before = _Summary(_phase_reason(pod_status))
    after = _Summary(before.reason)
    initializing = _init_containers(pod_status, sidecars, len(init), before, after)
    summary = before
    if not initializing or _condition_true(pod_status, "Initialized"):
        after.reason, after.ready = before.reason, before.ready
        _containers(pod_status, after)
        summary = after

    return [
        dig(pod, "metadata", "name") or "",
        f"{summary.ready}/{total}",
        _final_reason(pod, pod_status, summary.reason),
        _restarts(summary, now),
        since(dig(pod, "metadata", "creationTimestamp"), now),
        _first_ip(pod_status) or NONE,
        spec.get("nodeName") or NONE,
        pod_status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, pod_status),
    ]


def _phase_reason(pod_status: Obj) -> str:
    for condition in pod_status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            return "SchedulingGated"
    return pod_status.get("reason") or pod_status.get("phase") or ""


def _init_containers(pod_status: Obj, sidecars: set[Any], total: int, before: _Summary, after: _Summary) -> bool:
    """Walk the init containers; true when one of them has not finished, with the reason in `before`.

    `before` counts every restart so far, `after` those of sidecars alone: what counts once the pod runs.
    """
    for index, container in enumerate(pod_status.get("initContainerStatuses") or ()):
        sidecar = container.get("name") in sidecars
        before.restarted(container)
        if sidecar:
            after.restarted(container)
        state: Obj = container.get("state") or {}
        terminated: Obj | None = state.get("terminated")
        waiting = dig(state, "waiting", "reason") or ""
        if terminated is not None and not terminated.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            before.ready += bool(container.get("ready"))
            continue
        if terminated is not None:
            before.reason = "Init:" + _terminated_reason(terminated)
        elif waiting and waiting != "PodInitializing":
            before.reason = f"Init:{waiting}"
        else:
            before.reason = f"Init:{index}/{total}"
        return True
    return False


def _terminated_reason(terminated: Obj) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode') or 0}"


def _containers(pod_status: Obj, summary: _Summary) -> None:
    running = False
    for container in reversed(pod_status.get("containerStatuses") or ()):
        summary.restarted(container)
        state: Obj = container.get("state") or {}
        waiting = dig(state, "waiting", "reason")
        if waiting:
            summary.reason = waiting
        elif state.get("terminated") is not None:
            summary.reason = _terminated_reason(state["terminated"])
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.reason == "Completed" and running:
        summary.reason = "Running" if _condition_true(pod_status, "Ready") else "NotReady"


def _condition_true(pod_status: Obj, kind: str) -> bool:
    for condition in pod_status.get("conditions") or ():
        if condition.get("type") == kind:
            return bool(condition.get("status") == "True")
    return False


def _final_reason(pod: Obj, pod_status: Obj, reason: str) -> str:
    if not dig(pod, "metadata", "deletionTimestamp"):
        return reason
    if pod_status.get("reason") == _NODE_LOST:
        return "Unknown"
    return reason if pod_status.get("phase") in _TERMINAL else "Terminating"


def _restarts(summary: _Summary, now: datetime) -> str:
    if not summary.restarts or summary.last_restart is None:
        return str(summary.restarts)
    return f"{summary.restarts} ({human_duration((now - summary.last_restart).total_seconds())} ago)"


def _first_ip(pod_status: Obj) -> str:
    addresses = pod_status.get("podIPs") or ()
    if addresses:
        return addresses[0].get("ip") or ""
    return pod_status.get("podIP") or ""


def _readiness_gates(spec: Obj, pod_status: Obj) -> str:
    gates = spec.get("readinessGates") or ()
    if not gates:
        return NONE
    passed = sum(_condition_true(pod_status, gate.get("conditionType", "")) for gate in gates)
    return f"{passed}/{len(gates)}"


_COMPLETED = {
    "Succeeded": "The pod has completed successfully.",
    "Failed": "The pod failed.",
}


def pod_row_conditions(pod: Obj) -> list[dict[str, str]]:
    """Conditions on the row of a pod that has ended, so that clients can leave it out or dim it."""
    phase = dig(pod, "status", "phase")
    if phase not in _COMPLETED:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": _COMPLETED[phase]}]
