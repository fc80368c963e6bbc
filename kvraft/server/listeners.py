"""Where a member listens, what each listener has for those who connect, and how they are let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.channel import accept, listen
from kvraft.server.clients import Offer, serve_client
from kvraft.server.limits import Gate, connection_limit
from kvraft.server.security import MemberTls
from kvraft.server.tls import ConfigError

if TYPE_CHECKING:
    import socket
    from contextlib import ExitStack

    import trio

    from kvraft.server.config import MemberConfig
    from kvraft.server.member import Member
    from kvraft.server.tls import ReloadedContext

    Listener = tuple[str, socket.socket]
    """URL and socket."""


class Listeners:
    """Bound on making, served from ``serve_clients`` on. Raises ``ConfigError``."""

    def __init__(self, config: MemberConfig, member: Member, opened: ExitStack) -> None:
        """What is opened is left to ``opened`` to close."""
        self._member = member
        self._opened = opened
        self._reuse_port = config.socket_reuse_port
        self.gate = Gate(connection_limit(config.max_connections), member.counters)
        makes_certificates = config.client_tls.auto or config.peer_tls.auto
        if not makes_certificates:
            self.tls = MemberTls(config)
        self._clients = self._listen("--listen-client-urls", config.listen_client_urls)
        self.peers = self._listen("--listen-peer-urls", config.listen_peer_urls)
        self._http = self._listen("--listen-client-http-urls", config.listen_client_http_urls)
        self._metrics = self._listen("--listen-metrics-urls", config.listen_metrics_urls)
        if makes_certificates:  # in the data directory, where what cannot serve must leave no trace
            self.tls = MemberTls(config)
        self._gateway = Offer.GATEWAY if config.enable_grpc_gateway else Offer(0)
        self.client_urls = _with_ports(config.advertise_client_urls, self._clients)

    def _listen(self, flag: str, urls: tuple[str, ...]) -> list[Listener]:
        found: list[Listener] = []
        for url in urls:
            try:
                sockets = listen(url, reuse_port=self._reuse_port)
            except OSError as error:
                raise ConfigError(f"{flag}: cannot listen on {url}: {error.strerror or error}") from error
            for sock in sockets:
                self._opened.callback(sock.close)
                found.append((url, sock))
        return found

    def _offers(self) -> list[tuple[str, socket.socket, Offer]]:
        """What is there for clients at each socket. As in etcd HTTP moves out where it has URLs of its own."""
        http = self._gateway | Offer.ROUTES
        clients = Offer.NATIVE | Offer.GRPC if self._http else Offer.NATIVE | Offer.GRPC | http
        return [
            *((url, sock, clients) for url, sock in self._clients),
            *((url, sock, http) for url, sock in self._http),
            *((url, sock, Offer.ROUTES) for url, sock in self._metrics),
        ]

    def serve_clients(self, nursery: trio.Nursery) -> None:
        """Let clients in from now on, in tasks of ``nursery``."""
        for url, sock, offer in self._offers():
            tls = self.tls.clients if url.startswith("https:") else None
            nursery.start_soon(self._accept, sock, tls, offer, nursery)

    async def _accept(
        self, sock: socket.socket, tls: ReloadedContext | None, offer: Offer, nursery: trio.Nursery
    ) -> None:
        async for accepted in accept(sock):
            try:
                if offer is not Offer.ROUTES:  # operators come in when nobody else can
                    await self.gate.wait_for_room()
            except BaseException:
                accepted.close()
                raise
            nursery.start_soon(self._serve, accepted, tls, offer)

    async def _serve(self, accepted: socket.socket, tls: ReloadedContext | None, offer: Offer) -> None:
        with self.gate.inside():
            await serve_client(self._member, accepted, tls.current() if tls is not None else None, offer)


def _with_ports(urls: tuple[str, ...], listeners: list[Listener]) -> tuple[str, ...]:
    """Advertised URLs; one with port 0 gets the port that listening found."""
    port = listeners[0][1].getsockname()[1]
    return tuple(f"{url.rstrip('/')[:-1]}{port}" if url.rstrip("/").endswith(":0") else url.rstrip("/") for url in urls)
