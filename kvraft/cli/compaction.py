"""``kvraft compaction``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.failures import CommandError, bad_arguments
from kvraft.cli.flags import parse_int

if TYPE_CHECKING:
    from kvraft.cli.call import Call
    from kvraft.client import Client


async def compaction(call: Call, client: Client) -> None:
    """Forget what was superseded up to a revision."""
    if len(call.arguments) != 1:
        raise bad_arguments("compaction command needs 1 argument")
    try:
        revision = parse_int(call.arguments[0])
    except ValueError as error:
        raise CommandError(str(error)) from None
    await client.compact(revision, physical=call.flag("physical"))
    call.say(f"compacted revision {revision}")
