"""Whom to ask and how to prove oneself to him, and the TLS that goes with it."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from pathlib import Path

MAX_SECRET_BYTES = 64 * 1024


class TargetError(Exception):
    """Where to connect to, or how, cannot be used; says why, never a secret."""


@attrs.frozen
class Target:
    """A server and the client's credentials for it. Secrets do not show when it is printed."""

    url: str
    """``https://host[:port][/path]``; a path is put before that of each request."""
    authorities: bytes = attrs.field(default=b"", repr=False)
    """Certificates (PEM) that vouch for the server; b"": those of the system."""
    server_name: str = ""
    """Whom the server's certificate must name; "": the URL's host."""
    insecure: bool = False
    """The server's certificate is not looked at."""
    certificate: bytes = attrs.field(default=b"", repr=False)
    key: bytes = attrs.field(default=b"", repr=False)
    token: str = attrs.field(default="", repr=False)
    token_file: Path | None = None
    """Read again once in a while; goes before `token`."""
    basic: tuple[str, str] | None = attrs.field(default=None, repr=False)
    """User name and password."""

    def __attrs_post_init__(self) -> None:
        """Raises TargetError for a URL that names no server."""
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:
            raise TargetError(f"{self.url!r} is no URL: {error}") from error
        if parts.scheme not in ("https", "http") or not parts.hostname:
            raise TargetError(f"{self.url!r} is not a URL of the form https://host:port/path")
        if parts.username is not None or parts.password is not None:
            raise TargetError("user and password must not be in the URL")

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("https://")


def client_context(target: Target) -> ssl.SSLContext:
    """TLS 1.2 and later, as the target wants it. Raises TargetError."""
    try:
        context = ssl.create_default_context(cadata=target.authorities.decode("ascii") if target.authorities else None)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise TargetError("certificate-authority: data does not contain any valid certificates") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if target.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if target.certificate:
        _load_chain(context, target.certificate, target.key)
    return context


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """`ssl` takes client certificates from files alone: this one is in memory, and nobody else can open it."""
    descriptor = os.memfd_create("client-certificate")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(certificate + b"\n" + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=_no_password)
    except (ssl.SSLError, OSError) as error:
        raise TargetError("client-certificate and client-key: not a certificate and its key") from error
    finally:
        os.close(descriptor)


def _no_password() -> str:
    """Instead of a question on the terminal. Raises TargetError."""
    raise TargetError("client-key: must not be encrypted")
