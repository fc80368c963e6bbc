"""``kvraft del``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kvraft.cli.answers import show, simple_operation
from kvraft.cli.failures import bad_arguments
from kvraft.cli.quoting import encode
from kvraft.cli.ranges import key_range
from kvraft.types import DeleteRangeRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.cli.call import Call
    from kvraft.client import Client


def delete_request(arguments: Sequence[str], flag: Callable[[str], Any]) -> DeleteRangeRequest:
    """The request that the arguments and flags are. Raises ``CommandError``."""
    if not 1 <= len(arguments) <= 2:
        raise bad_arguments("del command needs one argument as key and an optional argument as range_end")
    key, end = key_range([encode(argument) for argument in arguments], flag("prefix"), flag("from-key"))
    return DeleteRangeRequest(key, end, flag("prev-kv"))


async def delete(call: Call, client: Client) -> None:
    """Delete a key or a range of keys."""
    answer = await client.delete_range(**msgspec.structs.asdict(delete_request(call.arguments, call.flag)))
    await show(call, client, answer, *simple_operation(call, answer))
