"""TLS for trio on a non-blocking ``ssl.SSLSocket``, for the listener's connections.

trio's own TLS stream takes locks, conflict detectors and several checkpoints for each call, which cost more than all
that the server does for a small read. Here receiving waits once, and sending waits only when the socket is full.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

RECORD_BYTES = 16 * 1024
"""What one TLS record holds: OpenSSL never takes or answers more at once."""
MAX_UNREAD_BYTES = 64 * 1024
SEND_BYTES = 256 * 1024
"""After so much, others get their turn."""


class SecureStream(trio.abc.Stream):
    """The server's side of one connection. `transport` is taken over: its socket is this stream's from now on.

    One task receives, one sends. Receiving is a checkpoint; sending what the socket takes at once is none. The
    end of the connection without TLS's own goodbye is an end, as it is to most of HTTP.
    """

    __slots__ = ("_broken", "_may_be_pending", "_rest", "_waits_to_send", "socket")

    def __init__(self, transport: trio.SocketStream, context: ssl.SSLContext) -> None:
        """Raises OSError when the connection was reset already; it is the caller's to close then."""
        transport.socket.getpeername()
        plain = socket.socket(fileno=transport.socket.detach())
        try:
            plain.setblocking(False)
            self.socket = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        except BaseException:
            plain.close()
            raise
        self._broken = False
        self._may_be_pending = False
        """Whether the last record may have held more than was asked for: what TLS has read, no socket tells."""
        self._waits_to_send = False
        self._rest: bytes | memoryview = b""
        """What `send_now` could not send."""

    async def do_handshake(self) -> None:
        """Agrees on TLS. Raises BrokenResourceError with the reason as its cause."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                self.socket.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self.socket)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self.socket)
            except (OSError, ValueError) as error:
                raise trio.BrokenResourceError(str(error)) from error
            else:
                return

    def selected_alpn_protocol(self) -> str | None:
        """What the client chose of the protocols that were offered."""
        return self.socket.selected_alpn_protocol()

    # ------------------------------------------------------------------ receiving

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, b"" at the end. Raises BrokenResourceError, ClosedResourceError."""
        size = max_bytes if max_bytes and max_bytes < RECORD_BYTES else RECORD_BYTES
        sock = self.socket
        while True:
            # Nearly always nothing has arrived yet, and a read in vain costs an exception.
            if sock.fileno() < 0:
                raise trio.ClosedResourceError("the stream is closed")
            if self._may_be_pending and sock.pending():
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(sock)
            try:
                data = sock.recv(size)
                self._may_be_pending = len(data) == size
                return data
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable)
            except (OSError, ValueError) as error:
                raise self._failure(error) from error

    def receive_now(self) -> bytes | None:
        """What has arrived, b"" at the end, None when nothing has. Raises BrokenResourceError, ClosedResourceError.

        For who learns from the socket that something has; one whose TLS wants to send and cannot is broken.
        """
        try:
            return self.socket.recv(RECORD_BYTES)
        except ssl.SSLWantReadError:
            return None
        except (OSError, ValueError) as error:
            raise self._failure(error) from error

    # ------------------------------------------------------------------ sending

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Sends everything. Raises BrokenResourceError, BusyResourceError, ClosedResourceError.

        One that is cancelled half-way breaks the stream.
        """
        if self._waits_to_send:
            raise trio.BusyResourceError("another task is sending")
        if self._broken:
            raise trio.BrokenResourceError("a send did not complete")
        if self._rest:
            data, self._rest = b"".join((self._rest, data)), b""
        sent, size, turn = 0, len(data), SEND_BYTES
        part: bytes | bytearray | memoryview = data if size <= RECORD_BYTES else memoryview(data)[:RECORD_BYTES]
        while sent < size:
            try:
                sent += self.socket.send(part)
            except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
                await self._sending(trio.lowlevel.wait_writable)
                continue  # with the same bytes: TLS has begun to send them
            except (OSError, ValueError) as error:
                raise self._failure(error) from error
            if sent < size:
                part = memoryview(data)[sent : sent + RECORD_BYTES]
                if sent >= turn:
                    turn = sent + SEND_BYTES
                    await self._sending(_checkpoint)

    @property
    def busy(self) -> bool:
        """Whether something is being sent or is left over, so that nothing can go now."""
        return self._broken or bool(self._rest)

    def send_now(self, data: bytes) -> bool:
        """Sends what the socket takes at once; False: the rest goes before whatever is sent next.

        Raises BusyResourceError, and sends nothing, while the stream is `busy`. Of a broken stream the next `send_all`
        says what it is.
        """
        if self._broken or self._rest:
            raise trio.BusyResourceError("something else goes first")
        sent, size = 0, len(data)
        try:
            while sent < size:
                sent += self.socket.send(data if size <= RECORD_BYTES else memoryview(data)[sent : sent + RECORD_BYTES])
        except (OSError, ValueError):  # that it is full, mostly
            self._rest = memoryview(data)[sent:]
            return False
        return True

    async def wait_send_all_might_not_block(self) -> None:
        """Waits until the socket takes something. Raises ClosedResourceError."""
        await self._wait(trio.lowlevel.wait_writable)

    async def _sending(self, wait: Callable[[ssl.SSLSocket], Awaitable[None]]) -> None:
        """Waits in the middle of a send, after which nobody can go on but this send."""
        self._broken = self._waits_to_send = True
        try:
            await self._wait(wait)
            self._broken = False
        finally:
            self._waits_to_send = False

    # ------------------------------------------------------------------ the end

    async def aclose(self) -> None:
        """Says goodbye as far as the socket takes it at once, and closes."""
        self.close(goodbye=not self._broken)
        await trio.lowlevel.checkpoint()

    def close(self, *, goodbye: bool = False) -> None:
        """Closes at once; whoever waits gets ClosedResourceError."""
        if self.socket.fileno() < 0:
            return
        trio.lowlevel.notify_closing(self.socket)
        with contextlib.suppress(OSError, ValueError):
            if goodbye and not self._rest:
                self.socket.unwrap()
        with contextlib.suppress(OSError):
            # What has arrived and was not read would have the kernel take back what was sent.
            socket.socket.recv(self.socket, MAX_UNREAD_BYTES)
        with contextlib.suppress(OSError):
            self.socket.close()

    async def _wait(self, wait: Callable[[ssl.SSLSocket], Awaitable[None]]) -> None:
        if self.socket.fileno() < 0:
            raise trio.ClosedResourceError("the stream is closed")
        await wait(self.socket)

    def _failure(self, error: Exception) -> Exception:
        if self.socket.fileno() < 0:
            return trio.ClosedResourceError("the stream was closed meanwhile")
        self._broken = True
        return trio.BrokenResourceError(str(error))


async def _checkpoint(_: ssl.SSLSocket) -> None:
    await trio.lowlevel.checkpoint()
