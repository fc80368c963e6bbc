"""A certificate authority for tests, and what it signs."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from pathlib import Path

START = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)
UID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")


class Authority:
    """A certificate authority in a folder: ``ca.crt``, and ``<name>.crt`` and ``<name>.key`` per leaf."""

    def __init__(self, folder: Path, name: str = "test-ca", file: str = "ca") -> None:
        self.folder = folder
        self.file = folder / f"{file}.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        self._write(file, self._builder(self._name, self._key).add_extension(constraints, critical=True))

    @property
    def pem(self) -> bytes:
        """The authority's own certificate."""
        return self.file.read_bytes()

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        start: datetime.datetime = START,
        end: datetime.datetime = END,
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        return builder.not_valid_before(start).not_valid_after(end)

    def _write(self, name: str, builder: x509.CertificateBuilder) -> None:
        certificate = builder.sign(self._key, hashes.SHA256())
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def leaf(
        self,
        name: str,
        *organizations: str,
        server: bool = False,
        uid: str = "",
        file: str = "",
        start: datetime.datetime = START,
        end: datetime.datetime = END,
    ) -> None:
        """Writes a certificate for `name`, and its key, under `file` (the name by default)."""
        key = ec.generate_private_key(ec.SECP256R1())
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
        parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, item) for item in organizations]
        parts += [x509.NameAttribute(UID, uid)] if uid else []
        builder = self._builder(x509.Name(parts), key, start, end)
        if server:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
            builder = builder.add_extension(names, critical=False)
        self._write(file or name, builder)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / f"{file or name}.key").write_bytes(private)

    def server_context(self, name: str = "server", *, clients: bool = False) -> ssl.SSLContext:
        """TLS of a server with the leaf of this name; with `clients` they must have a certificate of this CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        if clients:
            context.load_verify_locations(self.file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context
