"""``kvraft elect``: run for election and lead until a signal, or see who leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from kvraft.cli.answers import show, simple_kvs
from kvraft.cli.failures import CommandError, bad_arguments
from kvraft.cli.quoting import encode
from kvraft.cli.signals import until_signal
from kvraft.errors import LeaseNotFound, SessionExpired
from kvraft.types import RangeResponse

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client


async def elect(call: Call, client: Client) -> None:
    """Run for the election with a proposal, or observe it."""
    if not 1 <= len(call.arguments) <= 2:
        raise bad_arguments("elect takes one election name argument and an optional proposal argument")
    name, *proposal = (encode(argument) for argument in call.arguments)
    if not proposal:
        if not call.flag("listen"):
            raise bad_arguments("no proposal argument but -l not set")
        await _observe(call, client, name)
    elif call.flag("listen"):
        raise bad_arguments("proposal given but -l is set")
    else:
        await _campaign(call, client, name, proposal[0])


async def _campaign(call: Call, client: Client, name: bytes, proposal: bytes) -> None:
    try:
        with until_signal(client):
            async with client.campaign(name, proposal) as elected:
                answer = await client.range(elected.key)
                await show(call, client, answer, *simple_kvs(call, answer.kvs))
                await trio.sleep_forever()
    except (LeaseNotFound, SessionExpired) as error:
        raise CommandError("elect: session expired") from error


async def _observe(call: Call, client: Client, name: bytes) -> None:
    with until_signal(client):
        async with client.observe(name) as leaders:
            async for seen in leaders:
                answer = RangeResponse(seen.revision, [seen.kv], 0)
                await show(call, client, answer, *simple_kvs(call, answer.kvs))
