"""What ``kvraft check``'s commands share: loads by name, many clients, and the cleaning up."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

from kvraft.cli.failures import BAD_FEATURE, INVALID_INPUT, CommandError
from kvraft.cli.quoting import encode, quote
from kvraft.types import prefix_end

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import AsyncIterator, Mapping

    from kvraft.cli.call import Call
    from kvraft.client import Client

Load = TypeVar("Load")

PATIENCE_SECONDS = 600.0
"""etcdctl's checks wait for ever: a slow answer is a figure, no error."""
DELETED_AT_ONCE = 5000

_ALIASES = {"small": "s", "medium": "m", "large": "l", "xLarge": "xl"}


def load_of(call: Call, loads: Mapping[str, Load]) -> Load:
    """What ``--load`` names. Raises ``CommandError``."""
    name = call.flag("load")
    load = loads.get(_ALIASES.get(name, name))
    if load is None:
        raise CommandError(f"unknown load option {name}", BAD_FEATURE)
    return load


async def free_prefix(call: Call, client: Client) -> bytes:
    """What the keys of the check begin with. Raises ``CommandError`` when there are such keys."""
    text = call.flag("prefix")
    prefix = encode(text)
    if (await client.range(prefix, prefix_end(prefix), limit=1, keys_only=True)).kvs:
        raise CommandError(
            f"prefix {quote(prefix)} has keys. Delete with kvraft del --prefix {text} first", INVALID_INPUT
        )
    return prefix


@asynccontextmanager
async def clients_of(call: Call, count: int) -> AsyncIterator[list[Client]]:
    """So many clients, each with connections of its own."""
    async with AsyncExitStack() as stack:
        opening = (call.open(call.options.endpoints, PATIENCE_SECONDS) for _ in range(count))
        yield [await stack.enter_async_context(each) for each in opening]


async def clean_up(call: Call, prefix: bytes) -> None:
    """Delete the keys of the check; compact and defragment if the flags say so."""
    async with call.open(call.options.endpoints, PATIENCE_SECONDS) as client:
        revision = await _delete_all(client, prefix, prefix_end(prefix))
        if call.flag("auto-compact"):
            call.say(f"Compacting with revision {revision}")
            await client.compact(revision, physical=True)
            call.say(f"Compacted with revision {revision}")
        if call.flag("auto-defrag"):
            for endpoint in call.options.endpoints:
                shown = quote(encode(endpoint))
                call.say(f"Defragmenting {shown}")
                await client.defragment(call.options.url(endpoint))
                call.say(f"Defragmented {shown}")


async def _delete_all(client: Client, key: bytes, range_end: bytes) -> int:
    """In pieces, so that no member is busy with a million keys at once; the revision then."""
    while True:
        page = await client.range(key, range_end, limit=DELETED_AT_ONCE, keys_only=True)
        to = page.kvs[-1].key + b"\0" if page.more else range_end
        revision = (await client.delete_range(key, to)).revision
        if not page.more:
            return revision


def error_lines(errors: Counter[str]) -> list[str]:
    """What is said of writes that failed; nothing when none did."""
    if not errors:
        return []
    return ["FAIL: too many errors", *(f"FAIL: ERROR({text}) -> {count}" for text, count in errors.items())]
