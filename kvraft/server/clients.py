"""Client connections: bytes in and out, and which protocol a client speaks on it.

Whatever the protocol, one task reads and one writes what the socket would not take at once; answers are queued where
they come and leave together at the end of the member's turn.
"""

from __future__ import annotations

import enum
import logging
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import trio

from kvraft.channel import Channel, Closed, HandshakeFailed, WakeUp
from kvraft.errors import ProtocolError
from kvraft.logs import fields
from kvraft.wire import native
from kvraft.wire.http2.frames import PREFACE as HTTP2_PREFACE

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable

    from kvraft.server.member import Member

log = logging.getLogger(__name__)

PREFACE_SECONDS = 10.0
MAX_UNREAD_BYTES = 16 << 20
"""A client that leaves so much unread gets no more of its requests read and answered, and its watches lag."""
MAX_UNREAD_SECONDS = 120.0
"""... and after so long without reading anything its connection is closed."""
GOODBYE_SECONDS = 1.0
SEE_OFF_SECONDS = 0.2
"""For so long clients may take to leave once they have been asked to."""
MAX_WATCHES = 10_000
MAX_UNANSWERED = 8192
"""Requests of one connection under way at once; past it: TooManyRequests."""
METHODS = (b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE ", b"PATCH ", b"OPTIONS ", b"CONNECT ", b"TRACE ")
"""How an HTTP/1.1 connection opens."""


class Offer(enum.Flag):
    """What a listener has for those who connect."""

    NATIVE = enum.auto()
    GRPC = enum.auto()
    GATEWAY = enum.auto()
    """The JSON gateway."""
    ROUTES = enum.auto()
    """Health, version and metrics."""


class Speaker(Protocol):
    """One protocol on one connection."""

    def receive(self, data: bytes) -> None:
        """What the client sent. Raises ``ProtocolError``, after which the connection ends."""
        ...

    def drained(self) -> None:
        """The client has read everything that was waiting for it."""
        ...

    def last_words(self, error: ProtocolError) -> None:
        """Queue what tells the client why its connection ends."""
        ...

    def leave(self) -> None:
        """The member is going to stop: queue what sends the client elsewhere, if the protocol has that."""
        ...

    def ask_to_leave(self) -> bool:
        """Nothing is left to do here: queue what has the client close the connection. False: it would not know how."""
        ...

    def stop(self) -> None:
        """The member stops: queue the end of everything that goes on."""
        ...

    def lost(self) -> None:
        """The connection is over: let go of everything."""
        ...


class ClientConnection:
    """One client. Reading happens in ``run``; writing wherever an answer comes, flushed once per turn."""

    def __init__(self, member: Member, channel: Channel, offer: Offer) -> None:
        self.member = member
        self.offer = offer
        self.unanswered = 0
        """Requests under way; see MAX_UNANSWERED."""
        self.watches = 0
        """Watches that go on; see MAX_WATCHES."""
        self.ended = trio.Event()
        """Nothing more comes from this client."""
        self._channel = channel
        self._speaker: Speaker | None = None
        self._held: list[Callable[[], None]] = []
        self._queued_bytes = 0
        self._dirty = False
        self._finishing = False
        self._drain = WakeUp()
        self._drained = WakeUp()

    async def run(self) -> None:
        """Serve until either side ends it."""
        breach: ProtocolError | None = None
        remote = self._channel.peer_name
        self.member.connections[self] = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                try:
                    await self._read()
                except ProtocolError as error:
                    breach = error
                except HandshakeFailed as error:
                    log.warning("rejected connection on client endpoint", extra=fields(remote=remote, error=str(error)))
                except Closed as error:
                    log.debug("client connection broke", extra=fields(remote=remote, error=str(error)))
                nursery.cancel_scope.cancel()
            if breach is not None:  # only now is nobody else waiting for the socket to take more
                log.info("client broke the protocol", extra=fields(remote=remote, error=str(breach)))
                await self._say_why(breach)
        finally:
            self._channel.close()
            del self.member.connections[self]
            self.ended.set()
            if self._speaker is not None:
                self._speaker.lost()

    # ------------------------------------------------------------------ what protocols and the service ask

    @property
    def congested(self) -> bool:
        """See ``service.Caller``."""
        return self._channel.buffered_bytes > MAX_UNREAD_BYTES and not self._channel.closed

    @property
    def closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._channel.closed

    @property
    def is_secure(self) -> bool:
        """Whether it goes over TLS."""
        return self._channel.is_tls

    @cached_property
    def common_name(self) -> str:
        """The CN of the certificate that the client showed, "" without one."""
        return self.member.auth.common_name(self._channel.peer_certificate)

    @property
    def unread_bytes(self) -> int:
        """What the socket has not taken yet."""
        return self._channel.buffered_bytes

    def hold(self, retry: Callable[[], None]) -> None:
        """See ``service.Caller``."""
        self._held.append(retry)

    def queue(self, data: bytes) -> None:
        """Add to what leaves at the end of the turn."""
        self._channel.queue(data)
        self._queued_bytes += len(data)
        self.member.counters.client_sent_bytes += len(data)
        if not self._dirty:
            self._dirty = True
            self.member.dirty.append(self)

    def finish(self) -> None:
        """Close once what is queued has gone, and the client has had a moment to read it.

        A connection closed with something unread is reset, which takes our last words from the client.
        """
        self._finishing = True

    def abandon(self, reason: str) -> None:
        """Close at once: nobody is there to read last words."""
        log.info(reason, extra=fields(remote=self._channel.peer_name))
        self._channel.close()

    def _end(self) -> None:
        self._channel.end()
        self.member.timers.at(self.member.clock() + GOODBYE_SECONDS, self._channel.close)

    def leave(self) -> None:
        """See ``Speaker``."""
        if self._speaker is not None:
            self._speaker.leave()

    def ask_to_leave(self) -> bool:
        """See ``Speaker``."""
        return self._speaker is not None and self._speaker.ask_to_leave()

    def stop(self) -> None:
        """See ``Speaker``."""
        if self._speaker is not None:
            self._speaker.stop()

    # ------------------------------------------------------------------ writing

    def flush(self) -> None:
        """Send what has been queued in this turn."""
        self._dirty = False
        somebody_waits = self._channel.buffered_bytes > MAX_UNREAD_BYTES  # though the socket may take all of it now
        if not self._channel.send_now() or somebody_waits:
            self._drain.set()
        elif self._finishing:
            self._end()

    async def _write(self) -> None:
        """What the socket would not take at once."""
        while True:
            await self._drain.wait()
            try:
                while self._channel.buffered_bytes:
                    taken = self._queued_bytes - self._channel.buffered_bytes
                    with trio.move_on_after(MAX_UNREAD_SECONDS):
                        await self._channel.drain()
                    if self._queued_bytes - self._channel.buffered_bytes <= taken:
                        log.warning("client reads nothing", extra=fields(remote=self._channel.peer_name))
                        self._channel.close()
                        return
            except Closed:
                return  # the reader sees it too
            if self._finishing:
                self._end()
            self._drained.set()
            if self._speaker is not None:
                self._speaker.drained()
            self.retry_held()
            self.member.wake.set()

    def retry_held(self) -> None:
        """Answer what waited for the client to read."""
        held, self._held = self._held, []
        for retry in held:
            retry()

    async def _say_why(self, error: ProtocolError) -> None:
        if self._speaker is None:
            self._channel.queue(native.encode_answer(native.CONNECTION_ID, native.to_failure(error)))
        else:
            self._speaker.last_words(error)
        with trio.move_on_after(GOODBYE_SECONDS):
            await self._channel.drain()

    # ------------------------------------------------------------------ reading

    async def _read(self) -> None:
        channel, member = self._channel, self.member
        with trio.move_on_after(PREFACE_SECONDS) as scope:
            await channel.handshake()
        if scope.cancelled_caught:
            raise HandshakeFailed("TLS handshake failed: not finished in time")
        data = b""
        with trio.move_on_after(PREFACE_SECONDS) as scope:
            while _undecided(data):
                received = await channel.receive()
                if not received:
                    return
                data += received
        if scope.cancelled_caught:
            raise ProtocolError("the connection does not open with the native protocol's preface")
        self._speaker = speaker = self._choose(data)

        def take(data: bytes) -> bool:
            member.counters.client_received_bytes += len(data)
            speaker.receive(data)
            if self._dirty or member.driver.has_work:
                member.turns.soon()
            return channel.buffered_bytes <= MAX_UNREAD_BYTES

        take(data.removeprefix(native.PREFACE).removeprefix(HTTP2_PREFACE))
        at_end = False
        while not at_end:
            while channel.buffered_bytes > MAX_UNREAD_BYTES:
                await self._drained.wait()
            at_end = await channel.each(member.arrivals, take)

    def _choose(self, data: bytes) -> Speaker:
        """The protocol that opens with ``data``; one that nobody has asked for yet is loaded now."""
        if data.startswith(native.PREFACE) and Offer.NATIVE in self.offer:
            from kvraft.server.native import NativeSpeaker

            return NativeSpeaker(self)
        if data.startswith(HTTP2_PREFACE):  # what may be asked for there is looked at with each request
            from kvraft.server.http.h2 import Http2Speaker

            return Http2Speaker(self)
        if data.startswith(METHODS) and self.offer & (Offer.GATEWAY | Offer.ROUTES):
            from kvraft.server.http.h1 import Http1Speaker

            return Http1Speaker(self)
        raise ProtocolError("the connection does not open with the native protocol's preface")


_OPENINGS = (native.PREFACE, HTTP2_PREFACE, *METHODS)


def _undecided(data: bytes) -> bool:
    """Whether more than one protocol may open with ``data``, or more of its opening is due."""
    return not data or any(len(data) < len(opening) and opening.startswith(data) for opening in _OPENINGS)


async def serve_client(member: Member, sock: socket.socket, tls: ssl.SSLContext | None, offer: Offer) -> None:
    """One accepted connection, until it ends."""
    try:
        channel = Channel(sock, tls, server_side=True)
    except OSError as error:  # reset before we came to it
        sock.close()
        log.debug("client connection broke", extra=fields(error=str(error)))
        return
    await ClientConnection(member, channel, offer).run()


async def see_off(connections: Iterable[ClientConnection], flush: Callable[[], None]) -> None:
    """Answer what clients have sent by now: whose request meets a closed socket never learns what came of it."""
    asked = [connection for connection in connections if connection.ask_to_leave()]
    flush()
    with trio.move_on_after(SEE_OFF_SECONDS):
        for connection in asked:
            await connection.ended.wait()
