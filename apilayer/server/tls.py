"""TLS of the listener: certificates, client certificates, ALPN. Files are read once, at start."""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING

from hypercorn.config import Config

from apilayer.pipeline.request import Identity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# HTTP/1.1 first: every client speaks it, and it costs a tenth of HTTP/2 here.
ALPN = ["http/1.1", "h2"]
MAX_CONCURRENT_STREAMS = 250
MAX_QUEUED_BODY_PARTS = 1024


class CertificateError(Exception):
    """A certificate or key cannot be used; names the flag, the file and the reason."""


def make_config(cert_file: Path, key_file: Path, client_ca_file: Path | None) -> Config:
    """Hypercorn's configuration for our listener."""
    config = Config()
    config.certfile = str(cert_file)
    config.keyfile = str(key_file)
    config.alpn_protocols = ALPN
    config.include_server_header = False
    config.h2_max_concurrent_streams = MAX_CONCURRENT_STREAMS
    config.max_app_queue_size = MAX_QUEUED_BODY_PARTS
    if client_ca_file is not None:
        config.ca_certs = str(client_ca_file)
        config.verify_mode = ssl.CERT_OPTIONAL
    return config


UID_FIELD = "1.3.6.1.4.1.57683.2"
"""Kubernetes' attribute of a subject that says the user's uid."""


def make_context(config: Config) -> ssl.SSLContext:
    """The server side's context. Raises CertificateError."""
    files = (
        ("--tls-cert-file", config.certfile),
        ("--tls-private-key-file", config.keyfile),
        ("--client-ca-file", config.ca_certs),
    )
    for flag, name in files:
        if name is None:
            continue
        try:
            with open(name, "rb"):
                pass
        except OSError as error:
            raise CertificateError(f"{flag}: {name}: {error.strerror}") from error
    try:
        context = config.create_ssl_context()
    except (ssl.SSLError, OSError) as error:
        names = ", ".join(f"{flag} {name}" for flag, name in files if name is not None)
        raise CertificateError(f"{names}: {error}") from error
    if context is None:
        raise CertificateError("--tls-cert-file and --tls-private-key-file are required")
    return context


def identity_of(certificate: Mapping[str, object] | None, encoded: bytes | None = None) -> Identity | None:
    """The subject of a verified client certificate (as `ssl` shows it, and as it is), None without a common name."""
    name = uid = ""
    groups: list[str] = []
    subject = (certificate or {}).get("subject", ())
    assert isinstance(subject, tuple)
    for relative_name in subject:
        for field, value in relative_name:
            if field == "commonName":
                name = value
            elif field == "organizationName":
                groups.append(value)
            elif field == UID_FIELD:
                uid = value
    fingerprint = hashlib.sha256(encoded).hexdigest() if encoded else ""
    return Identity(name, tuple(groups), uid, fingerprint) if name else None
