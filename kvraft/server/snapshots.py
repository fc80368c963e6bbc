"""Snapshots between members, each on a connection of its own: paced, resumed where a connection broke, one at a time
on the receiving side.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from kvraft.channel import Channel, Closed, WakeUp
from kvraft.errors import KvraftError, ProtocolError
from kvraft.logs import fields
from kvraft.raft.messages import Message, MessageKind
from kvraft.storage.errors import StorageError
from kvraft.wire import peer as wire
from kvraft.wire.frames import FrameDecoder, frame

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvraft.apply.machine import StateMachine
    from kvraft.storage.snapshot import SnapshotReader, SnapshotWriter

log = logging.getLogger(__name__)

STALL_SECONDS = 20.0
"""For so long a snapshot's stream may stand still. Its whole length has no limit: states differ by orders."""
FINISH_SECONDS = 300.0
"""For so long the receiver may take to make a snapshot durable."""
RETRY_SECONDS = 0.5
"""A failed snapshot is not tried again before: its reason, say a full disk, is likely still there."""
MAX_VAIN_RESUMPTIONS = 5
"""A stream is given up when it broke so often in a row without getting any further."""
KEEP_SECONDS = 60.0
"""For so long what has arrived of a broken stream waits for the rest."""
HELLO_SECONDS = 5.0
BURST_SECONDS = 0.05
"""What a pause has saved may be sent at once, up to so much."""

C = TypeVar("C", bound=wire.Control)


class Refused(KvraftError):
    """The other side does not want the snapshot; the text is its reason."""


class Pace:
    """Holds a sender to so many bytes a second; 0: no limit."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._due = 0.0

    async def spend(self, count: int) -> None:
        """Account for ``count`` bytes, and wait until they may have been sent."""
        if self._rate:
            now = trio.current_time()
            self._due = max(self._due, now - BURST_SECONDS) + count / self._rate
            await trio.sleep_until(self._due)


async def deliver(
    machine: StateMachine,
    message: Message,
    open_channel: Callable[[], Awaitable[Channel]],
    wanted: Callable[[], bool],
    begun: Callable[[int], None],
    pace: Pace,
) -> int:
    """Stream the last commit as the SNAPSHOT ``message`` asks; the index that its receiver has now.

    A stream that breaks is resumed as long as it is ``wanted``. ``begun`` is told the index that is on its way.
    Raises ``KvraftError``, ``OSError`` or ``TooSlowError``.
    """
    reader = machine.snapshot()
    offer = wire.SnapshotOffer(msgspec.structs.replace(message, snapshot=reader.meta), secrets.randbits(62) + 1)
    begun(reader.meta.index)
    reached, vain = -1, 0
    try:
        while True:
            stream = Outgoing(reader, offer, pace)
            try:
                return await stream.send(await open_channel())
            except (Closed, OSError, trio.TooSlowError) as error:
                vain = 0 if stream.first > reached else vain + 1
                reached = max(reached, stream.first)
                if not wanted() or vain >= MAX_VAIN_RESUMPTIONS:
                    raise
                log.info(
                    "a snapshot's stream broke and goes on", extra=fields(index=reader.meta.index, error=str(error))
                )
                await trio.sleep(RETRY_SECONDS)
    finally:
        reader.close()


class Outgoing:
    """One connection's part of a snapshot. ``first`` is the chunk with which it began, -1 before that is known."""

    def __init__(self, reader: SnapshotReader, offer: wire.SnapshotOffer, pace: Pace) -> None:
        self._reader = reader
        self._offer = offer
        self._pace = pace
        self.first = -1

    async def send(self, channel: Channel) -> int:
        """Everything that the receiver lacks; the index that it has now. Closes ``channel``. Raises as ``deliver``."""
        try:
            frames = FrameDecoder(wire.MAX_FRAME_BYTES)
            with trio.fail_after(STALL_SECONDS):
                await channel.send(wire.encode_control(self._offer))
                self.first = (await _answer(channel, frames, wire.SnapshotFrom)).chunks
            await trio.to_thread.run_sync(self._reader.go_to, self.first)
            try:
                await self._send_chunks(channel)
            except Closed:
                log.debug("peer does not take the whole snapshot")  # it says why, if it can
            with trio.fail_after(FINISH_SECONDS):
                return (await _answer(channel, frames, wire.SnapshotTaken)).index
        finally:
            channel.close()

    async def _send_chunks(self, channel: Channel) -> None:
        while True:
            chunk = await trio.to_thread.run_sync(next, self._reader, None)
            with trio.fail_after(STALL_SECONDS):
                await channel.send(frame(wire.END_OF_SNAPSHOT if chunk is None else chunk))
            if chunk is None:
                return
            await self._pace.spend(len(chunk))


class _Part:
    """What has arrived of one stream."""

    def __init__(self, sender: int, stream: int, writer: SnapshotWriter) -> None:
        self.sender = sender
        self.stream = stream
        self.writer = writer
        self.chunks = 0


