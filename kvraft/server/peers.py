"""Members among themselves: raft messages over connections that their sender keeps open, one link to each peer.

Links follow the membership: whoever is added is dialled, whoever is removed is let go a moment later.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from kvraft.channel import Channel, Closed, HandshakeFailed, WakeUp, check_urls, dial
from kvraft.errors import KvraftError, ProtocolError
from kvraft.logs import fields
from kvraft.raft.messages import MessageKind, Role
from kvraft.server import snapshots
from kvraft.server.observe.counters import Transfers
from kvraft.server.snapshots import HELLO_SECONDS, Incoming, Pace, next_control
from kvraft.storage.errors import StorageError
from kvraft.wire import peer as wire
from kvraft.wire.frames import FrameDecoder

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Sequence

    from kvraft.apply.machine import StateMachine
    from kvraft.arrivals import Arrivals
    from kvraft.raft.messages import Message
    from kvraft.server.driver import Driver
    from kvraft.server.observe.counters import Counters
    from kvraft.server.security import MemberTls
    from kvraft.storage.snapshot import SnapshotWriter
    from kvraft.types import MemberInfo
    from kvraft.wire.peer import PeerAnswer, Question

log = logging.getLogger(__name__)

MAX_QUEUED_BYTES = 64 << 20
"""What may wait for a slow peer; past it messages to it are dropped, which raft repairs."""
MAX_HELLO_BYTES = 64 << 10
"""The largest frame from somebody who has not said yet who it is."""
SILENCE_SECONDS = 5.0
"""A connection on which sent bytes stay unconfirmed for so long is given up: a new one is through sooner after a
partition than TCP's repetitions, which come ever more rarely."""
FIRST_REDIAL_SECONDS = 0.01
MAX_REDIAL_SECONDS = 0.5
LINGER_SECONDS = 1.0
"""A removed member is let go so much later, so that it hears of its removal first."""
MAX_FOREIGN = 16
"""Senders that this member does not know yet. Its own state may lag behind the change that made them members."""
REMOVED = "the member has been permanently removed from the cluster"


class PeerLink:
    """The way to one peer; ``Peers`` keeps it open.

    ``name`` and ``client_urls`` are what it said of itself last. ``foreign``: it is no member as far as this one
    knows, but has said that it is.
    """

    def __init__(self, peer_id: int, name: str, urls: tuple[str, ...], *, foreign: bool = False) -> None:
        self.peer_id = peer_id
        self.name = name
        self.urls = urls
        self.client_urls: tuple[str, ...] = ()
        self.foreign = foreign
        self.introduced = False
        self.channel: Channel | None = None
        self.sent_bytes = self.received_bytes = self.lost_messages = self.disconnections = self.receive_failures = 0
        self.sending, self.receiving = Transfers(), Transfers()
        self.accepted: set[Channel] = set()
        self.calls = WakeUp()
        """Set when the peer has connected to us: it is there, and need not be waited for any longer."""
        self.scope = trio.CancelScope()

    def heard(self, hello: wire.Hello) -> None:
        """The peer has said who it is."""
        self.client_urls = hello.client_urls
        self.name = hello.name or self.name
        self.introduced = True

    def close(self) -> None:
        """End every connection with it."""
        for channel in (self.channel, *self.accepted):
            if channel is not None:
                channel.close()


