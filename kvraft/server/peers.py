"""Members among themselves: raft messages over connections that their sender keeps open, snapshots on their own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
import trio

from kvraft.channel import Channel, Closed, HandshakeFailed, dial
from kvraft.errors import KvraftError, ProtocolError
from kvraft.logs import fields
from kvraft.raft.messages import MessageKind
from kvraft.storage.errors import StorageError
from kvraft.wire import peer as wire
from kvraft.wire.frames import FrameDecoder, frame

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterator, Sequence

    from kvraft.apply.machine import StateMachine
    from kvraft.raft.messages import Message
    from kvraft.server.driver import Driver
    from kvraft.wire.peer import PeerAnswer, Question

log = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 64 << 20
"""What may wait for a slow peer; past it messages to it are dropped, which raft repairs."""
HELLO_SECONDS = 5.0
MAX_HELLO_BYTES = 64 << 10
"""The largest frame from somebody who has not said yet who it is."""
SILENCE_SECONDS = 5.0
"""A connection on which sent bytes stay unconfirmed for so long is given up: a new one is through sooner after a
partition than TCP's repetitions, which come ever more rarely."""
SNAPSHOT_STALL_SECONDS = 20.0
"""For so long a snapshot's stream may stand still. Its whole length has no limit: states differ by orders."""
SNAPSHOT_FINISH_SECONDS = 300.0
"""For so long the receiver may take to make a snapshot durable."""
SNAPSHOT_RETRY_SECONDS = 0.5
"""A failed snapshot is not tried again before: its reason, say a full disk, is likely still there."""
PART_BYTES = 1 << 20
"""A frame of questions takes no further one once it is this large."""
FIRST_REDIAL_SECONDS = 0.01
MAX_REDIAL_SECONDS = 0.5


class PeerLink:
    """The way to one peer; ``run`` keeps it open."""

    def __init__(self, peer_id: int, name: str, urls: tuple[str, ...]) -> None:
        self.peer_id = peer_id
        self.name = name
        self.urls = urls
        self.client_urls: tuple[str, ...] = ()
        self.channel: Channel | None = None


