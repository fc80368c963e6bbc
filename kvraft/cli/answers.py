"""Shows answers in the format that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.header import Header, header_of
from kvraft.types import (
    DeleteRangeResponse,
    MemberAddResponse,
    MemberListResponse,
    PutResponse,
    RangeResponse,
    WatchBatch,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.cli.call import Call
    from kvraft.client import Client
    from kvraft.types import KeyValue, Response


async def show(call: Call, client: Client, answer: Response, *simple: str | bytes) -> None:
    """An answer; ``simple`` are its lines in the format of that name."""
    if call.format == "simple":
        call.say(*simple)
        return
    show_with(call, await header_of(client, _revision(answer)), answer)


def _revision(answer: Response) -> int:
    """What etcd has in the header: none where it concerns no keys, nor where a watch has nothing to show."""
    if isinstance(answer, (MemberAddResponse, MemberListResponse)):
        return 0
    return 0 if isinstance(answer, WatchBatch) and answer.compact_revision else answer.revision


def show_with(call: Call, header: Header, answer: Response) -> None:
    """An answer whose header is known, in a format for programs."""
    if call.format == "json":
        from kvraft.cli.documents import document, to_json

        call.say(to_json(document(answer, header)))
    else:
        from kvraft.cli.field_lines import field_lines

        call.say(*field_lines(answer, header))


def simple_kvs(call: Call, kvs: Iterable[KeyValue], *, values_only: bool = False) -> list[bytes]:
    """Keys and values line by line."""
    lines = []
    for kv in kvs:
        if not values_only:
            lines.append(shown(call, kv.key))
        lines.append(shown(call, kv.value))
    return lines


def shown(call: Call, data: bytes) -> bytes:
    r"""Bytes as they are; with ``--hex`` as ``\x66\x6f``."""
    return b"".join(b"\\x%02x" % byte for byte in data) if call.options.hex else data


def simple_operation(call: Call, answer: Response) -> list[str | bytes]:
    """The lines of a put, a get or a delete."""
    match answer:
        case PutResponse():
            return ["OK", *simple_kvs(call, (answer.prev_kv,) if answer.prev_kv is not None else ())]
        case DeleteRangeResponse():
            return [str(answer.deleted), *simple_kvs(call, answer.prev_kvs)]
        case RangeResponse():
            return [*simple_kvs(call, answer.kvs)]
    raise TypeError(f"no operation on keys: {answer!r}")
