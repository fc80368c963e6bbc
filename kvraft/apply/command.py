"""Commands as the data of log entries, and the check that they pass before they are proposed and when applied.

An entry carries a batch: the msgpack array of the commands that arrived together, each as its client sent it.
While authentication is on, each is in an envelope that says who proposed it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kvraft.mvcc.check import MAX_TXN_OPS, check_command
from kvraft.types import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.auth.identity import Identity

__all__ = [
    "MAX_TXN_OPS",
    "Authorized",
    "check_command",
    "decode_commands",
    "encode_command",
    "join_commands",
    "seal",
]

_AUTHORIZED = 60


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
        head = b"\xdc" + count.to_bytes(2)
    return head + b"".join(encoded)


def decode_commands(data: bytes) -> list[Command | Authorized]:
    """The commands of an entry. Raises ``msgspec.MsgspecError`` for bytes that are no batch of commands."""
    return _batch_decoder.decode(data)
