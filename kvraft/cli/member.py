"""``kvraft member``: add, list, promote, remove and update; and ``kvraft move-leader``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.answers import show_with
from kvraft.cli.failures import bad_arguments
from kvraft.cli.flags import parse_uint
from kvraft.cli.header import header_of
from kvraft.cli.table import draw

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.cli.call import Call
    from kvraft.client import Client
    from kvraft.types import MemberAddResponse, MemberInfo, MemberListResponse, Response

COLUMNS = ("ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner")


def _member_id(call: Call) -> int:
    if len(call.arguments) != 1:
        raise bad_arguments("member ID is not provided")
    try:
        return parse_uint(call.arguments[0], 16)
    except ValueError as error:
        raise bad_arguments(f"bad member ID arg ({error}), expecting ID in Hex") from None


def _peer_urls(call: Call) -> list[str]:
    if not call.flag("peer-urls"):
        raise bad_arguments("member peer urls not provided")
    return str(call.flag("peer-urls")).split(",")


async def _show(call: Call, client: Client, answer: Response, simple: str) -> None:
    """An answer whose text in the simple format has the cluster's id in place of ``{}``."""
    header = await header_of(client, 0)
    if call.format == "simple":
        call.say(simple.format(f"{header.cluster_id:16x}"))
    else:
        show_with(call, header, answer)


async def add(call: Call, client: Client) -> None:
    """Make room for a member, and say how it is started."""
    if not call.arguments:
        raise bad_arguments("member name not provided")
    if len(call.arguments) > 1:
        raise bad_arguments("too many arguments")
    name, urls = call.arguments[0], _peer_urls(call)
    answer = await client.member_add(urls, learner=call.flag("learner"))
    await _show(call, client, answer, f"Member {answer.member.member_id:16x} added to cluster {{}}")
    if call.format == "simple":
        call.say("", *_settings(name, urls, answer))


def _settings(name: str, urls: Sequence[str], answer: MemberAddResponse) -> list[str]:
    """The variables with which the new member is started."""
    new = answer.member.member_id
    peers = [
        f"{name if member.member_id == new else member.name}={url}"
        for member in answer.members
        for url in member.peer_urls
    ]
    return [
        f'KVRAFT_NAME="{name}"',
        f'KVRAFT_INITIAL_CLUSTER="{",".join(peers)}"',
        f'KVRAFT_INITIAL_ADVERTISE_PEER_URLS="{",".join(urls)}"',
        'KVRAFT_INITIAL_CLUSTER_STATE="existing"',
    ]


async def remove(call: Call, client: Client) -> None:
    """Remove a member."""
    member_id = _member_id(call)
    answer = await client.member_remove(member_id)
    await _show(call, client, answer, f"Member {member_id:16x} removed from cluster {{}}")


async def update(call: Call, client: Client) -> None:
    """Give a member other peer URLs."""
    member_id = _member_id(call)
    answer = await client.member_update(member_id, _peer_urls(call))
    await _show(call, client, answer, f"Member {member_id:16x} updated in cluster {{}}")


async def promote(call: Call, client: Client) -> None:
    """Make a learner a voter."""
    member_id = _member_id(call)
    answer = await client.member_promote(member_id)
    await _show(call, client, answer, f"Member {member_id:16x} promoted in cluster {{}}")


def _row(member: MemberInfo) -> tuple[str, ...]:
    return (
        f"{member.member_id:x}",
        "started" if member.name else "unstarted",
        member.name,
        ",".join(member.peer_urls),
        ",".join(member.client_urls),
        "true" if member.is_learner else "false",
    )


async def list_members(call: Call, client: Client) -> None:
    """The members."""
    answer: MemberListResponse = await client.member_list()
    rows: Sequence[tuple[str, ...]] = [_row(member) for member in answer.members]
    if call.format == "simple":
        call.say(*(", ".join(row) for row in rows))
    elif call.format == "table":
        call.say(*draw(COLUMNS, rows))
    else:
        show_with(call, await header_of(client, 0), answer)


async def move_leader(call: Call, client: Client) -> None:
    """Hand leadership to another member; one of the endpoints must be the leader's."""
    if len(call.arguments) != 1:
        raise bad_arguments("move-leader command needs 1 argument")
    try:
        target = parse_uint(call.arguments[0], 16)
    except ValueError as error:
        raise bad_arguments(str(error)) from None
    for endpoint in call.options.endpoints:
        status = await client.status(call.options.url(endpoint))
        if status.leader == status.member_id:
            break
    else:
        raise bad_arguments(f"no leader endpoint given at [{' '.join(call.options.endpoints)}]")
    answer = await client.move_leader(target)
    if call.format == "simple":
        call.say(f"Leadership transferred from {status.leader:x} to {target:x}")
    else:
        show_with(call, await header_of(client, answer.revision), answer)
