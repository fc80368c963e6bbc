"""Members among themselves: raft messages over connections that their sender keeps open, snapshots on their own."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
import trio

from kvraft.channel import Channel, Closed, dial
from kvraft.errors import KvraftError, ProtocolError
from kvraft.logs import fields
from kvraft.wire import peer as wire
from kvraft.wire.frames import FrameDecoder, frame

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Sequence

    from kvraft.apply.machine import StateMachine
    from kvraft.raft.messages import Message
    from kvraft.server.driver import Driver

log = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 64 << 20
"""What may wait for a slow peer; past it messages to it are dropped, which raft repairs."""
HELLO_SECONDS = 5.0
SNAPSHOT_SECONDS = 600.0
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
        self.draining = False


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

    async def run(self) -> None:
        """Keep a connection to every peer."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for link in self.links.values():
                nursery.start_soon(self._keep_open, link)
            await trio.sleep_forever()

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
            if not link.draining and not channel.send_now():
                link.draining = True
                assert self._nursery is not None
                self._nursery.start_soon(self._drain, link, channel)

    def send_snapshot(self, message: Message) -> None:
        """Stream a snapshot in a task of its own."""
        if self._nursery is not None:
            self._nursery.start_soon(self._stream_snapshot, message)

    @property
    def _the_driver(self) -> Driver:
        assert self.driver is not None
        return self.driver

    @staticmethod
    async def _drain(link: PeerLink, channel: Channel) -> None:
        try:
            await channel.drain()
        except Closed:
            return  # ``_keep_open`` sees it too
        finally:
            link.draining = False

    # ------------------------------------------------------------------ outgoing

    async def _keep_open(self, link: PeerLink) -> None:
        backoff = FIRST_REDIAL_SECONDS
        was_connected = False
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
                log.debug("cannot reach peer", extra=fields(peer=link.name, error=str(error)))
            else:
                log.info("connected to peer", extra=fields(peer=link.name))
                backoff, was_connected = FIRST_REDIAL_SECONDS, True
                link.channel = channel
                self._the_driver.peer_connected(sum(other.channel is not None for other in self.links.values()))
                try:
                    while await channel.receive():
                        pass  # the acceptor says nothing on this connection once it has said hello
                except Closed as error:
                    log.info("connection to peer broke", extra=fields(peer=link.name, error=str(error)))
                finally:
                    link.channel = None
                    channel.close()
                self._the_driver.unreachable(link.peer_id)
                continue
            await trio.sleep(backoff)
            backoff = min(backoff * 2, MAX_REDIAL_SECONDS)

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
                with trio.fail_after(HELLO_SECONDS):
                    hello = self._hello(link.peer_id, purpose)
                    await channel.send(wire.PREFACE + wire.encode_control(hello))
                    answer = await _next_control(channel, FrameDecoder(wire.MAX_FRAME_BYTES))
            except (KvraftError, trio.TooSlowError) as error:
                channel.close()
                failure = error if isinstance(error, KvraftError) else Closed("no hello in time")
                continue
            except BaseException:
                channel.close()
                raise
            if isinstance(answer, wire.Hello) and answer.sender == link.peer_id:
                link.client_urls = answer.client_urls
                return channel
            channel.close()
            reason = answer.reason if isinstance(answer, wire.Refusal) else "another member answered"
            log.warning("peer refused the connection", extra=fields(peer=link.name, reason=reason))
            failure = Closed(reason)
        raise failure

    async def _stream_snapshot(self, message: Message) -> None:
        link = self.links[message.to]
        reader = self._machine.snapshot()
        index = 0
        try:
            channel = await self._open(link, wire.SNAPSHOT)
            try:
                meta = reader.meta
                log.info("sending a snapshot", extra=fields(peer=link.name, index=meta.index))
                await channel.send(
                    wire.encode_control(wire.SnapshotOffer(msgspec.structs.replace(message, snapshot=meta)))
                )
                chunks = iter(reader)
                with trio.fail_after(SNAPSHOT_SECONDS):
                    while (chunk := await trio.to_thread.run_sync(next, chunks, None)) is not None:
                        await channel.send(frame(chunk))
                    await channel.send(frame(wire.END_OF_SNAPSHOT))
                    answer = await _next_control(channel, FrameDecoder(wire.MAX_FRAME_BYTES))
                if isinstance(answer, wire.SnapshotTaken):
                    index = answer.index
                else:
                    log.warning("snapshot was refused", extra=fields(peer=link.name, answer=str(answer)))
            finally:
                channel.close()
        except (KvraftError, OSError, trio.TooSlowError) as error:
            log.warning("sending a snapshot failed", extra=fields(peer=link.name, error=str(error)))
        finally:
            reader.close()
            self._the_driver.snapshot_sent(message.to, index)
            self._wake()

    # ------------------------------------------------------------------ incoming

    async def serve(self, sock: socket.socket) -> None:
        """One accepted connection, until it ends."""
        channel = Channel(sock, self._server_tls, server_side=True)
        try:
            frames = FrameDecoder(wire.MAX_FRAME_BYTES)
            with trio.fail_after(HELLO_SECONDS):
                await channel.handshake()
                hello, rest = await self._greet(channel, frames)
            if hello.purpose == wire.SNAPSHOT:
                await self._receive_snapshot(channel, frames, rest)
            else:
                await self._receive_messages(channel, frames, hello, rest)
        except (KvraftError, trio.TooSlowError) as error:
            log.info("peer connection ended", extra=fields(remote=channel.peer_name, error=str(error)))
        finally:
            channel.close()

    async def _greet(self, channel: Channel, frames: FrameDecoder) -> tuple[wire.Hello, list[bytes]]:
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
        if reason:
            await channel.send(wire.encode_control(wire.Refusal(reason)))
            raise ProtocolError(reason)
        self.links[hello.sender].client_urls = hello.client_urls
        await channel.send(wire.encode_control(mine))
        return hello, payloads[1:]

    async def _receive_messages(
        self, channel: Channel, frames: FrameDecoder, hello: wire.Hello, payloads: list[bytes]
    ) -> None:
        driver = self._the_driver
        while True:
            for payload in payloads:
                for message in wire.decode_messages(payload):
                    if message.sender != hello.sender or message.snapshot is not None:
                        raise ProtocolError(f"member {hello.sender:x} sent what it may not send")
                    driver.receive(message)
            if payloads:
                self._wake()
            data = await channel.receive()
            if not data:
                return
            payloads = frames.feed(data)

    async def _receive_snapshot(self, channel: Channel, frames: FrameDecoder, payloads: list[bytes]) -> None:
        if self._receiving_snapshot:
            await channel.send(wire.encode_control(wire.Refusal("another snapshot is being received")))
            return
        writer = self._machine.incoming()
        self._receiving_snapshot = True
        taken = False
        try:
            offer: wire.SnapshotOffer | None = None
            with trio.fail_after(SNAPSHOT_SECONDS):
                while not taken:
                    for payload in payloads:
                        if offer is None:
                            control = wire.decode_control(payload)
                            if not isinstance(control, wire.SnapshotOffer):
                                raise ProtocolError("a snapshot offer is due first")
                            offer = control
                        elif payload != wire.END_OF_SNAPSHOT:
                            writer.write(payload)
                        else:
                            meta = await trio.to_thread.run_sync(writer.finish)
                            message = msgspec.structs.replace(offer.message, snapshot=meta)
                            self._the_driver.receive_snapshot(message, writer)
                            taken = True
                            self._wake()
                            await channel.send(wire.encode_control(wire.SnapshotTaken(meta.index)))
                    if taken:
                        break
                    data = await channel.receive()
                    if not data:
                        raise Closed("the snapshot ended early")
                    payloads = frames.feed(data)
        finally:
            self._receiving_snapshot = False
            if not taken:
                writer.abort()


async def _next_control(channel: Channel, frames: FrameDecoder) -> wire.Control:
    while True:
        data = await channel.receive()
        if not data:
            raise Closed
        payloads = frames.feed(data)
        if payloads:
            return wire.decode_control(payloads[0])
