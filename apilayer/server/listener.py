"""Accepts connections, makes them secure, hands them to the protocol that was agreed on, and ends them all."""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING, Protocol

import trio

from apilayer.server.arrivals import Arrivals
from apilayer.server.h1 import H1Connection
from apilayer.server.secure_stream import SecureStream

if TYPE_CHECKING:
    from apilayer.server.application import Application
    from apilayer.server.tls import ServingTls

HANDSHAKE_SECONDS = 10.0
BACKLOG = 1024
MAX_CONNECTIONS = 20_000
KEEPALIVE_SECONDS = 180
OVERLOAD_SECONDS = 0.1
"""So long nothing is accepted when the system is out of what it takes."""
_OUT_OF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
_NAME = "apilayer.server.listener.Listener._serve"
"""Of every connection's task: trio would make the same text for each."""

log = logging.getLogger("apilayer.server.listener")


class ListenError(Exception):
    """The address cannot be listened on; says why."""


class _Connection(Protocol):
    async def run(self) -> None: ...

    def shut_down(self) -> None: ...


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 picks one. Raises ListenError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "the address is in use already"
        raise ListenError(f"cannot listen on {host}:{port}: {reason}") from error
    return sock


class Listener:
    """Serves one listening socket until `shut_down`, then lets running requests end."""

    def __init__(self, sock: socket.socket, tls: ServingTls, app: Application) -> None:
        self.port: int = sock.getsockname()[1]
        self._socket = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        self._tls = tls
        self._app = app
        self._arrivals = Arrivals()
        self._connections: dict[_Connection, None] = {}
        self._open = 0
        self._accepting = trio.CancelScope()
        self._all = trio.CancelScope()

    async def run(self) -> None:
        """Serves; returns once it was shut down and every connection has ended."""
        try:
            async with trio.open_nursery() as noticing:
                noticing.start_soon(self._arrivals.run)
                with self._all:
                    async with trio.open_nursery() as nursery:
                        await self._accept(nursery)
                noticing.cancel_scope.cancel()
        finally:
            self._arrivals.close()

    async def _accept(self, nursery: trio.Nursery) -> None:
        with self._accepting:
            async with self._socket:
                while True:
                    try:
                        transport = await self._socket.accept()
                    except OSError as error:
                        if error.errno not in _OUT_OF:
                            raise
                        log.error("no connection can be accepted for now: %s", error.strerror)
                        await trio.sleep(OVERLOAD_SECONDS)
                    else:
                        nursery.start_soon(self._serve, transport, name=_NAME)

    def shut_down(self) -> None:
        """Accepts nothing more and closes connections as they become idle."""
        self._accepting.cancel()
        for connection in list(self._connections):
            connection.shut_down()

    def cut_off(self) -> None:
        """Ends everything at once."""
        self._all.cancel()

    async def _serve(self, transport: trio.SocketStream) -> None:
        """One connection. There are thousands that wait, so what is not needed any more goes."""
        if self._open >= MAX_CONNECTIONS:
            log.warning("a connection was refused: %d are open", self._open)
            await trio.aclose_forcefully(transport)
            return
        self._open += 1
        try:
            peer = _address(transport)
            stream = await self._secured(transport)
            del transport
            if stream is None:
                return
            connection = self._connection(stream, peer)
            self._connections[connection] = None
            try:
                await connection.run()
            except Exception:
                log.exception("a connection failed")
            finally:
                del self._connections[connection]
                stream.close(goodbye=True)
        finally:
            self._open -= 1

    async def _secured(self, transport: trio.SocketStream) -> SecureStream | None:
        """The connection once both sides agree on TLS; None, and closed, when they do not."""
        try:
            transport.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_SECONDS)
            stream = SecureStream(transport, self._tls.context())
        except OSError as error:
            log.debug("a connection was reset before TLS: %s", error)
            await trio.aclose_forcefully(transport)
            return None
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                await stream.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError, trio.ClosedResourceError) as error:
            log.debug("TLS handshake failed: %s", error.__cause__ or error)
            self._app.requests.failed_handshakes += 1
            stream.close()
            return None
        except BaseException:
            stream.close()
            raise
        return stream

    def _connection(self, stream: SecureStream, peer: str) -> _Connection:
        certificate = self._tls.identity(stream)
        if stream.selected_alpn_protocol() == "h2":
            from apilayer.server.h2 import H2Connection

            return H2Connection(stream, self._app, certificate, self._tls.http2_streams, peer)
        return H1Connection(stream, self._app, certificate, peer, self._arrivals)


def _address(transport: trio.SocketStream) -> str:
    """The peer's IP address, "" when it has gone already."""
    try:
        return str(transport.socket.getpeername()[0])
    except OSError:
        return ""
