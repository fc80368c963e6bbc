"""What members say to each other: frames of msgpack over connections that the sender opens.

A connection opens with ``PREFACE`` and a ``Hello`` frame; the acceptor answers with its own ``Hello`` or a
``Refusal``. Who wants to join opens with a ``MembersQuestion`` instead and is answered by ``Members``.

On a MESSAGES connection every further frame is a list of raft messages, one way. On a SNAPSHOT connection there
follows one ``SnapshotOffer``. The acceptor answers with ``SnapshotFrom``, then come the chunks of the snapshot from
there on, each a frame, and an empty chunk (one zero byte); at last the acceptor answers with a ``SnapshotTaken``, or
at any time with a ``Refusal``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kvraft.errors import ProtocolError
from kvraft.raft.messages import Message
from kvraft.types import MemberInfo  # noqa: TC001 - msgspec reads the annotation
from kvraft.wire.frames import frame

if TYPE_CHECKING:
    from collections.abc import Sequence

PREFACE = b"kvraft-peer/1\n"
MAX_FRAME_BYTES = 128 << 20
"""An append carries at least one entry whatever its size, and many messages may share a frame."""
MESSAGES = 1
SNAPSHOT = 2
END_OF_SNAPSHOT = b"\0"


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Who opens this connection, to whom, and what for.

    ``client_urls`` lets followers name the leader to clients. ``peer_urls`` lets those reach the sender who have not
    heard yet that it is a member.
    """

    cluster_id: int
    sender: int
    to: int
    purpose: int
    client_urls: tuple[str, ...]
    name: str = ""
    peer_urls: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Why the connection is of no use; its sender closes it. ``removed``: the other side is a member no more."""

    reason: str
    removed: bool = False


class SnapshotOffer(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The SNAPSHOT message that the chunks to come belong to. ``stream`` is the same when a broken one is resumed."""

    message: Message
    stream: int = 0


class SnapshotTaken(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The snapshot arrived whole and was handed to the core."""

    index: int


class SnapshotFrom(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """How many chunks of the offered stream are here already; the next one comes first."""

    chunks: int


class MembersQuestion(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """Who are the members? From one who wants to join and knows no more than a URL."""


class Members(msgspec.Struct, frozen=True, array_like=True, tag=7):
    cluster_id: int
    members: tuple[MemberInfo, ...]


Control = Hello | Refusal | SnapshotOffer | SnapshotTaken | SnapshotFrom | MembersQuestion | Members

_encoder = msgspec.msgpack.Encoder()
_control_decoder: msgspec.msgpack.Decoder[Control] = msgspec.msgpack.Decoder(Control)
_messages_decoder = msgspec.msgpack.Decoder(list[Message])


def encode_control(control: Control) -> bytes:
    """One whole frame."""
    return frame(_encoder.encode(control))


def encode_messages(messages: Sequence[Message]) -> bytes:
    """One whole frame."""
    return frame(_encoder.encode(messages))


def decode_control(payload: bytes) -> Control:
    """A frame's payload. Raises ``ProtocolError``."""
    try:
        return _control_decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"malformed peer message: {error}") from error


def decode_messages(payload: bytes) -> list[Message]:
    """A frame's payload. Raises ``ProtocolError``."""
    try:
        return _messages_decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"malformed raft messages: {error}") from error
