"""``kvraft put``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kvraft.cli.answers import show, simple_operation
from kvraft.cli.failures import bad_arguments
from kvraft.cli.flags import parse_int
from kvraft.cli.quoting import encode
from kvraft.types import PutRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.cli.call import Call
    from kvraft.client import Client

_USAGE = "put command needs 1 argument and input from stdin or 2 arguments"


def put_request(arguments: Sequence[str], flag: Callable[[str], Any], read_stdin: Callable[[], bytes]) -> PutRequest:
    """The request that the arguments and flags are. Raises ``CommandError``."""
    if not arguments:
        raise bad_arguments(_USAGE)
    value = b""
    if flag("ignore-value"):
        if len(arguments) > 1:
            raise bad_arguments("put command needs only 1 argument when 'ignore-value' is set")
    else:
        value = encode(arguments[1]) if len(arguments) > 1 else read_stdin()
        if len(arguments) == 1 and not value:
            raise bad_arguments(_USAGE)
    try:
        lease = parse_int(flag("lease"), 16)
    except ValueError as error:
        raise bad_arguments(f"bad lease ID ({error}), expecting ID in Hex") from None
    return PutRequest(
        encode(arguments[0]),
        value,
        lease,
        prev_kv=flag("prev-kv"),
        ignore_value=flag("ignore-value"),
        ignore_lease=flag("ignore-lease"),
    )


async def put(call: Call, client: Client) -> None:
    """Set a key."""
    request = put_request(call.arguments, call.flag, call.stdin.read)
    answer = await client.put(**msgspec.structs.asdict(request))
    await show(call, client, answer, *simple_operation(call, answer))
