"""``/health``, ``/livez``, ``/readyz`` and ``/version``, in etcd's words.

A reply is (status, content type, body). Checks may wait for the cluster, a request's time at the most.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson
import trio

from kvraft.errors import DeadlineExceeded, KvraftError
from kvraft.logs import Throttle, fields
from kvraft.raft.messages import NO_NODE
from kvraft.types import AlarmType, RangeRequest
from kvraft.version import ETCD_STORAGE_VERSION, ETCD_VERSION

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from kvraft.server.member import Member

    Query = Mapping[str, Sequence[str]]
    Reply = tuple[int, str, bytes]
    Check = Callable[[Member], Awaitable[str]]
    """What is wrong; "" when nothing is."""

log = logging.getLogger(__name__)

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
FIRST_KEY = RangeRequest(b"\0", serializable=True)
"""One key, so that it costs the same however many there are."""

_lines = Throttle(1.0)


def active_alarms(member: Member) -> list[str]:
    """Names of the alarms that are raised, on any member."""
    errors = member.status().errors
    return [alarm.name for alarm in AlarmType if alarm and any(f"alarm:{alarm.name}" in error for error in errors)]


async def read(member: Member, *, serializable: bool) -> KvraftError | None:
    """Try to read, as a client would; the error if that fails."""
    failure: KvraftError | None = None
    if not serializable:
        answered = trio.Event()

        def confirmed(error: KvraftError | None) -> None:
            nonlocal failure
            failure = error
            answered.set()

        member.driver.read(confirmed)
        member.wake.set()
        with trio.move_on_after(member.request_seconds) as scope:
            await answered.wait()
        if scope.cancelled_caught:
            return DeadlineExceeded()
    if failure is None:
        try:
            member.machine.range(FIRST_KEY)
        except KvraftError as error:
            failure = error
    return failure


async def health(path: str, query: Query, member: Member) -> Reply:
    """``/health``: alarms, a leader, and a read; with ``serializable=true`` of this member alone."""
    serializable = query.get("serializable", [""])[0] == "true"
    reason = await _unhealthy(member, serializable, set(query.get("exclude", ())))
    body = orjson.dumps({"health": "false" if reason else "true", "reason": reason})
    if not reason:
        member.counters.health_successes += 1
        return 200, TEXT, body
    member.counters.health_failures += 1
    _warn("/health error", output=body.decode(), **{"status-code": 503})
    return 503, TEXT, body + b"\n"


async def _unhealthy(member: Member, serializable: bool, excluded: set[str]) -> str:
    for alarm in active_alarms(member):
        if alarm not in excluded:
            return f"ALARM {alarm}"
    if not serializable and member.driver.raft.leader == NO_NODE:
        return "RAFT NO LEADER"
    failure = await read(member, serializable=serializable)
    return f"RANGE ERROR:{failure}" if failure is not None else ""


async def _serializable_read(member: Member) -> str:
    return str(await read(member, serializable=True) or "")


async def _linearizable_read(member: Member) -> str:
    return str(await read(member, serializable=False) or "")


async def _data_corruption(member: Member) -> str:
    return "alarm activated: CORRUPT" if "CORRUPT" in active_alarms(member) else ""


async def _non_learner(member: Member) -> str:
    return "not supported for learner" if member.status().is_learner else ""


CHECKS: dict[str, dict[str, Check]] = {
    "/livez": {"serializable_read": _serializable_read},
    "/readyz": {
        "data_corruption": _data_corruption,
        "serializable_read": _serializable_read,
        "linearizable_read": _linearizable_read,
        "non_learner": _non_learner,
    },
}


async def checks(path: str, query: Query, member: Member) -> Reply:
    """``/livez`` and ``/readyz``, or one of their checks by a path below."""
    root = next(root for root in CHECKS if path.startswith(root))
    names = list(CHECKS[root])
    if path != root:
        names = [name for name in names if path == f"{root}/{name}"]
        if not names:
            return 404, TEXT, b"404 page not found\n"
    else:
        excluded = set(query.get("exclude", ())) - {""}
        names = [name for name in names if name not in excluded]
        unknown = sorted(excluded - set(CHECKS[root]))
        if unknown:
            missing = ",".join(f'"{name}"' for name in unknown)
            _warn("some health checks cannot be excluded", **{"missing-health-checks": missing})
    lines = []
    failed = False
    for name in names:
        reason = await CHECKS[root][name](member)
        lines.append(f"[-]{name} failed: {reason}\n" if reason else f"[+]{name} ok\n")
        failed |= bool(reason)
        member.counters.health_checks[root[1:], name, "error" if reason else "success"] += 1
    text = "".join(lines)
    if failed:
        _warn("Health check error", path=path, reason=text, **{"status-code": 503})
        return 503, TEXT, f"{text}\n".encode()
    return 200, TEXT, f"{text if 'verbose' in query else ''}ok\n".encode()


async def version(path: str, query: Query, member: Member) -> Reply:
    """``/version``: of the etcd whose behaviour this is."""
    cluster = ETCD_STORAGE_VERSION
    return 200, JSON, orjson.dumps({"etcdserver": ETCD_VERSION, "etcdcluster": cluster, "storage": cluster})


def _warn(message: str, **values: object) -> None:
    """At a bounded rate: who asks may ask often."""
    skipped = _lines.skipped_since_last()
    if skipped is not None:
        log.warning(message, extra=fields(**values, skipped=skipped))
