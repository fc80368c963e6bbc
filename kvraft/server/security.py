"""The TLS contexts of one member: clients', peers' that come, peers that it goes to."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import attrs

from kvraft.channel import split_url
from kvraft.logs import fields
from kvraft.server.tls import ConfigError, ReloadedContext

if TYPE_CHECKING:
    import ssl

    from kvraft.server.config import MemberConfig
    from kvraft.server.tls import TlsConfig

log = logging.getLogger(__name__)


class MemberTls:
    """Made once the member is known to be able to listen: certificates of its own are written where it needs them.

    Raises ``ConfigError``. ``clients`` is None where clients' URLs are plain.
    """

    def __init__(self, config: MemberConfig) -> None:
        client_urls = (*config.listen_client_urls, *config.listen_client_http_urls, *config.listen_metrics_urls)
        client = self._with_own("client", config.client_tls, client_urls, config)
        peer = self._with_own("peer", config.peer_tls, config.listen_peer_urls, config)
        self.clients = ReloadedContext(client, partial(_with_alpn, client)) if _any_https(client_urls) else None
        self._from_peers = ReloadedContext(peer, peer.server_context) if _any_https(config.listen_peer_urls) else None
        self._to_peers = ReloadedContext(peer, peer.client_context) if config.dials_peers_over_tls else None

    def from_peer(self) -> ssl.SSLContext | None:
        """For a connection that a peer has opened."""
        return self._from_peers.current() if self._from_peers is not None else None

    def to_peer(self) -> ssl.SSLContext | None:
        """For a connection to a peer."""
        return self._to_peers.current() if self._to_peers is not None else None

    @staticmethod
    def _with_own(side: str, tls: TlsConfig, urls: tuple[str, ...], config: MemberConfig) -> TlsConfig:
        """``tls`` with a certificate that this member makes for itself, where that is asked for."""
        if (tls.cert_file or tls.key_file) and not _any_https(urls):
            log.warning(
                f"The scheme of {side} url is HTTP while {side} key/cert files are presented. "
                f"Ignored {side} key/cert files."
            )
        if not tls.auto:
            return tls
        if tls.cert_file or tls.key_file:
            log.warning(f"ignoring {side} auto TLS since certs given")
            return tls
        from kvraft.server.certificates import own_certificate  # with cryptography, which takes its time

        hosts = [split_url(url)[1] for url in urls]
        try:
            cert_file, key_file = own_certificate(
                config.data_dir / "fixtures" / side, hosts, config.self_signed_cert_validity
            )
        except (OSError, ValueError) as error:
            raise ConfigError(f"{tls.flag_prefix}auto-tls: cannot make a certificate: {error}") from error
        log.info("using a certificate of this member's own", extra=fields(side=side, path=cert_file))
        return attrs.evolve(tls, cert_file=cert_file, key_file=key_file, self_signed=True)


def _with_alpn(tls: TlsConfig) -> ssl.SSLContext:
    context = tls.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])  # who offers neither speaks the native protocol
    return context


def _any_https(urls: tuple[str, ...]) -> bool:
    return any(url.startswith("https:") for url in urls)
