"""``kvraft get``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from kvraft.cli.answers import show, simple_kvs
from kvraft.cli.failures import BAD_FEATURE, CommandError, bad_arguments
from kvraft.cli.quoting import encode
from kvraft.cli.ranges import key_range
from kvraft.types import RangeRequest, SortOrder, SortTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.cli.call import Call
    from kvraft.client import Client

_TARGETS = {
    "": SortTarget.KEY,
    "CREATE": SortTarget.CREATE,
    "KEY": SortTarget.KEY,
    "MODIFY": SortTarget.MOD,
    "VALUE": SortTarget.VALUE,
    "VERSION": SortTarget.VERSION,
}
_ORDERS = {"": SortOrder.NONE, "ASCEND": SortOrder.ASCEND, "DESCEND": SortOrder.DESCEND}


def get_request(arguments: Sequence[str], flag: Callable[[str], Any]) -> RangeRequest:
    """The request that the arguments and flags are. Raises ``CommandError``."""
    if not arguments:
        raise bad_arguments("get command needs one argument as key and an optional argument as range_end")
    if flag("keys-only") and flag("count-only"):
        raise bad_arguments("`--keys-only` and `--count-only` cannot be set at the same time, choose one")
    if flag("consistency") not in ("l", "s"):
        raise CommandError(f'unknown consistency flag "{flag("consistency")}"', BAD_FEATURE)
    order, target = flag("order").upper(), flag("sort-by").upper()
    key, end = key_range([encode(argument) for argument in arguments[:2]], flag("prefix"), flag("from-key"))
    if order not in _ORDERS:
        raise CommandError(f"bad sort order {flag('order')}", BAD_FEATURE)
    if target not in _TARGETS:
        raise CommandError(f"bad sort target {flag('sort-by')}", BAD_FEATURE)
    sort_order, sort_target = _ORDERS[order], _TARGETS[target]
    if sort_target is SortTarget.KEY and sort_order is SortOrder.ASCEND:
        sort_order = SortOrder.NONE  # they come so anyway
    return RangeRequest(
        key,
        end,
        limit=flag("limit"),
        revision=max(flag("rev"), 0),
        keys_only=flag("keys-only"),
        count_only=flag("count-only"),
        serializable=flag("consistency") == "s",
        sort_order=sort_order,
        sort_target=sort_target,
    )


async def get(call: Call, client: Client) -> None:
    """Read a key or a range of keys."""
    request = get_request(call.arguments, call.flag)
    if call.flag("print-value-only") and call.format != "simple":
        raise bad_arguments("print-value-only is only for `--write-out=simple`")
    if call.flag("count-only") and call.format == "simple":
        raise bad_arguments("--count-only is only for `--write-out=fields` and `--write-out=json`")
    answer = await client.range(**msgspec.structs.asdict(request))
    values_only = call.flag("print-value-only")
    await show(call, client, answer, *simple_kvs(call, answer.kvs, values_only=values_only))
