"""The cells of a pod's row in every state that a pod can be in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apilayer.api.table.pods import pod_cells, pod_row_conditions

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
RUNNING = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}


def container(name: str, *, ready: bool = False, restarts: int = 0, state: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": name, "ready": ready, "restartCount": restarts, "state": state or {}, **more}


def pod(
    status: dict[str, Any],
    *,
    init: tuple[dict[str, Any], ...] = (),
    containers: int = 1,
    deleted: bool = False,
    **spec: Any,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:09:00Z"
    listed = [{"name": f"c{index}"} for index in range(containers)]
    return {
        "metadata": metadata,
        "spec": {"containers": listed, "initContainers": list(init), **spec},
        "status": status,
    }


def shown(obj: dict[str, Any]) -> str:
    """Ready, status and restarts, as they stand in a line."""
    return " ".join(pod_cells(obj, NOW)[1:4])


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def terminated(code: int = 0, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, **more}}


INIT = ({"name": "i0"}, {"name": "i1"})
SIDECAR = ({"name": "s", "restartPolicy": "Always"},)
READY = {"type": "Ready", "status": "True"}


@pytest.mark.parametrize(
    ("obj", "line"),
    [
        (pod({"phase": "Pending"}), "0/1 Pending 0"),
        (pod({}), "0/1  0"),
        (
            pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
            "0/1 SchedulingGated 0",
        ),
        (pod({"phase": "Failed", "reason": "Evicted"}), "0/1 Evicted 0"),
        (
            pod({"phase": "Running", "containerStatuses": [container("c0", ready=True, state=RUNNING)]}),
            "1/1 Running 0",
        ),
        (
            pod({"phase": "Pending", "containerStatuses": [container("c0", state=waiting("ErrImagePull"))]}),
            "0/1 ErrImagePull 0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "containerStatuses": [container("c0", restarts=4, state=waiting("CrashLoopBackOff"))],
                }
            ),
            "0/1 CrashLoopBackOff 4",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "containerStatuses": [
                        container(
                            "c0",
                            ready=True,
                            restarts=2,
                            state=RUNNING,
                            lastState={"terminated": {"finishedAt": "2026-01-01T00:08:00Z"}},
                        )
                    ],
                }
            ),
            "1/1 Running 2 (2m ago)",
        ),
        (
            pod({"phase": "Succeeded", "containerStatuses": [container("c0", state=terminated(reason="Completed"))]}),
            "0/1 Completed 0",
        ),
        (
            pod({"phase": "Failed", "containerStatuses": [container("c0", state=terminated(1, reason="Error"))]}),
            "0/1 Error 0",
        ),
        (pod({"phase": "Failed", "containerStatuses": [container("c0", state=terminated(3))]}), "0/1 ExitCode:3 0"),
        (
            pod({"phase": "Failed", "containerStatuses": [container("c0", state=terminated(137, signal=9))]}),
            "0/1 Signal:9 0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "conditions": [READY],
                    "containerStatuses": [
                        container("c0", state=terminated(reason="Completed")),
                        container("c1", ready=True, state=RUNNING),
                    ],
                },
                containers=2,
            ),
            "1/2 Running 0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "containerStatuses": [
                        container("c0", state=terminated(reason="Completed")),
                        container("c1", ready=True, state=RUNNING),
                    ],
                },
                containers=2,
            ),
            "1/2 NotReady 0",
        ),
        # init containers
        (pod({"phase": "Pending", "initContainerStatuses": [container("i0")]}, init=INIT), "0/1 Init:0/2 0"),
        (
            pod(
                {
                    "phase": "Pending",
                    "initContainerStatuses": [
                        container("i0", restarts=1, state=terminated()),
                        container("i1", state=RUNNING),
                    ],
                    "containerStatuses": [container("c0", state=waiting("PodInitializing"))],
                },
                init=INIT,
            ),
            "0/1 Init:1/2 1",
        ),
        (
            pod(
                {"phase": "Pending", "initContainerStatuses": [container("i0", state=waiting("PodInitializing"))]},
                init=INIT,
            ),
            "0/1 Init:0/2 0",
        ),
        (
            pod(
                {
                    "phase": "Pending",
                    "initContainerStatuses": [container("i0", restarts=3, state=waiting("CrashLoopBackOff"))],
                },
                init=INIT,
            ),
            "0/1 Init:CrashLoopBackOff 3",
        ),
        (
            pod(
                {"phase": "Pending", "initContainerStatuses": [container("i0", state=terminated(1, reason="Error"))]},
                init=INIT,
            ),
            "0/1 Init:Error 0",
        ),
        (
            pod({"phase": "Pending", "initContainerStatuses": [container("i0", state=terminated(2))]}, init=INIT),
            "0/1 Init:ExitCode:2 0",
        ),
        (
            pod(
                {"phase": "Pending", "initContainerStatuses": [container("i0", state=terminated(2, signal=9))]},
                init=INIT,
            ),
            "0/1 Init:Signal:9 0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "initContainerStatuses": [container("i0", restarts=5, state=terminated())],
                    "containerStatuses": [container("c0", ready=True, restarts=1, state=RUNNING)],
                },
                init=INIT[:1],
            ),
            "1/1 Running 1",
        ),
        # sidecars count as containers, and their restarts stay
        (
            pod(
                {
                    "phase": "Running",
                    "initContainerStatuses": [container("s", ready=True, restarts=2, started=True, state=RUNNING)],
                    "containerStatuses": [container("c0", ready=True, restarts=1, state=RUNNING)],
                },
                init=SIDECAR,
            ),
            "2/2 Running 3",
        ),
        (
            pod(
                {"phase": "Pending", "initContainerStatuses": [container("s", started=False, state=RUNNING)]},
                init=SIDECAR,
            ),
            "0/2 Init:0/1 0",
        ),
        (
            pod(
                {
                    "phase": "Running",
                    "conditions": [{"type": "Initialized", "status": "True"}],
                    "initContainerStatuses": [container("s", state=waiting("CrashLoopBackOff"))],
                    "containerStatuses": [container("c0", ready=True, state=RUNNING)],
                },
                init=SIDECAR,
            ),
            "1/2 Init:CrashLoopBackOff 0",
        ),
        # on their way out
        (pod({"phase": "Running"}, deleted=True), "0/1 Terminating 0"),
        (pod({"phase": "Running", "reason": "NodeLost"}, deleted=True), "0/1 Unknown 0"),
        (
            pod(
                {"phase": "Succeeded", "containerStatuses": [container("c0", state=terminated(reason="Completed"))]},
                deleted=True,
            ),
            "0/1 Completed 0",
        ),
    ],
)
def test_states(obj: dict[str, Any], line: str) -> None:
    assert shown(obj) == line


def test_wide_cells() -> None:
    assert pod_cells(pod({}), NOW)[4:] == ["10m", "<none>", "<none>", "<none>", "<none>"]
    gates = [{"conditionType": "a"}, {"conditionType": "b"}]
    status = {
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
        "nominatedNodeName": "n2",
        "conditions": [{"type": "a", "status": "True"}, {"type": "b", "status": "False"}],
    }
    obj = pod(status, nodeName="n1", readinessGates=gates)
    assert pod_cells(obj, NOW)[4:] == ["10m", "10.0.0.1", "n1", "n2", "1/2"]
    assert pod_cells(pod({"podIP": "10.0.0.2"}), NOW)[5] == "10.0.0.2"


def test_a_pod_without_anything() -> None:
    assert pod_cells({}, NOW) == ["", "0/0", "", "0", "<unknown>", "<none>", "<none>", "<none>", "<none>"]


def test_rows_of_pods_that_have_ended_say_so() -> None:
    assert pod_row_conditions(pod({"phase": "Running"})) == []
    assert pod_row_conditions(pod({"phase": "Succeeded"})) == [
        {
            "type": "Completed",
            "status": "True",
            "reason": "Succeeded",
            "message": "The pod has completed successfully.",
        }
    ]
    assert pod_row_conditions(pod({"phase": "Failed"}))[0]["message"] == "The pod failed."