class Incoming:
    """Receives snapshots, one at a time, and keeps the beginning of one whose connection broke."""

    def __init__(self, machine: StateMachine, taken: Callable[[Message, SnapshotWriter], None]) -> None:
        self._machine = machine
        self._taken = taken
        self._kept: _Part | None = None
        self._something_kept = WakeUp()
        self._active: tuple[_Part, Channel] | None = None
        self._freed = trio.Event()
        self.busy = False

    async def run(self) -> None:
        """Drop what is kept once nobody can be expected to go on with it."""
        while True:
            await self._something_kept.wait()
            while self._kept is not None:
                part = self._kept
                await trio.sleep(KEEP_SECONDS)
                if self._kept is part:
                    self._kept = None
                    part.writer.abort()

    async def receive(self, channel: Channel, frames: FrameDecoder, hello: wire.Hello) -> None:
        """One connection on which hellos have been exchanged. Raises what ended it."""
        payloads = frames.feed(await _receive_soon(channel))  # a refusal sent any earlier could get lost
        while not payloads:
            payloads = frames.feed(await _receive_soon(channel))
        offer = _offered(payloads[0], hello)
        try:
            await self._supersede(offer, hello.sender)
            if self.busy:
                raise StorageError("another snapshot is being received")
            self.busy = True
            try:
                part = self._part_for(offer, hello.sender)
                self._active = part, channel
                index = await self._take(channel, frames, payloads[1:], part, offer.message)
            finally:
                self.busy, self._active = False, None
                self._freed.set()
        except StorageError as error:
            with trio.move_on_after(HELLO_SECONDS):
                await channel.send(wire.encode_control(wire.Refusal(str(error))))
            raise
        await channel.send(wire.encode_control(wire.SnapshotTaken(index)))

    async def _supersede(self, offer: wire.SnapshotOffer, sender: int) -> None:
        """End the connection on which this stream came so far: its sender knows that it is broken, we may not yet."""
        if self._active is None:
            return
        part, channel = self._active
        if part.stream and (part.sender, part.stream) == (sender, offer.stream):
            self._freed = trio.Event()
            channel.close()
            with trio.fail_after(STALL_SECONDS):
                await self._freed.wait()

    def _part_for(self, offer: wire.SnapshotOffer, sender: int) -> _Part:
        kept, self._kept = self._kept, None
        if kept is not None:
            if (kept.sender, kept.stream) == (sender, offer.stream):
                return kept
            kept.writer.abort()
        return _Part(sender, offer.stream, self._machine.incoming())

    async def _take(
        self,
        channel: Channel,
        frames: FrameDecoder,
        payloads: list[bytes],
        part: _Part,
        message: Message,
    ) -> int:
        """Receive the rest and hand it to the driver; the index that it covers. Files are written in a thread."""
        done = False
        try:
            await channel.send(wire.encode_control(wire.SnapshotFrom(part.chunks)))
            while True:
                for payload in payloads:
                    if payload == wire.END_OF_SNAPSHOT:
                        meta = await trio.to_thread.run_sync(part.writer.finish)
                        done = True
                        self._taken(msgspec.structs.replace(message, snapshot=meta), part.writer)
                        return meta.index
                    await trio.to_thread.run_sync(part.writer.write, payload)
                    part.chunks += 1
                payloads = frames.feed(await _receive_soon(channel))
        except (Closed, OSError, trio.TooSlowError):
            if part.stream:
                done, self._kept = True, part
                self._something_kept.set()
            raise
        finally:
            if not done:
                part.writer.abort()


async def _receive_soon(channel: Channel) -> bytes:
    with trio.fail_after(STALL_SECONDS):
        data = await channel.receive()
    if not data:
        raise Closed("the snapshot ended early")
    return data


def _offered(payload: bytes, hello: wire.Hello) -> wire.SnapshotOffer:
    """What opens a stream. Raises ``ProtocolError``."""
    control = wire.decode_control(payload)
    if not isinstance(control, wire.SnapshotOffer):
        raise ProtocolError("a snapshot offer is due first")
    message = control.message
    if message.kind != MessageKind.SNAPSHOT or message.sender != hello.sender:
        raise ProtocolError(f"member {hello.sender:x} offered what it may not send")
    return control


async def _answer(channel: Channel, frames: FrameDecoder, kind: type[C]) -> C:
    """The answer that is due. Raises ``Refused`` with the reason when that comes in its place."""
    control = await next_control(channel, frames)
    if isinstance(control, wire.Refusal):
        raise Refused(control.reason)
    if not isinstance(control, kind):
        raise ProtocolError(f"a {kind.__name__} was due")
    return control


async def next_control(channel: Channel, frames: FrameDecoder) -> wire.Control:
    """The next frame, as a control message. Raises ``Closed``, ``ProtocolError``."""
    while True:
        data = await channel.receive()
        if not data:
            raise Closed
        payloads = frames.feed(data)
        if payloads:
            return wire.decode_control(payloads[0])
