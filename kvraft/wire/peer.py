"""What members say to each other: frames of msgpack over connections that the sender opens.

A connection opens with ``PREFACE`` and a ``Hello`` frame; the acceptor answers with its own ``Hello`` or a
``Refusal``. Who wants to join opens with a ``MembersQuestion`` instead and is answered by ``Members``.

On a MESSAGES connection every further frame of the opener is a list of raft messages or, behind the byte
``QUESTIONS``, a list of questions; the acceptor sends lists of answers, in any order. On a SNAPSHOT connection there
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
    from collections.abc import Iterator, Sequence

PREFACE = b"kvraft-peer/1\n"
MAX_FRAME_BYTES = 128 << 20
"""An append carries at least one entry whatever its size, and many messages may share a frame."""
PART_BYTES = 1 << 20
"""A frame of questions takes no further one once it is this large."""
MESSAGES = 1
SNAPSHOT = 2
END_OF_SNAPSHOT = b"\0"
QUESTIONS = b"\1"
"""What no list of messages starts with."""


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


class Propose(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Append this command to the log, if you lead. The answer is ``Proposed``, or ``Answered`` with an error."""

    question_id: int
    data: bytes


class Ask(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """Answer this request, which is in the native protocol's encoding."""

    question_id: int
    data: bytes


class Proposed(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Where the command is in the log. Whether it stays there is known when an entry is applied at ``index``."""

    question_id: int
    index: int
    term: int
    place: int = 0
    """Among the commands of its entry."""


class Answered(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    """The answer or failure, in the native protocol's encoding."""

    question_id: int
    body: bytes


Question = Propose | Ask
PeerAnswer = Proposed | Answered

_encoder = msgspec.msgpack.Encoder()
_control_decoder: msgspec.msgpack.Decoder[Control] = msgspec.msgpack.Decoder(Control)
_messages_decoder = msgspec.msgpack.Decoder(list[Message])
_questions_decoder = msgspec.msgpack.Decoder(list[Question])
_answers_decoder = msgspec.msgpack.Decoder(list[PeerAnswer])


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


def in_parts(questions: Sequence[Question]) -> Iterator[list[Question]]:
    """Runs of questions that fit a frame by far."""
    part: list[Question] = []
    size = 0
    for question in questions:
        part.append(question)
        size += len(question.data)
        if size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def encode_questions(questions: Sequence[Question]) -> bytes:
    """One whole frame."""
    return frame(QUESTIONS + _encoder.encode(questions))


def encode_answers(answers: Sequence[PeerAnswer]) -> bytes:
    """One whole frame."""
    return frame(_encoder.encode(answers))


def decode_questions(payload: bytes) -> list[Question]:
    """The payload of a frame that starts with ``QUESTIONS``. Raises ``ProtocolError``."""
    try:
        questions = _questions_decoder.decode(memoryview(payload)[len(QUESTIONS) :])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"malformed questions: {error}") from error
    if not all(question.data for question in questions):
        raise ProtocolError("malformed questions: one of them is empty")
    return questions


def decode_answers(payload: bytes) -> list[PeerAnswer]:
    """A frame's payload. Raises ``ProtocolError``."""
    try:
        return _answers_decoder.decode(payload)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ProtocolError(f"malformed answers: {error}") from error
