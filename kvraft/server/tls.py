"""TLS of one side of a member, clients' or peers': etcd's ``--cert-file`` family, with files that may change."""

from __future__ import annotations

import logging
import os
import ssl
from typing import TYPE_CHECKING

import attrs

from kvraft.channel import CheckedContext
from kvraft.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

VERSIONS = {"TLS1.2": ssl.TLSVersion.TLSv1_2, "TLS1.3": ssl.TLSVersion.TLSv1_3}
CIPHERS = {
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
"""Go's names of suites, which etcd's flag takes, and OpenSSL's."""
CIPHERS_13 = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""Those of TLS 1.3 may be named; they are always there."""


class ConfigError(Exception):
    """A setting is wrong; the text names it and says why."""


@attrs.frozen
class TlsConfig:
    """One side's TLS files (etcd's ``--cert-file`` family, and the same with ``--peer-``); empty: none."""

    cert_file: str = ""
    key_file: str = ""
    trusted_ca_file: str = ""
    client_cert_auth: bool = False
    flag_prefix: str = "--"
    client_cert_file: str = ""
    """Shown to those that this member connects to, in place of ``cert_file``."""
    client_key_file: str = ""
    crl_file: str = ""
    allowed_cns: tuple[str, ...] = ()
    """Common names, of which the other side's certificate must have one; () allows any."""
    allowed_hostnames: tuple[str, ...] = ()
    """The same for its alternative names."""
    auto: bool = False
    """Make a certificate where none is given; see ``certificates.own_certificate``."""
    self_signed: bool = False
    """The certificate was made so, by this member and by its peers: who connects cannot know them by it."""
    cipher_suites: tuple[str, ...] = ()
    min_version: str = "TLS1.2"
    max_version: str = ""

    def check(self) -> None:
        """Raise ``ConfigError`` for settings that contradict each other; files are not looked at."""
        for version in (self.min_version, self.max_version):
            if version and version not in VERSIONS:
                raise ConfigError(f'unexpected TLS version "{version}" (must be one of: TLS1.2, TLS1.3)')
        lowest, highest = VERSIONS[self.min_version or "TLS1.2"], VERSIONS[self.max_version or "TLS1.3"]
        if lowest > highest:
            raise ConfigError(f"min version ({self.min_version}) is greater than max version ({self.max_version})")
        for suite in self.cipher_suites:
            if suite not in CIPHERS and suite not in CIPHERS_13:
                raise ConfigError(f'unexpected TLS cipher suite "{suite}"')
        if self.cipher_suites and self.min_version == "TLS1.3":
            raise ConfigError("cipher suites cannot be configured when only TLS1.3 is enabled")
        if self.allowed_cns and self.allowed_hostnames:
            raise ConfigError(
                f"AllowedCNs and AllowedHostnames are mutually exclusive "
                f"(cns={list(self.allowed_cns)}, hostnames={list(self.allowed_hostnames)})"
            )

    def server_context(self) -> ssl.SSLContext:
        """What this member shows to those who connect. Raises ``ConfigError``."""
        if not (self.cert_file and self.key_file):
            raise ConfigError(
                f"{self.flag_prefix}cert-file and {self.flag_prefix}key-file are required with https URLs"
            )
        context = self._new(ssl.PROTOCOL_TLS_SERVER)
        self._load(context, self.cert_file, self.key_file)
        if self.client_cert_auth and not self.trusted_ca_file:
            raise ConfigError(f"{self.flag_prefix}trusted-ca-file is required with {self.flag_prefix}client-cert-auth")
        if self.trusted_ca_file:  # as in etcd, a CA alone already demands a certificate
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        """What this member uses to connect to its peers. Raises ``ConfigError``."""
        context = self._new(ssl.PROTOCOL_TLS_CLIENT)
        if self.self_signed or (self.auto and not self.cert_file):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif not self.trusted_ca_file:  # else that CA alone is believed
            context.load_default_certs()
        self._load(context, self.client_cert_file or self.cert_file, self.client_key_file or self.key_file)
        return context

    def _new(self, protocol: int) -> CheckedContext:
        self.check()
        context = CheckedContext(protocol)
        context.minimum_version = VERSIONS[self.min_version or "TLS1.2"]
        if self.max_version:
            context.maximum_version = VERSIONS[self.max_version]
        if self.cipher_suites:
            older = [CIPHERS[suite] for suite in self.cipher_suites if suite in CIPHERS]
            if older:
                context.set_ciphers(":".join(older))
            else:
                context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def _load(self, context: CheckedContext, cert_file: str, key_file: str) -> None:
        try:
            if cert_file:
                # An empty password: a key that wants one is an error, not a question on the terminal.
                context.load_cert_chain(cert_file, key_file or None, password="")
            if self.trusted_ca_file:
                context.load_verify_locations(self.trusted_ca_file)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(filter(None, (cert_file, key_file, self.trusted_ca_file)))
            raise ConfigError(f"cannot load TLS files ({files}): {error}") from error
        if not (self.crl_file or self.allowed_cns or self.allowed_hostnames):
            return
        from kvraft.server.certificates import PeerRules, revoked_serials  # with cryptography, which takes its time

        try:
            revoked = revoked_serials(self.crl_file) if self.crl_file else frozenset()
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.flag_prefix}crl-file: cannot load {self.crl_file}: {error}") from error
        context.check = PeerRules(revoked, self.allowed_cns, self.allowed_hostnames).check


class ReloadedContext:
    """A context that follows its files: once they have changed, connections from then on use what they hold.

    Files that cannot be used leave the former context in place, and one line in the log.
    """

    def __init__(self, config: TlsConfig, build: Callable[[], ssl.SSLContext]) -> None:
        """``build`` is ``config.server_context`` or ``client_context``. Raises ``ConfigError``."""
        self._files = [
            path
            for path in (
                config.cert_file,
                config.key_file,
                config.client_cert_file,
                config.client_key_file,
                config.trusted_ca_file,
                config.crl_file,
            )
            if path
        ]
        self._build = build
        self._seen = self._stamps()
        self._context = build()

    def current(self) -> ssl.SSLContext:
        """The context for a new connection."""
        stamps = self._stamps()
        if stamps != self._seen:
            self._seen = stamps
            try:
                self._context = self._build()
            except ConfigError as error:
                log.warning("cannot reload TLS files; the former ones stay in use", extra=fields(error=str(error)))
            else:
                log.info("reloaded TLS files", extra=fields(files=self._files))
        return self._context

    def _stamps(self) -> list[tuple[int, int, int]]:
        stamps = []
        for path in self._files:
            try:
                found = os.stat(path)
            except OSError:
                stamps.append((0, 0, 0))
            else:
                stamps.append((found.st_ino, found.st_size, found.st_mtime_ns))
        return stamps
