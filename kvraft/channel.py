"""A non-blocking byte stream for trio, plain TCP or TLS, that can also be written without a task switch.

trio's own streams cost a checkpoint and a scope per call; on this protocol's path a reader waits once per batch and
writes happen where the batch ends, on the spot, with a task only for what the socket would not take. TLS runs
inside a non-blocking ``ssl.SSLSocket`` for the same reason.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio

from kvraft.arrivals import Delivery
from kvraft.errors import KvraftError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from kvraft.arrivals import Arrivals


RECEIVE_BYTES = 64 * 1024
"""Below what malloc takes from the kernel each time: a larger buffer costs more than the data in it."""
SEND_BYTES = 256 * 1024
"""The most that is joined for one send: with a slow reader's backlog of megabytes, joining all of it each time costs
more than sending."""
TLS_RECORD_BYTES = 16 * 1024
MAX_URLS = 16
MAX_URL_LENGTH = 2048
_RTT = slice(68, 72)
"""Where Linux's ``tcp_info`` has the smoothed round-trip time, in microseconds."""
KEEPALIVE_SECONDS = 30
"""A silent peer is asked by TCP after so long whether it is still there, then three times every ten seconds."""


class Closed(KvraftError):
    """The channel is closed, by either side."""

    code = "Unavailable"
    text = "connection closed"


class HandshakeFailed(Closed):
    """TLS could not be agreed on; the text says why."""

    text = "TLS handshake failed"


class CheckedContext(ssl.SSLContext):
    """A context with a question of its own about the certificate that the other side has shown."""

    check: Callable[[bytes | None], None] | None = None
    """Gets the certificate in DER form, None when there is none; raises ``ssl.SSLCertVerificationError``."""


