"""Certificates: one that a member makes for itself, and what is asked of the one that the other side shows."""

from __future__ import annotations

import ipaddress
import logging
import os
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kvraft.logs import fields

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

log = logging.getLogger(__name__)

PEM_BEGIN = b"-----BEGIN"


@attrs.frozen
class PeerRules:
    """What the other side's certificate must fulfil beside being signed by the right authority."""

    revoked: frozenset[tuple[bytes, int]]
    """Issuer (DER) and serial number of each certificate that is not valid any more."""
    allowed_cns: tuple[str, ...]
    allowed_hostnames: tuple[str, ...]

    def check(self, der: bytes | None) -> None:
        """Raise ``ssl.SSLCertVerificationError`` when the certificate does not do; None: there is none."""
        if der is None:
            if self.allowed_cns or self.allowed_hostnames:
                raise ssl.SSLCertVerificationError("client certificate authentication failed: no certificate")
            return
        certificate = x509.load_der_x509_certificate(der)
        if (certificate.issuer.public_bytes(), certificate.serial_number) in self.revoked:
            raise ssl.SSLCertVerificationError(f"transport: certificate serial {certificate.serial_number:x} revoked")
        if self.allowed_cns:
            names = [str(name.value) for name in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            if not any(name in self.allowed_cns for name in names):
                raise ssl.SSLCertVerificationError(
                    f"client certificate authentication failed: common name {', '.join(names) or 'missing'} "
                    f"is not allowed"
                )
        if self.allowed_hostnames and not _has_one_of(certificate, self.allowed_hostnames):
            raise ssl.SSLCertVerificationError(
                "client certificate authentication failed: none of its alternative names is allowed"
            )


def _has_one_of(certificate: x509.Certificate, hostnames: Iterable[str]) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    patterns = [name.lower().rstrip(".") for name in names.get_values_for_type(x509.DNSName)]
    return any(
        hostname in addresses or any(_matches(pattern, hostname.lower().rstrip(".")) for pattern in patterns)
        for hostname in hostnames
    )


def _matches(pattern: str, hostname: str) -> bool:
    """``*`` stands for one label, the first."""
    if pattern.startswith("*."):
        return hostname.partition(".")[2] == pattern[2:]
    return pattern == hostname


def revoked_serials(path: str) -> frozenset[tuple[bytes, int]]:
    """What the revocation list in ``path``, PEM or DER, revokes. Raises ``OSError`` and ``ValueError``."""
    with open(path, "rb") as file:
        data = file.read()
    crl = x509.load_pem_x509_crl(data) if data.lstrip().startswith(PEM_BEGIN) else x509.load_der_x509_crl(data)
    issuer = crl.issuer.public_bytes()
    return frozenset((issuer, entry.serial_number) for entry in crl)


def own_certificate(directory: Path, hosts: Iterable[str], years: int) -> tuple[str, str]:
    """The paths of a certificate and its key in ``directory`` that this member has signed itself; made where missing.

    One that has expired is made anew. The key, as all of the directory, is for this user alone. Raises ``OSError``
    when they cannot be written and ``ValueError`` when what is there is no certificate.
    """
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    if cert_file.exists() and key_file.exists():
        known = x509.load_pem_x509_certificate(cert_file.read_bytes())
        if known.not_valid_after_utc > datetime.now(UTC):
            return str(cert_file), str(key_file)
        log.warning("the certificate made by this member has expired; making another", extra=fields(path=cert_file))
    for folder in (*reversed(directory.parents), directory):
        folder.mkdir(exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP521R1())
    certificate = _self_signed(key, hosts, years)
    _write(
        key_file,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    _write(cert_file, certificate.public_bytes(serialization.Encoding.PEM))
    log.info("made a self-signed certificate", extra=fields(path=cert_file, years=years))
    return str(cert_file), str(key_file)


def _self_signed(key: ec.EllipticCurvePrivateKey, hosts: Iterable[str], years: int) -> x509.Certificate:
    serial = x509.random_serial_number()
    # A name of its own: who trusts the certificates of several members looks them up by name.
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "etcd"), x509.NameAttribute(NameOID.COMMON_NAME, f"{serial:x}")]
    )
    now = datetime.now(UTC)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=365 * years))
        .add_extension(x509.SubjectAlternativeName([_alternative(host) for host in dict.fromkeys(hosts)]), False)
        .add_extension(x509.ExtendedKeyUsage(usages), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA512())
    )


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, data: bytes) -> None:
    """Through another name: whoever reads ``path`` finds all of it."""
    beside = path.with_suffix(".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    os.replace(beside, path)
