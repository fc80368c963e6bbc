"""TLS of the listener: certificates, client certificates, ALPN. Files that change are read again, without a restart.

A connection keeps the context that it began with. Which authorities count is asked anew for every request, so that
one that was taken out of its file vouches for nobody any more, on connections that are open already neither.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import ssl
import time
from collections import OrderedDict
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from apilayer.pipeline.request import Identity
from apilayer.server.errors import OptionsError
from apilayer.server.tls_policy import TlsPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from apilayer.server.secure_stream import SecureStream

# HTTP/1.1 first: every client speaks it, and it costs a tenth of HTTP/2 here.
ALPN = ["http/1.1", "h2"]
MAX_CONCURRENT_STREAMS = 250
CIPHERS = "ECDHE+AESGCM"
MAX_REMEMBERED_CHAINS = 4096
CHECK_SECONDS = 1.0
"""How long requests on open connections may go by what the files held before."""
UID_FIELD = "1.3.6.1.4.1.57683.2"
"""Kubernetes' attribute of a subject that says the user's uid."""
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_DER = 2
"""`ssl`'s own number for the encoding, which has no public name before Python 3.13."""

USUAL = TlsPolicy()

log = logging.getLogger("apilayer.server.tls")


class CertificateError(Exception):
    """A certificate or key cannot be used; names the flag, the file and the reason."""


