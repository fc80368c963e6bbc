"""``kvraft defrag``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.call import describe
from kvraft.cli.endpoint import endpoints_of
from kvraft.cli.failures import CommandError
from kvraft.errors import KvraftError

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client


async def defrag(call: Call, client: Client) -> None:
    """Have each member give free space back."""
    failed = False
    for endpoint in await endpoints_of(call, client):
        url = call.options.url(endpoint)
        try:
            await client.defragment(url, timeout_seconds=call.options.command_timeout)
        except KvraftError as error:
            call.complain(f"Failed to defragment etcd member[{endpoint}] ({describe(error)})")
            failed = True
        else:
            call.say(f"Finished defragmenting etcd member[{endpoint}]")
    if failed:
        raise CommandError("")
