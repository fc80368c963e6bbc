"""/debug/api_priority_and_fairness: who runs and who waits, as kube-apiserver prints it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from apilayer.pipeline.fairness.control import Fairness
from apilayer.pipeline.request import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apilayer.pipeline.flow_control import FlowControl

PREFIX = "/debug/api_priority_and_fairness/"
TEXT = b"text/plain; charset=utf-8"
PADDING = 8

Row = Sequence[object]


def respond(path: str, flow_control: FlowControl) -> Response | None:
    """The answer for a path below PREFIX, None when it names nothing or there are no queues."""
    dump = _DUMPS.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
    if dump is None or not isinstance(flow_control, Fairness):
        return None
    return Response(200, _table(list(dump(flow_control))), TEXT)


def _levels(fairness: Fairness) -> Iterator[Row]:
    yield "PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests"
    for name, state in fairness.levels.items():
        queues = state.queues
        active = sum(1 for queue in queues.queues if queue.waiting)
        yield name, active, _word(queues.idle), "false", queues.waiting, queues.executing


def _queues(fairness: Fairness) -> Iterator[Row]:
    yield (
        *("PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR"),
        *("InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum"),
    )
    for name, state in fairness.levels.items():
        for queue in state.queues.queues:
            works = [ticket.work for ticket in queue.waiting]
            yield (
                *(name, queue.index, len(works), queue.executing, queue.seats_in_use, f"{queue.start_r:.8f}ss"),
                *(sum(work.seats for work in works), sum(work.max_seats for work in works)),
                f"{queue.waiting_work:.8f}ss",
            )


def _requests(fairness: Fairness) -> Iterator[Row]:
    yield (
        *("PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime"),
        *("InitialSeats", "FinalSeats", "AdditionalLatency"),
    )
    for name, state in fairness.levels.items():
        for queue in state.queues.queues:
            for place, ticket in enumerate(queue.waiting):
                schema, flow = ticket.label
                work = ticket.work
                yield (
                    *(name, schema, queue.index, place, flow, f"{ticket.arrived:.6f}"),
                    *(work.seats, work.final_seats, f"{work.extra_seconds * 1000:g}ms"),
                )


_DUMPS: dict[str, Callable[[Fairness], Iterator[Row]]] = {
    "dump_priority_levels": _levels,
    "dump_queues": _queues,
    "dump_requests": _requests,
}


def _word(truth: bool) -> str:
    return "true" if truth else "false"


def _table(rows: list[Row]) -> bytes:
    """Cells that end in a comma, as wide as the widest of their column."""
    cells = [[*(f"{cell}," for cell in row[:-1]), str(row[-1])] for row in rows]
    widths = [max(PADDING, 1 + max(len(row[column]) for row in cells)) for column in range(len(rows[0]) - 1)]
    lines = ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)) + row[-1] for row in cells]
    return ("\n".join(lines) + "\n").encode()