class Peers:
    """The driver's ``Transport``, and the acceptor of what peers send."""

    def __init__(
        self,
        member_id: int,
        hello: Callable[[int, int], wire.Hello],
        machine: StateMachine,
        tls: MemberTls,
        wake: Callable[[], None],
        arrivals: Arrivals,
        removed: Callable[[], None],
        snapshot_bytes_per_second: int,
        counters: Counters,
    ) -> None:
        """``removed`` is called when a peer says that this member has been removed."""
        self.links: dict[int, PeerLink] = {}
        self.driver: Driver | None = None
        self.incoming = Incoming(machine, self._snapshot_taken)
        self._member_id = member_id
        self._hello = hello
        self._machine = machine
        self._tls = tls
        self._wake = wake
        self._arrivals = arrivals
        self._removed = removed
        self._counters = counters
        self._pace = Pace(snapshot_bytes_per_second)
        self._nursery: trio.Nursery | None = None
        self._draining: set[Channel] = set()

    async def run(self) -> None:
        """Keep a connection to every peer."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self.incoming.run)
            for link in self.links.values():
                nursery.start_soon(self._keep_open, link)
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None  # the driver may have a last turn after this

    def _start(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        if self._nursery is not None:
            self._nursery.start_soon(task, *args)

    def connected(self) -> list[int]:
        """The peers that messages can be sent to now."""
        return [peer_id for peer_id, link in self.links.items() if link.channel is not None]

    # ------------------------------------------------------------------ who the peers are

    def follow(self, members: Sequence[MemberInfo], removed: Sequence[int]) -> None:
        """These are the members now, this one among them; those have been removed."""
        present = {member.member_id: member for member in members if member.member_id != self._member_id}
        for peer_id, member in present.items():
            link = self.links.get(peer_id)
            if link is None:
                self._add(PeerLink(peer_id, member.name, member.peer_urls))
                continue
            link.foreign = False
            if link.urls != member.peer_urls:
                log.info("peer has other URLs", extra=fields(peer=link.name, urls=member.peer_urls))
                link.urls = member.peer_urls
                link.close()
        for peer_id, link in list(self.links.items()):
            if peer_id not in present and (not link.foreign or peer_id in removed):
                self._let_go(link, LINGER_SECONDS)

    def _add(self, link: PeerLink) -> None:
        self.links[link.peer_id] = link
        if self._nursery is not None:
            log.info("added peer", extra=fields(peer=f"{link.peer_id:x}", urls=link.urls))
            self._start(self._keep_open, link)

    def _let_go(self, link: PeerLink, seconds: float) -> None:
        if self._nursery is None:
            self.links.pop(link.peer_id, None)  # its task may have been there already
        elif not link.scope.cancel_called and link.scope.deadline == float("inf"):
            log.info("removed peer", extra=fields(peer=f"{link.peer_id:x}"))
            link.scope.deadline = trio.current_time() + seconds

    @property
    def receiving_snapshot(self) -> bool:
        """Whether a state is being received now."""
        return self.incoming.busy

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
                if link is not None:
                    link.lost_messages += len(batch)
                continue
            data = wire.encode_messages(batch)
            link.sent_bytes += len(data)
            channel.queue(data)
            self._send_now(channel)

    def send_snapshot(self, message: Message) -> None:
        """Stream a snapshot in a task of its own."""
        self._start(self._stream_snapshot, message)

    def ask(self, peer: int, questions: Sequence[Question]) -> bool:
        """Ask on the connection to ``peer``; its end is the end of every question on it."""
        link = self.links.get(peer)
        channel = link.channel if link is not None else None
        if channel is None or channel.buffered_bytes > MAX_QUEUED_BYTES:
            return False
        for part in wire.in_parts(questions):
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
            self._start(self._drain, channel)

    async def _drain(self, channel: Channel) -> None:
        try:
            await channel.drain()
        except Closed:
            return  # the reader sees it too
        finally:
            self._draining.discard(channel)

    # ------------------------------------------------------------------ outgoing

    async def _keep_open(self, link: PeerLink) -> None:
        try:
            with link.scope:
                await self._dial_for_ever(link)
        finally:
            link.close()
            if self.links.get(link.peer_id) is link:
                del self.links[link.peer_id]

    async def _dial_for_ever(self, link: PeerLink) -> None:
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
                link.disconnections += 1
                self._the_driver.unreachable(link.peer_id)
                self._the_driver.link_lost(link.peer_id)
                self._wake()
                continue
            with trio.move_on_after(backoff):
                await link.calls.wait()
            backoff = min(backoff * 2, MAX_REDIAL_SECONDS)

    async def _receive_answers(self, channel: Channel, peer_id: int) -> None:
        """What the acceptor says once it has said hello. Raises ``Closed`` and ``ProtocolError``."""
        frames = FrameDecoder(wire.MAX_FRAME_BYTES)

        def take(data: bytes) -> bool:
            payloads = frames.feed(data)
            for payload in payloads:
                self._the_driver.answered(peer_id, wire.decode_answers(payload))
            if payloads:
                self._wake()
            return True

        await channel.each(self._arrivals, take)

    async def _open(self, link: PeerLink, purpose: int) -> Channel:
        """A connection on which hellos have been exchanged. Raises ``KvraftError`` or ``OSError``."""
        failure: Exception = Closed("no URL")
        for url in link.urls:
            try:
                channel = await dial(url, self._tls.to_peer())
            except (KvraftError, OSError) as error:
                failure = error
                continue
            try:
                channel.give_up_after(SILENCE_SECONDS)
                with trio.fail_after(HELLO_SECONDS):
                    hello = self._hello(link.peer_id, purpose)
                    await channel.send(wire.PREFACE + wire.encode_control(hello))
                    answer = await next_control(channel, FrameDecoder(wire.MAX_FRAME_BYTES))
            except (KvraftError, OSError, trio.TooSlowError) as error:
                channel.close()
                failure = Closed(f"{url}: no hello in time") if isinstance(error, trio.TooSlowError) else error
                continue
            except BaseException:
                channel.close()
                raise
            if isinstance(answer, wire.Hello) and answer.sender == link.peer_id:
                link.heard(answer)
                return channel
            channel.close()
            if isinstance(answer, wire.Refusal) and answer.removed:
                self._removed()
            reason = answer.reason if isinstance(answer, wire.Refusal) else "another member answered"
            failure = Closed(f"{url}: {reason}")
        raise failure

    async def _stream_snapshot(self, message: Message) -> None:
        link = self.links.get(message.to)
        driver = self._the_driver
        index = 0

        def wanted() -> bool:
            """Whether the stream still has a purpose: the term that it belongs to, and a member that needs it."""
            return driver.raft.role is Role.LEADER and driver.raft.term == message.term and message.to in self.links

        def begun(index: int) -> None:
            log.info("sending a snapshot", extra=fields(peer=f"{message.to:x}", index=index))
            driver.snapshot_started(message.to, index)

        try:
            if link is not None:
                with self._counters.snapshot_seconds.time(), link.sending.one():
                    index = await snapshots.deliver(
                        self._machine, message, lambda: self._open(link, wire.SNAPSHOT), wanted, begun, self._pace
                    )
        except (KvraftError, OSError, trio.TooSlowError) as error:
            reason = "its stream stands still" if isinstance(error, trio.TooSlowError) else str(error)
            log.warning("sending a snapshot failed", extra=fields(peer=f"{message.to:x}", error=reason))
            await trio.sleep(snapshots.RETRY_SECONDS)
        finally:
            driver.snapshot_sent(message.to, index)
            self._wake()

    # ------------------------------------------------------------------ incoming

    async def serve(self, sock: socket.socket) -> None:
        """One accepted connection, until it ends."""
        try:
            channel = Channel(sock, self._tls.from_peer(), server_side=True)
        except OSError as error:  # reset before we came to it
            sock.close()
            log.debug("peer connection broke", extra=fields(error=str(error)))
            return
        remote = channel.peer_name
        link: PeerLink | None = None
        try:
            with trio.fail_after(HELLO_SECONDS):
                await channel.handshake()
                hello = await self._greet(channel)
                link = self.links.get(hello.sender) if hello is not None else None
            if hello is not None and link is not None:
                link.accepted.add(channel)
                link.calls.set()
                await self._serve_peer(channel, hello)
        except (HandshakeFailed, ProtocolError, StorageError) as error:
            log.warning("rejected connection on peer endpoint", extra=fields(remote=remote, error=str(error)))
        except trio.TooSlowError:
            log.warning("rejected connection on peer endpoint", extra=fields(remote=remote, error="it stands still"))
        except (KvraftError, OSError) as error:
            log.info("peer connection ended", extra=fields(remote=remote, error=str(error)))
        finally:
            channel.close()
            if link is not None:
                link.accepted.discard(channel)
                if link.foreign and not link.accepted:
                    self._let_go(link, 0)

    async def _serve_peer(self, channel: Channel, hello: wire.Hello) -> None:
        frames, link = FrameDecoder(wire.MAX_FRAME_BYTES), self.links[hello.sender]
        try:
            if hello.purpose == wire.SNAPSHOT:
                with link.receiving.one():
                    await self.incoming.receive(channel, frames, hello)
            else:
                await self._receive_messages(channel, frames, hello)
        except Exception:
            link.receive_failures += 1
            raise

    async def _greet(self, channel: Channel) -> wire.Hello | None:
        """Exchange hellos; None after the question who the members are, which is all that was wanted.

        Raises ``ProtocolError`` with what has been told to the other side, ``Closed``.
        """
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
        if isinstance(hello, wire.MembersQuestion):
            mine = self._hello(0, 0)
            await channel.send(wire.encode_control(wire.Members(mine.cluster_id, self._machine.members)))
            return None
        if not isinstance(hello, wire.Hello):
            raise ProtocolError("a hello is due first")
        mine = self._hello(hello.sender, hello.purpose)
        removed = hello.cluster_id == mine.cluster_id and hello.sender in self._machine.removed
        reason = ""
        if hello.cluster_id != mine.cluster_id:
            reason = f"cluster ID mismatch: local {mine.cluster_id:x}, remote {hello.cluster_id:x}"
        elif hello.to != mine.sender:
            reason = f"this is member {mine.sender:x}, not {hello.to:x}"
        elif removed:
            reason = REMOVED
        elif not self._is_welcome(hello):
            reason = f"member {hello.sender:x} is not in this cluster"
        elif hello.purpose not in (wire.MESSAGES, wire.SNAPSHOT):
            reason = f"connections of purpose {hello.purpose} are not known here"
        elif len(payloads) > 1 or frames.buffered_bytes:
            reason = "nothing may follow a hello before its answer"
        if reason:
            await channel.send(wire.encode_control(wire.Refusal(reason, removed)))
            raise ProtocolError(reason)
        if hello.sender not in self.links:
            self._add(PeerLink(hello.sender, hello.name, hello.peer_urls, foreign=True))
        self.links[hello.sender].heard(hello)
        await channel.send(wire.encode_control(mine))
        channel.give_up_after(SILENCE_SECONDS)
        return hello

    def _is_welcome(self, hello: wire.Hello) -> bool:
        """Whether the sender is a peer, or may be one of whom this member has not heard yet."""
        if hello.sender in self.links:
            return True
        try:
            check_urls(hello.peer_urls)
        except ValueError:
            return False
        return sum(link.foreign for link in self.links.values()) < MAX_FOREIGN

    def _snapshot_taken(self, message: Message, writer: SnapshotWriter) -> None:
        self._the_driver.receive_snapshot(message, writer)
        self._wake()

    async def _receive_messages(self, channel: Channel, frames: FrameDecoder, hello: wire.Hello) -> None:
        driver, link = self._the_driver, self.links[hello.sender]

        def take(data: bytes) -> bool:
            link.received_bytes += len(data)
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
            return True

        await channel.each(self._arrivals, take)
