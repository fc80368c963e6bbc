"""``kvraft lease``: grant, keep-alive, list, revoke and timetolive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.answers import show
from kvraft.cli.failures import BAD_CONNECTION, CommandError, bad_arguments
from kvraft.cli.flags import parse_int
from kvraft.cli.quoting import decode
from kvraft.errors import AuthFailed, KvraftError, LeaseNotFound
from kvraft.types import LeaseLeasesRequest, LeaseLeasesResponse

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client
    from kvraft.types import LeaseKeepAliveResponse

RENEWALS_PER_TTL = 3


def _lease_id(call: Call, complaint: str) -> int:
    if len(call.arguments) != 1:
        raise bad_arguments(complaint)
    try:
        return parse_int(call.arguments[0], 16)
    except ValueError as error:
        raise bad_arguments(f"bad lease ID arg ({error}), expecting ID in Hex") from None


def shown(lease_id: int) -> str:
    """A lease's id, as it is told and taken."""
    return f"{lease_id:016x}"


async def grant(call: Call, client: Client) -> None:
    """Make a lease."""
    if len(call.arguments) != 1:
        raise bad_arguments("lease grant command needs TTL argument")
    try:
        ttl = parse_int(call.arguments[0])
    except ValueError as error:
        raise bad_arguments(f"bad TTL ({error})") from None
    try:
        answer = await client.lease_grant(ttl)
    except AuthFailed:
        raise
    except KvraftError as error:
        raise CommandError(f"failed to grant lease ({error})") from error
    await show(call, client, answer, f"lease {shown(answer.lease_id)} granted with TTL({answer.ttl}s)")


async def revoke(call: Call, client: Client) -> None:
    """End a lease, and its keys."""
    lease_id = _lease_id(call, "lease revoke command needs 1 argument")
    try:
        answer = await client.lease_revoke(lease_id)
    except AuthFailed:
        raise
    except KvraftError as error:
        raise CommandError(f"failed to revoke lease ({error})") from error
    await show(call, client, answer, f"lease {shown(lease_id)} revoked")


async def time_to_live(call: Call, client: Client) -> None:
    """What is left of a lease, and its keys."""
    lease_id = _lease_id(call, "lease timetolive command needs lease ID as argument")
    try:
        answer = await client.lease_time_to_live(lease_id, keys=call.flag("keys"))
    except KvraftError as error:
        raise CommandError(str(error), BAD_CONNECTION) from error
    if answer.ttl == -1 and not answer.granted_ttl:
        text = f"lease {shown(lease_id)} already expired"
    else:
        text = f"lease {shown(lease_id)} granted with TTL({answer.granted_ttl}s), remaining({answer.ttl}s)"
        if call.flag("keys"):
            text += f", attached keys([{' '.join(decode(key) for key in answer.keys)}])"
    await show(call, client, answer, text)


async def list_leases(call: Call, client: Client) -> None:
    """Every lease's id."""
    answer = await client.repeatable(LeaseLeasesRequest(), LeaseLeasesResponse)
    ids = (shown(lease_id) for lease_id in answer.lease_ids)
    await show(call, client, answer, f"found {len(answer.lease_ids)} leases", *ids)


async def keep_alive(call: Call, client: Client) -> None:
    """Renew a lease until it is gone, or once."""
    import trio

    lease_id = _lease_id(call, "lease keep-alive command needs lease ID as argument")
    if call.flag("once"):
        try:
            await _show_renewal(call, client, await client.lease_keep_alive_once(lease_id))
        except KvraftError as error:
            raise CommandError(str(error), BAD_CONNECTION) from error
        return
    try:
        while True:
            answer = await client.lease_keep_alive_once(lease_id)
            await _show_renewal(call, client, answer)
            await trio.sleep(answer.ttl / RENEWALS_PER_TTL)
    except LeaseNotFound:
        if call.format == "simple":
            call.say(f"lease {shown(lease_id)} expired or revoked.")
    except AuthFailed:
        raise
    except KvraftError as error:
        raise CommandError(str(error), BAD_CONNECTION) from error


async def _show_renewal(call: Call, client: Client, answer: LeaseKeepAliveResponse) -> None:
    await show(call, client, answer, f"lease {shown(answer.lease_id)} keepalived with TTL({answer.ttl})")