class Peers:
    """The driver's ``Transport``, and the acceptor of what peers send."""

    def __init__(
        self,
        hello: Callable[[int, int], wire.Hello],
        links: Sequence[PeerLink],
        machine: StateMachine,
        client_tls: ssl.SSLContext | None,
        server_tls: ssl.SSLContext | None,
        wake: Callable[[], None],
    ) -> None:
        self.links = {link.peer_id: link for link in links}
        self.driver: Driver | None = None
        self._hello = hello
        self._machine = machine
        self._client_tls = client_tls
        self._server_tls = server_tls
        self._wake = wake
        self._nursery: trio.Nursery | None = None
        self._receiving_snapshot = False
        self._draining: set[Channel] = set()

    async def run(self) -> None:
        """Keep a connection to every peer."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for link in self.links.values():
                nursery.start_soon(self._keep_open, link)
            await trio.sleep_forever()

    def connected(self) -> list[int]:
        """The peers that messages can be sent to now."""
        return [peer_id for peer_id, link in self.links.items() if link.channel is not None]

    # ------------------------------------------------------------------ Transport

    def send(self, messages: Sequence[Message]) -> None:
        """Send now what the sockets take; the rest follows, or is dropped when too much waits."""
        by_peer: dict[int, list[Message]] = {}
        for message in messages:
            by_peer.setdefault(message.to, []).append(message)
        for peer_id, batch in by_peer.items():
            link = self.links.get(peer_id)
            channel = link.channel if link is not None else None
            if link is None or channel is None or channel.buffered_bytes > MAX_QUEUED_BYTES:
                self._the_driver.unreachable(peer_id)
                continue
            channel.queue(wire.encode_messages(batch))
            self._send_now(channel)

    def send_snapshot(self, message: Message) -> None:
        """Stream a snapshot in a task of its own."""
        if self._nursery is not None:
            self._nursery.start_soon(self._stream_snapshot, message)

    def ask(self, peer: int, questions: Sequence[Question]) -> bool:
        """Ask on the connection to ``peer``; its end is the end of every question on it."""
        link = self.links.get(peer)
        channel = link.channel if link is not None else None
        if channel is None or channel.buffered_bytes > MAX_QUEUED_BYTES:
            return False
        for part in _in_parts(questions):
            channel.queue(wire.encode_questions(part))
        self._send_now(channel)
        return True

    def answer(self, origin: Channel, answers: Sequence[PeerAnswer]) -> None:
        """Answer on the connection that the questions came on."""
        if origin.closed:
            return
        if origin.buffered_bytes > MAX_QUEUED_BYTES:  # it asks and does not listen
            origin.close()
            return
        origin.queue(wire.encode_answers(answers))
        self._send_now(origin)

    @property
    def _the_driver(self) -> Driver:
        assert self.driver is not None
        return self.driver

    def _send_now(self, channel: Channel) -> None:
        """What the socket does not take follows in a task."""
        if channel not in self._draining and not channel.send_now():
            self._draining.add(channel)
            assert self._nursery is not None
            self._nursery.start_soon(self._drain, channel)

    async def _drain(self, channel: Channel) -> None:
        try:
            await channel.drain()
        except Closed:
            return  # the reader sees it too
        finally:
            self._draining.discard(channel)

    # ------------------------------------------------------------------ outgoing

    async def _keep_open(self, link: PeerLink) -> None:
        backoff = FIRST_REDIAL_SECONDS
        was_connected = False
        reported = ""
        while True:
            try:
                channel = await self._open(link, wire.MESSAGES)
            except ConnectionRefusedError:
                if was_connected:
                    log.warning("peer's port refuses connections", extra=fields(peer=link.name))
                    self._the_driver.peer_died(link.peer_id)
                    self._wake()
                    was_connected = False
            except (KvraftError, OSError) as error:
                if str(error) != reported:  # once for each reason, not at each attempt
                    reported = str(error)
                    log.warning("cannot reach peer", extra=fields(peer=link.name, error=reported))
            else:
                log.info("connected to peer", extra=fields(peer=link.name))
                backoff, was_connected, reported = FIRST_REDIAL_SECONDS, True, ""
                link.channel = channel
                self._the_driver.peer_connected(len(self.connected()))
                try:
                    await self._receive_answers(channel, link.peer_id)
                except (Closed, ProtocolError) as error:
                    log.info("connection to peer broke", extra=fields(peer=link.name, error=str(error)))
                finally:
                    link.channel = None
                    channel.close()
                self._the_driver.unreachable(link.peer_id)
                self._the_driver.link_lost(link.peer_id)
                self._wake()
                continue
            await trio.sleep(backoff)
            backoff = min(backoff * 2, MAX_REDIAL_SECONDS)

    async def _receive_answers(self, channel: Channel, peer_id: int) -> None:
        """What the acceptor says once it has said hello. Raises ``Closed`` and ``ProtocolError``."""
        frames = FrameDecoder(wire.MAX_FRAME_BYTES)
        while data := await channel.receive():
            payloads = frames.feed(data)
            for payload in payloads:
                self._the_driver.answered(peer_id, wire.decode_answers(payload))
            if payloads:
                self._wake()

    async def _open(self, link: PeerLink, purpose: int) -> Channel:
        """A connection on which hellos have been exchanged. Raises ``KvraftError`` or ``OSError``."""
        failure: Exception = Closed("no URL")
        for url in link.urls:
            try:
                channel = await dial(url, self._client_tls)
            except (KvraftError, OSError) as error:
                failure = error
                continue
            try:
                channel.give_up_after(SILENCE_SECONDS)
                with trio.fail_after(HELLO_SECONDS):
                    hello = self._hello(link.peer_id, purpose)
                    await channel.send(wire.PREFACE + wire.encode_control(hello))
                    answer = await _next_control(channel, FrameDecoder(wire.MAX_FRAME_BYTES))
            except (KvraftError, OSError, trio.TooSlowError) as error:
                channel.close()
                failure = Closed(f"{url}: no hello in time") if isinstance(error, trio.TooSlowError) else error
                continue
            except BaseException:
                channel.close()
                raise
            if isinstance(answer, wire.Hello) and answer.sender == link.peer_id:
                link.client_urls = answer.client_urls
                return channel
            channel.close()
            failure = Closed(f"{url}: {_refusal(answer) or 'another member answered'}")
        raise failure

    async def _stream_snapshot(self, message: Message) -> None:
        link = self.links[message.to]
        index = 0
        try:
            index = await self._deliver_snapshot(link, message)
        except (KvraftError, OSError, trio.TooSlowError) as error:
            reason = "its stream stands still" if isinstance(error, trio.TooSlowError) else str(error)
            log.warning("sending a snapshot failed", extra=fields(peer=link.name, error=reason))
            await trio.sleep(SNAPSHOT_RETRY_SECONDS)
        finally:
            self._the_driver.snapshot_sent(message.to, index)
            self._wake()

    async def _deliver_snapshot(self, link: PeerLink, message: Message) -> int:
        """The index that the peer has now. Raises ``KvraftError``, ``OSError`` or ``TooSlowError``."""
        reader = self._machine.snapshot()
        channel: Channel | None = None
        try:
            channel = await self._open(link, wire.SNAPSHOT)
            log.info("sending a snapshot", extra=fields(peer=link.name, index=reader.meta.index))
            offer = wire.SnapshotOffer(msgspec.structs.replace(message, snapshot=reader.meta))
            piece: bytes | None = wire.encode_control(offer)
            chunks = iter(reader)
            try:
                while piece is not None:
                    with trio.fail_after(SNAPSHOT_STALL_SECONDS):
                        await channel.send(piece)
                    chunk = await trio.to_thread.run_sync(next, chunks, None)
                    piece = frame(chunk) if chunk is not None else None
                with trio.fail_after(SNAPSHOT_STALL_SECONDS):
                    await channel.send(frame(wire.END_OF_SNAPSHOT))
            except Closed:
                log.debug("peer does not take the whole snapshot", extra=fields(peer=link.name))  # it says why
            with trio.fail_after(SNAPSHOT_FINISH_SECONDS):
                answer = await _next_control(channel, FrameDecoder(wire.MAX_FRAME_BYTES))
            if not isinstance(answer, wire.SnapshotTaken):
                raise Closed(_refusal(answer) or "an answer to a snapshot was due")
            return answer.index
        finally:
            reader.close()
            if channel is not None:
                channel.close()

    # ------------------------------------------------------------------ incoming

    async def serve(self, sock: socket.socket) -> None:
        """One accepted connection, until it ends."""
        try:
            channel = Channel(sock, self._server_tls, server_side=True)
        except OSError as error:  # reset before we came to it
            sock.close()
            log.debug("peer connection broke", extra=fields(error=str(error)))
            return
        remote = channel.peer_name
        try:
            with trio.fail_after(HELLO_SECONDS):
                await channel.handshake()
                hello = await self._greet(channel)
            frames = FrameDecoder(wire.MAX_FRAME_BYTES)
            if hello.purpose == wire.SNAPSHOT:
                await self._receive_snapshot(channel, frames, hello)
            else:
                await self._receive_messages(channel, frames, hello)
        except (HandshakeFailed, ProtocolError, StorageError) as error:
            log.warning("rejected connection on peer endpoint", extra=fields(remote=remote, error=str(error)))
        except trio.TooSlowError:
            log.warning("rejected connection on peer endpoint", extra=fields(remote=remote, error="it stands still"))
        except (KvraftError, OSError) as error:
            log.info("peer connection ended", extra=fields(remote=remote, error=str(error)))
        finally:
            channel.close()

    async def _greet(self, channel: Channel) -> wire.Hello:
        """Exchange hellos. Raises ``ProtocolError`` with what has been told to the other side, ``Closed``."""
        frames = FrameDecoder(MAX_HELLO_BYTES)
        data = b""
        while len(data) < len(wire.PREFACE):
            received = await channel.receive()
            if not received:
                raise Closed
            data += received
        if not data.startswith(wire.PREFACE):
            raise ProtocolError("this is a peer URL; clients must use the client URLs")
        payloads = frames.feed(data[len(wire.PREFACE) :])
        while not payloads:
            received = await channel.receive()
            if not received:
                raise Closed
            payloads = frames.feed(received)
        hello = wire.decode_control(payloads[0])
        if not isinstance(hello, wire.Hello):
            raise ProtocolError("a hello is due first")
        mine = self._hello(hello.sender, hello.purpose)
        reason = ""
        if hello.cluster_id != mine.cluster_id:
            reason = f"cluster ID mismatch: local {mine.cluster_id:x}, remote {hello.cluster_id:x}"
        elif hello.to != mine.sender:
            reason = f"this is member {mine.sender:x}, not {hello.to:x}"
        elif hello.sender not in self.links:
            reason = f"member {hello.sender:x} is not in this cluster"
        elif hello.purpose not in (wire.MESSAGES, wire.SNAPSHOT):
            reason = f"connections of purpose {hello.purpose} are not known here"
        elif len(payloads) > 1 or frames.buffered_bytes:
            reason = "nothing may follow a hello before its answer"
        if reason:
            await channel.send(wire.encode_control(wire.Refusal(reason)))
            raise ProtocolError(reason)
        self.links[hello.sender].client_urls = hello.client_urls
        await channel.send(wire.encode_control(mine))
        channel.give_up_after(SILENCE_SECONDS)
        return hello

    async def _receive_messages(self, channel: Channel, frames: FrameDecoder, hello: wire.Hello) -> None:
        driver = self._the_driver
        while data := await channel.receive():
            payloads = frames.feed(data)
            for payload in payloads:
                if payload.startswith(wire.QUESTIONS):
                    driver.asked(channel, wire.decode_questions(payload))
                    continue
                for message in wire.decode_messages(payload):
                    if message.sender != hello.sender or message.kind == MessageKind.SNAPSHOT:
                        raise ProtocolError(f"member {hello.sender:x} sent what it may not send")
                    driver.receive(message)
            if payloads:
                self._wake()

    async def _receive_snapshot(self, channel: Channel, frames: FrameDecoder, hello: wire.Hello) -> None:
        data = await _receive_soon(channel)  # a refusal sent any earlier could get lost behind the hello
        try:
            if self._receiving_snapshot:
                raise StorageError("another snapshot is being received")
            self._receiving_snapshot = True
            try:
                index = await self._take_snapshot(channel, frames, hello, data)
            finally:
                self._receiving_snapshot = False
        except StorageError as error:
            with trio.move_on_after(HELLO_SECONDS):
                await channel.send(wire.encode_control(wire.Refusal(str(error))))
            raise
        await channel.send(wire.encode_control(wire.SnapshotTaken(index)))

    async def _take_snapshot(self, channel: Channel, frames: FrameDecoder, hello: wire.Hello, data: bytes) -> int:
        """Receive a snapshot that begins with ``data`` and hand it to the driver; the index that it covers.

        Files are written in a thread.
        """
        writer = self._machine.incoming()
        taken = False
        try:
            message: Message | None = None
            while True:
                for payload in frames.feed(data):
                    if message is None:
                        message = _offered(payload, hello)
                    elif payload != wire.END_OF_SNAPSHOT:
                        await trio.to_thread.run_sync(writer.write, payload)
                    else:
                        meta = await trio.to_thread.run_sync(writer.finish)
                        taken = True
                        self._the_driver.receive_snapshot(msgspec.structs.replace(message, snapshot=meta), writer)
                        self._wake()
                        return meta.index
                data = await _receive_soon(channel)
        finally:
            if not taken:
                writer.abort()


def _in_parts(questions: Sequence[Question]) -> Iterator[list[Question]]:
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


async def _receive_soon(channel: Channel) -> bytes:
    with trio.fail_after(SNAPSHOT_STALL_SECONDS):
        data = await channel.receive()
    if not data:
        raise Closed("the snapshot ended early")
    return data


def _offered(payload: bytes, hello: wire.Hello) -> Message:
    """The SNAPSHOT message that opens a stream. Raises ``ProtocolError``."""
    control = wire.decode_control(payload)
    if not isinstance(control, wire.SnapshotOffer):
        raise ProtocolError("a snapshot offer is due first")
    message = control.message
    if message.kind != MessageKind.SNAPSHOT or message.sender != hello.sender:
        raise ProtocolError(f"member {hello.sender:x} offered what it may not send")
    return message


def _refusal(answer: wire.Control) -> str:
    """Why the other side refused; "" if it did not."""
    return answer.reason if isinstance(answer, wire.Refusal) else ""


async def _next_control(channel: Channel, frames: FrameDecoder) -> wire.Control:
    while True:
        data = await channel.receive()
        if not data:
            raise Closed
        payloads = frames.feed(data)
        if payloads:
            return wire.decode_control(payloads[0])
