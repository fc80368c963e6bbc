"""Commands as the data of log entries, and the check that they pass before they are proposed and when applied.

An entry carries a batch: the msgpack array of the commands that arrived together, each as its client sent it.
While authentication is on, each is in an envelope that says who proposed it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from kvraft.mvcc.check import MAX_TXN_OPS, check_command
from kvraft.types import PLAIN_PUT_HEAD, Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.auth.identity import Identity
    from kvraft.types import PlainPut

__all__ = [
    "MAX_TXN_OPS",
    "Authorized",
    "check_command",
    "decode_commands",
    "decode_plain_puts",
    "encode_command",
    "join_commands",
    "seal",
]

_AUTHORIZED = 60
_LONG_BATCH = b"\xdc"
"""How a batch of more than 15 begins, its length in two bytes; a shorter one has it in the first byte."""


class Authorized(msgspec.Struct, frozen=True, array_like=True, tag=_AUTHORIZED):
    """A command, who proposed it, and the revision of users and roles at which they were known to be that."""

    user: str
    auth_revision: int
    command: Command


_encoder = msgspec.msgpack.Encoder()
_batch_decoder: msgspec.msgpack.Decoder[list[Command | Authorized]] = msgspec.msgpack.Decoder(
    list[Command | Authorized]
)


def encode_command(command: Command) -> bytes:
    """One command, as the native protocol carries it too."""
    return _encoder.encode(command)


def seal(encoded: bytes, identity: Identity) -> bytes:
    """An encoded command in its envelope: ``identity`` proposes it."""
    return _encoder.encode((_AUTHORIZED, identity.user, identity.auth_revision, msgspec.Raw(encoded)))


def join_commands(encoded: Sequence[bytes]) -> bytes:
    """The data of a NORMAL entry that carries these encoded commands, in order: one array, nothing encoded again."""
    count = len(encoded)
    if count < 16:
        head = bytes((0x90 | count,))
    else:
        head = _LONG_BATCH + count.to_bytes(2)
    return head + b"".join(encoded)


def decode_commands(data: bytes) -> list[Command | Authorized]:
    """The commands of an entry. Raises ``msgspec.MsgspecError`` for bytes that are no batch of commands."""
    return _batch_decoder.decode(data)


def decode_plain_puts(data: bytes, max_key_bytes: int) -> list[PlainPut] | None:
    """The commands of an entry, if all are plain puts of keys of up to so many bytes; else ``decode_commands`` knows.

    A third of what it takes to decode them as any commands, and to see then that they are plain puts.
    """
    start = 3 if data[:1] == _LONG_BATCH else 1
    if data[start : start + len(PLAIN_PUT_HEAD)] != PLAIN_PUT_HEAD:
        return None
    try:
        return _plain_puts_decoder(max_key_bytes).decode(data)
    except msgspec.MsgspecError:
        return None


@cache
def _plain_puts_decoder(max_key_bytes: int) -> msgspec.msgpack.Decoder[list[PlainPut]]:
    key = Annotated[bytes, msgspec.Meta(min_length=1, max_length=max_key_bytes)]
    return msgspec.msgpack.Decoder(list[tuple[Literal[2], key, bytes]])