class ServingTls:
    """What new connections are served with, and which authorities vouch for clients and for authenticating proxies."""

    def __init__(
        self,
        cert_file: Path,
        key_file: Path,
        client_ca_file: Path | None = None,
        proxy_ca_file: Path | None = None,
        policy: TlsPolicy = USUAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises CertificateError."""
        self._files = {
            "--tls-cert-file": cert_file,
            "--tls-private-key-file": key_file,
            "--client-ca-file": client_ca_file,
            "--requestheader-client-ca-file": proxy_ca_file,
        }
        self._policy = policy
        self._clock = clock
        self._checked = clock()
        self._chains: OrderedDict[str, frozenset[str]] = OrderedDict()
        self.http2_streams = MAX_CONCURRENT_STREAMS
        self._seen = self._stamps()
        self._read()

    def bound_streams(self, most: int) -> None:
        """So many streams at once may one HTTP/2 connection have; 0: as usual."""
        self.http2_streams = most or MAX_CONCURRENT_STREAMS

    def context(self) -> ssl.SSLContext:
        """The server side's context for a new connection."""
        self._follow()
        return self._context

    def clients(self) -> frozenset[str]:
        """Digests of the authorities that vouch for clients now."""
        self._follow_sometimes()
        return self._clients

    def proxies(self) -> frozenset[str]:
        """Digests of the authorities that vouch for authenticating proxies now."""
        self._follow_sometimes()
        return self._proxies

    def identity(self, stream: SecureStream) -> Identity | None:
        """Whom the client's certificate names, None without one; the handshake is done."""
        encoded = stream.socket.getpeercert(binary_form=True)
        if not encoded:
            return None
        shown = hashlib.sha256(encoded).hexdigest()
        chain = _verified_chain(stream)
        if chain:
            self._chains[shown] = frozenset(hashlib.sha256(certificate).hexdigest() for certificate in chain)
            if len(self._chains) > MAX_REMEMBERED_CHAINS:
                self._chains.popitem(last=False)
        # A session that is taken up again shows the certificate, but not how it was verified.
        return identity_of(stream.socket.getpeercert(), encoded, self._chains.get(shown, frozenset()))

    # ------------------------------------------------------------------ files

    def _follow_sometimes(self) -> None:
        now = self._clock()
        if now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._follow()

    def _follow(self) -> None:
        """Files that cannot be used, half written ones for instance, leave everything as it was."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        try:
            self._read()
        except CertificateError as error:
            log.warning("the TLS files cannot be read again, the former ones stay in use: %s", error)
        else:
            log.info("the TLS files have changed: new connections use what they hold now")

    def _stamps(self) -> list[tuple[int, int, int]]:
        found = []
        for path in (*filter(None, self._files.values()), *self._policy.files):
            try:
                stat = os.stat(path)
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((stat.st_ino, stat.st_size, stat.st_mtime_ns))
        return found

    def _read(self) -> None:
        try:
            context = self._policy.apply(partial(_context, self._files))
        except OptionsError as error:
            raise CertificateError(str(error)) from error
        clients, proxies = (
            _digests(flag, self._files[flag]) for flag in ("--client-ca-file", "--requestheader-client-ca-file")
        )
        self._context, self._clients, self._proxies = context, clients, proxies


def _context(files: Mapping[str, Path | None], certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """A context with the certificate of the flags, or with another one and its key."""
    if certificate is None:
        certificate, key = files["--tls-cert-file"], files["--tls-private-key-file"]
    else:
        files = {**files, "--tls-cert-file": None, "--tls-private-key-file": None, "--tls-sni-cert-key": certificate}
    for flag, path in files.items():
        if path is not None:
            _text(flag, path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_ciphers(CIPHERS)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options = ssl.OP_NO_COMPRESSION  # RFC 7540, 9.2.1
    context.set_alpn_protocols(ALPN)
    try:
        assert certificate is not None, "there is one"
        context.load_cert_chain(certificate, key)
        for flag in ("--client-ca-file", "--requestheader-client-ca-file"):
            path = files[flag]
            if path is not None:
                context.load_verify_locations(path)
                context.verify_mode = ssl.CERT_OPTIONAL
    except (ssl.SSLError, OSError) as error:
        names = ", ".join(f"{flag} {path}" for flag, path in files.items() if path is not None)
        raise CertificateError(f"{names}: {error}") from error
    # An authority need not sign itself to be believed; and a session is never taken up without being verified anew.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.num_tickets = 0
    return context


def _text(flag: str, path: Path) -> str:
    try:
        return path.read_text("latin-1")
    except OSError as error:
        raise CertificateError(f"{flag}: {path}: {error.strerror}") from error


def _digests(flag: str, path: Path | None) -> frozenset[str]:
    if path is None:
        return frozenset()
    try:
        encoded = [ssl.PEM_cert_to_DER_cert(block) for block in _CERTIFICATE.findall(_text(flag, path))]
    except ValueError as error:
        raise CertificateError(f"{flag}: {path}: {error}") from error
    return frozenset(hashlib.sha256(item).hexdigest() for item in encoded)


# ---------------------------------------------------------------------- certificates of clients


def _verified_chain(stream: SecureStream) -> list[bytes]:
    """The certificates from the client's to the authority's, as they are; [] for a session that is taken up again."""
    secured: Any = stream.socket
    if hasattr(secured, "get_verified_chain"):
        return list(secured.get_verified_chain())
    chain = secured._sslobj.get_verified_chain() or ()
    return [certificate.public_bytes(_DER) for certificate in chain]


def identity_of(
    certificate: Mapping[str, object] | None, encoded: bytes | None = None, authorities: frozenset[str] = frozenset()
) -> Identity | None:
    """The subject of a verified client certificate (as `ssl` shows it, and as it is), None for none."""
    if not certificate:
        return None
    name = flaw = ""
    groups: list[str] = []
    uids: list[str] = []
    subject = certificate.get("subject", ())
    assert isinstance(subject, tuple)
    for relative_name in subject:
        for field, value in relative_name:
            if field == "commonName":
                name = value
            elif field == "organizationName":
                groups.append(value)
            elif field == UID_FIELD:
                uids.append(value)
    if len(uids) > 1:
        flaw = "expected 1 UID, but found multiple"
    elif uids and not uids[0]:
        flaw = "UID cannot be an empty string"
    fingerprint = hashlib.sha256(encoded).hexdigest() if encoded else ""
    end = certificate.get("notAfter")
    expires = float(ssl.cert_time_to_seconds(end)) if isinstance(end, str) else inf
    return Identity(name, tuple(groups), uids[0] if uids else "", fingerprint, authorities, expires, flaw)