class Channel:
    """One connection. Reading and writing belong to one task each; ``send_now`` may be called from anywhere.

    Making one raises ``OSError`` when the socket has been reset already; it is the caller's to close then.
    """

    __slots__ = (
        "_chunks",
        "_delivery",
        "_handshaken",
        "_reason",
        "_sock",
        "_tls",
        "broken",
        "buffered_bytes",
        "closed",
    )

    def __init__(
        self, sock: socket.socket, tls: ssl.SSLContext | None = None, *, server_side: bool, name: str = ""
    ) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(sock)
        if tls is not None:
            sock.getpeername()  # raises here when it has been reset, instead of half-way through the wrapping
            sock = tls.wrap_socket(
                sock,
                server_side=server_side,
                do_handshake_on_connect=False,
                server_hostname=None if server_side else name,
                suppress_ragged_eofs=True,
            )
        self._sock = sock
        self._tls = tls is not None
        self._handshaken = tls is None
        self._chunks: list[bytes | memoryview] = []
        self.buffered_bytes = 0
        """What the socket has not taken yet; to read, never to set."""
        self.broken = False
        """Sending has failed: what was queued is lost, nothing more is sent."""
        self._reason = ""
        self._delivery: Delivery | None = None
        self.closed = False

    @property
    def is_tls(self) -> bool:
        """Whether it is encrypted."""
        return self._tls

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's certificate in DER form; None without TLS or when it showed none."""
        return self._sock.getpeercert(binary_form=True) if isinstance(self._sock, ssl.SSLSocket) else None

    @property
    def peer_name(self) -> str:
        """Where the peer is, for logs."""
        try:
            address = self._sock.getpeername()
        except OSError:
            return "?"
        return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)

    @property
    def round_trip_seconds(self) -> float:
        """What TCP measures of the way there and back; 0 where there is no telling."""
        if self.closed or self._sock.family not in (socket.AF_INET, socket.AF_INET6):
            return 0.0
        try:
            information = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.stop)
        except OSError:
            return 0.0
        return int.from_bytes(information[_RTT], sys.byteorder) / 1e6

    def give_up_after(self, seconds: float) -> None:
        """Let the connection break when sent bytes stay unconfirmed for so long. Raises ``OSError``."""
        if self._sock.family in (socket.AF_INET, socket.AF_INET6):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    async def handshake(self) -> None:
        """Finish the TLS handshake; nothing to do on plain TCP. Raises ``HandshakeFailed`` with the reason."""
        while not self._handshaken:
            assert isinstance(self._sock, ssl.SSLSocket)
            try:
                self._sock.do_handshake()
                if isinstance(self._sock.context, CheckedContext) and self._sock.context.check is not None:
                    self._sock.context.check(self._sock.getpeercert(binary_form=True))
                self._handshaken = True
            except ssl.SSLWantReadError:
                await self._wait(trio.lowlevel.wait_readable)
            except ssl.SSLWantWriteError:
                await self._wait(trio.lowlevel.wait_writable)
            except (OSError, ValueError) as error:
                raise HandshakeFailed(f"{HandshakeFailed.text}: {error}") from error
        await trio.lowlevel.checkpoint_if_cancelled()

    async def receive(self) -> bytes:
        """The next bytes; b"" at the end of the stream. Raises ``Closed`` when the connection broke."""
        while True:
            if self.closed:
                raise Closed
            # Wait first: nearly always nothing has arrived yet, and a failed read costs an exception. Nothing that TLS
            # has read is left over: it never reads more than a record, and that is less than we take.
            try:
                await trio.lowlevel.wait_readable(self._sock)
            except (trio.ClosedResourceError, OSError, ValueError) as error:
                raise Closed from error
            data = self._receive_now()
            if data is not None:
                return data

    async def each(self, arrivals: Arrivals, take: Callable[[bytes], bool]) -> bool:
        """Hand what arrives to ``take``, which must not wait, until it says with False that this is enough for now.

        True at the end of the stream. Raises ``Closed`` when the connection breaks or is closed, and what ``take``
        raises.
        """
        if self.closed:
            raise Closed
        try:
            delivery = Delivery(self._receive_now, take, arrivals, self._sock.fileno())
        except OSError as error:
            raise Closed(f"connection broke: {error}") from error
        self._delivery = delivery
        try:
            await delivery.over.wait()
        finally:
            self._delivery = None
            delivery.end()
        if delivery.failure is not None:
            raise delivery.failure
        return delivery.at_end

    def _receive_now(self) -> bytes | None:
        """What has arrived, None while there is nothing. Raises ``Closed`` when the connection broke."""
        try:
            return self._sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        except ssl.SSLWantWriteError as error:
            # Only an answer to a key update that the peer's full buffer holds up; waiting is the writer's.
            raise Closed("connection broke: the peer asks for new keys but reads nothing") from error
        except (OSError, ValueError) as error:
            raise Closed(f"connection broke: {error}") from error

    def queue(self, data: bytes) -> None:
        """Add to what is to be sent; ``send_now`` sends it."""
        self._chunks.append(data)
        self.buffered_bytes += len(data)

    def send_now(self) -> bool:
        """Send what is queued as far as the socket takes it. True when all has gone; see ``drain``.

        Never raises: a broken connection shows in the reader, and in ``broken``.
        """
        chunks = self._chunks
        while chunks and not self.closed:
            count = len(chunks) if self.buffered_bytes <= SEND_BYTES else self._first_chunks()
            data = b"".join(chunks[:count]) if count > 1 else chunks[0]
            sent = 0
            try:
                if self.broken:
                    raise BrokenPipeError
                sent = self._sock.send(data)
                while self._tls and sent < len(data):
                    sent += self._sock.send(memoryview(data)[sent : sent + TLS_RECORD_BYTES])
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass  # the socket is full: what it did not take stays queued
            except (OSError, ValueError) as error:
                self.broken = True
                self._reason = self._reason or str(error)
                chunks.clear()
                self.buffered_bytes = 0
                return True
            self.buffered_bytes -= sent
            if sent < len(data):
                # After "want write" TLS wants the same bytes again, at least as many: they stay in front.
                chunks[:count] = [memoryview(data)[sent:]]
                return False
            del chunks[:count]
        return True

    def _first_chunks(self) -> int:
        """How many of the chunks in front make up ``SEND_BYTES``."""
        count = size = 0
        while size < SEND_BYTES:
            size += len(self._chunks[count])
            count += 1
        return count

    async def drain(self) -> None:
        """Wait until everything queued has gone, or the channel is closed."""
        while not self.closed and not self.send_now():
            await self._wait(trio.lowlevel.wait_writable)

    async def send(self, data: bytes) -> None:
        """Queue, and wait until it has gone. Raises ``Closed`` when it cannot go."""
        self.queue(data)
        await self.drain()
        if self.broken:
            raise Closed(f"connection broke: {self._reason}")
        if self.closed:
            raise Closed

    def end(self) -> None:
        """Tell the peer that nothing more comes; what it still sends can be received."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_WR)  # TLS would forget how to read on

    def close(self) -> None:
        """Close at once; what is queued is lost. Waiting tasks get ``Closed``."""
        if not self.closed:
            self.closed = True
            if self._delivery is not None:
                self._delivery.end(Closed())
            trio.lowlevel.notify_closing(self._sock)
            with contextlib.suppress(OSError):
                self._sock.close()

    async def _wait(self, wait: object) -> None:
        try:
            await wait(self._sock)  # type: ignore[operator]
        except (trio.ClosedResourceError, OSError, ValueError) as error:
            raise Closed from error


def split_url(url: str) -> tuple[str, str, int]:
    """``(scheme, host, port)`` of an ``http://`` or ``https://`` URL without a path. Raises ``ValueError``."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError(f'URL scheme must be http or https: "{url}"')
    if not parts.hostname or parts.port is None:
        raise ValueError(f'URL address does not have the form "host:port": "{url}"')
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f'URL must not contain a path: "{url}"')
    return parts.scheme, parts.hostname, parts.port


