"""``kvraft endpoint``: each member's health, status, and hash of its keys."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

import attrs

from kvraft.cli.call import describe
from kvraft.cli.documents import document, to_json
from kvraft.cli.failures import CommandError
from kvraft.cli.field_lines import field_lines
from kvraft.cli.header import Header
from kvraft.cli.quoting import encode, quote
from kvraft.cli.table import draw, human_bytes
from kvraft.durations import format_duration
from kvraft.errors import KvraftError, PermissionDenied
from kvraft.types import AlarmType, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from kvraft.cli.call import Call
    from kvraft.client import Client

    T = TypeVar("T")

HEALTH_COLUMNS = ("endpoint", "health", "took", "error")
HASH_COLUMNS = ("endpoint", "hash")
STATUS_COLUMNS = (
    *("endpoint", "ID", "version", "db size", "is leader", "is learner"),
    *("raft term", "raft index", "raft applied index", "errors"),
)


async def endpoints_of(call: Call, client: Client) -> tuple[str, ...]:
    """Those given; with ``--cluster`` those of all members."""
    if not call.flag("cluster"):
        return call.options.endpoints
    try:
        members = (await client.member_list()).members
    except KvraftError as error:
        text = f"failed to fetch endpoints from etcd cluster member list: {describe(error)}"
        raise CommandError(text) from error
    return tuple(url for member in members for url in member.client_urls)


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _show_rows(call: Call, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if call.format == "table":
        call.say(*draw(columns, rows))
    else:
        call.say(*(", ".join(row) for row in rows))


# -------------------------------------------------------------------------------------------------- health


@attrs.frozen
class Health:
    """How one member is; ``error`` is "" when it is well."""

    endpoint: str
    took: str
    error: str


async def health(call: Call, client: Client) -> None:
    """Whether each member answers a linearizable read. Raises ``CommandError`` when one does not."""
    found = [await _health(call, endpoint) for endpoint in await endpoints_of(call, client)]
    if call.format == "simple":
        for one in found:
            if one.error:
                call.complain(f"{one.endpoint} is unhealthy: failed to commit proposal: {one.error}")
            else:
                call.say(f"{one.endpoint} is healthy: successfully committed proposal: took = {one.took}")
    elif call.format == "table":
        call.say(*draw(HEALTH_COLUMNS, [(one.endpoint, _bool(not one.error), one.took, one.error) for one in found]))
    elif call.format == "json":
        call.say(to_json([_health_document(one) for one in found]))
    else:
        for one in found:
            call.say(
                f'"Endpoint" : {quote(encode(one.endpoint))}',
                f'"Health" : {_bool(not one.error)}',
                f'"Took" : {one.took}',
                f'"Error" : {one.error}',
                "",
            )
    if any(one.error for one in found):
        raise CommandError("unhealthy cluster")


async def _health(call: Call, endpoint: str) -> Health:
    began = time.monotonic()
    error = ""
    try:
        async with call.open((endpoint,)) as client:
            with contextlib.suppress(PermissionDenied):  # to know that, it had to ask the others
                await client.range(b"health")
            error = await _alarms(client)
    except KvraftError as failure:
        error = describe(failure)
    return Health(endpoint, format_duration(time.monotonic() - began), error)


async def _alarms(client: Client) -> str:
    try:
        alarms = await client.alarms()
    except PermissionDenied:
        return ""
    names = " ".join(AlarmType(alarm.alarm).name for alarm in alarms)
    return f"Active Alarm(s): {names}" if names else ""


def _health_document(one: Health) -> dict[str, object]:
    document: dict[str, object] = {"endpoint": one.endpoint, "health": not one.error, "took": one.took}
    return {**document, "error": one.error} if one.error else document


# -------------------------------------------------------------------------------------------------- status, hash


async def _ask_each(
    call: Call, client: Client, what: str, ask: Callable[[str], Awaitable[T]]
) -> tuple[list[tuple[str, T]], KvraftError | None]:
    """Every endpoint's answer; what goes wrong is told, and the last error returned."""
    found, failure = [], None
    for endpoint in await endpoints_of(call, client):
        try:
            found.append((endpoint, await ask(call.options.url(endpoint))))
        except KvraftError as error:
            failure = error
            call.complain(f"Failed to get the {what} of endpoint {endpoint} ({describe(error)})")
    return found, failure


def _header(status: Status, revision: int) -> Header:
    return Header(status.cluster_id, status.member_id, revision, status.term)


async def status(call: Call, client: Client) -> None:
    """Each member's view of itself."""
    found, failure = await _ask_each(call, client, "status", client.status)
    if call.format == "json":
        documents = [
            {"Endpoint": endpoint, "Status": document(one, _header(one, one.revision))} for endpoint, one in found
        ]
        call.say(to_json(documents))
    elif call.format == "fields":
        for endpoint, one in found:
            lines = field_lines(one, _header(one, one.revision))
            call.say(*lines, f'"Endpoint" : {quote(encode(endpoint))}', "")
    else:
        _show_rows(call, STATUS_COLUMNS, [_status_row(endpoint, one) for endpoint, one in found])
    if failure is not None:
        raise CommandError("")


def _status_row(endpoint: str, one: Status) -> tuple[str, ...]:
    return (
        endpoint,
        f"{one.member_id:x}",
        one.version,
        human_bytes(one.db_size),
        _bool(one.leader == one.member_id),
        _bool(one.is_learner),
        str(one.term),
        str(one.raft_index),
        str(one.applied_index),
        ", ".join(one.errors),
    )


async def hash_kv(call: Call, client: Client) -> None:
    """The hash of each member's keys."""
    revision = call.flag("rev")
    found, failure = await _ask_each(call, client, "hash", lambda url: client.hash_kv(url, revision))
    if call.format in ("json", "fields"):
        documents = []
        for endpoint, one in found:
            header = _header(await client.status(call.options.url(endpoint)), one.revision)
            documents.append({"Endpoint": endpoint, "HashKV": document(one, header)})
            if call.format == "fields":
                name = f'"Endpoint" : {quote(encode(endpoint))}'
                call.say(*field_lines(one, header), name, f'"Hash" : {one.hash}', "")
        if call.format == "json":
            call.say(to_json(documents))
    else:
        _show_rows(call, HASH_COLUMNS, [(endpoint, str(one.hash)) for endpoint, one in found])
    if failure is not None:
        raise CommandError(describe(failure)) from failure