def check_urls(urls: Sequence[str]) -> None:
    """Raise ``ValueError`` unless these are between one and ``MAX_URLS`` URLs that can be dialled."""
    if not urls:
        raise ValueError("at least one URL is required")
    if len(urls) > MAX_URLS or max(map(len, urls)) > MAX_URL_LENGTH:
        raise ValueError(f"at most {MAX_URLS} URLs of {MAX_URL_LENGTH} characters are allowed")
    for url in urls:
        split_url(url)


async def dial(url: str, tls: ssl.SSLContext | None, timeout_seconds: float = 5.0) -> Channel:
    """Connect to ``url``. Raises ``ConnectionRefusedError`` when nobody listens, else ``Closed`` with the reason."""
    scheme, host, port = split_url(url)
    if scheme == "https" and tls is None:
        tls = ssl.create_default_context()
    with trio.move_on_after(timeout_seconds):
        info = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: Exception | None = None
        for family, kind, protocol, _, address in info:
            try:
                return await _open(family, kind, protocol, address, tls if scheme == "https" else None, host)
            except (OSError, Closed) as error:
                failure = error
        if isinstance(failure, ConnectionRefusedError):
            raise failure
        raise Closed(f"cannot connect to {url}: {failure}") from failure
    raise Closed(f"cannot connect to {url}: timed out")


async def _open(
    family: int, kind: int, protocol: int, address: object, tls: ssl.SSLContext | None, host: str
) -> Channel:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        await _connect(sock, address)
        channel = Channel(sock, tls, server_side=False, name=host)
    except BaseException:
        sock.close()
        raise
    try:
        await channel.handshake()
    except BaseException:
        channel.close()
        raise
    return channel


async def _connect(sock: socket.socket, address: object) -> None:
    code = sock.connect_ex(address)  # type: ignore[arg-type]
    if code == errno.EINPROGRESS:
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    else:
        await trio.lowlevel.checkpoint()
    if code:
        raise OSError(code, os.strerror(code))


def _keep_alive(sock: socket.socket) -> None:
    """A peer whose machine is gone without a word must not hold a connection, or its watches, for ever."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_SECONDS // 3)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def listen(url: str, backlog: int = 1024, *, reuse_port: bool = False) -> list[socket.socket]:
    """Listening sockets for ``url`` (port 0: any free one). Raises ``OSError``.

    ``reuse_port``: others of the same user that want it too may listen there as well.
    """
    _, host, port = split_url(url)
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                sockets.append(_listen(family, kind, protocol, address, backlog, reuse_port=reuse_port))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error  # "localhost" also names ::1, which a machine without IPv6 does not have
        if not sockets and absent is not None:
            raise absent
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def _listen(family: int, kind: int, protocol: int, address: object, backlog: int, *, reuse_port: bool) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)  # type: ignore[arg-type]
        sock.listen(backlog)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


async def accept(listener: socket.socket) -> AsyncIterator[socket.socket]:
    """Connections as they come. Out of file descriptors: waits a little and goes on."""
    exhausted = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
    while True:
        await trio.lowlevel.wait_readable(listener)
        for _ in range(64):
            try:
                sock, _ = listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in exhausted:
                    await trio.sleep(0.1)
                break
            yield sock


class WakeUp:
    """A wake-up for exactly one waiting task: setting it many times before the task runs wakes it once."""

    __slots__ = ("_is_set", "_task")

    def __init__(self) -> None:
        self._is_set = False
        self._task: trio.lowlevel.Task | None = None

    @property
    def is_set(self) -> bool:
        """Whether the task has been woken, or will be, and has not begun yet."""
        return self._is_set

    def set(self) -> None:
        """Wake the task, now or when it next waits."""
        self._is_set = True
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def wait(self) -> None:
        """Return once it has been set since the last ``wait``."""
        if self._is_set:
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()

            def abort(_: object) -> trio.lowlevel.Abort:
                self._task = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        self._is_set = False
