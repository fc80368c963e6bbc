"""A certificate authority in files: what it signs, and for how long.

Times and extensions are those of Kubernetes' ``pkg/controller/certificates/authority``.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

from apilayer.controllers.certificates.requests import alternative_names

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BACKDATE_SECONDS = 300
"""Clocks may be a little behind."""
SHORT_SECONDS = 8 * 3600
"""Certificates for less than this are not shortened by what they are backdated."""
MIN_SECONDS = 600
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

_KEY_USAGES = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_BITS = tuple(dict.fromkeys(_KEY_USAGES.values()))
_PURPOSES = {
    "any": Purpose.ANY_EXTENDED_KEY_USAGE,
    "server auth": Purpose.SERVER_AUTH,
    "client auth": Purpose.CLIENT_AUTH,
    "code signing": Purpose.CODE_SIGNING,
    "email protection": Purpose.EMAIL_PROTECTION,
    "s/mime": Purpose.EMAIL_PROTECTION,
    "ipsec end system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": Purpose.TIME_STAMPING,
    "ocsp signing": Purpose.OCSP_SIGNING,
    "microsoft sgc": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
}


class AuthorityError(Exception):
    """The files do not hold an authority that can sign now. Says nothing of the key."""


@attrs.frozen
class _Pair:
    certificate: x509.Certificate
    key: _Key = attrs.field(repr=False)


class Authority:
    """Signs with what the files hold at that time, so that they can be replaced."""

    def __init__(self, certificate: Path, key: Path, max_seconds: float) -> None:
        """`max_seconds`: how long certificates hold that ask for no time, or for more. Raises AuthorityError."""
        self._paths = (certificate, key)
        self._max_seconds = max_seconds
        self._content: tuple[bytes, bytes] | None = None
        self._pair: _Pair
        self._load()

    def _load(self) -> None:
        """Reads the files, if they have changed. Raises AuthorityError."""
        try:
            content = (self._paths[0].read_bytes(), self._paths[1].read_bytes())
        except OSError as error:
            raise AuthorityError(f"{error.filename}: {error.strerror}") from error
        if content == self._content:
            return
        try:
            certificate = x509.load_pem_x509_certificate(content[0])
            key = load_pem_private_key(content[1], None)
        except (ValueError, TypeError) as error:
            raise AuthorityError(f"{self._paths[0]}, {self._paths[1]}: not a certificate and its key in PEM") from error
        if not isinstance(key, _Key):
            raise AuthorityError(f"{self._paths[1]}: keys of this kind do not sign certificates")
        if _public(key) != certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
            raise AuthorityError(f"{self._paths[1]}: not the key of {self._paths[0]}")
        self._content, self._pair = content, _Pair(certificate, key)

    def sign(
        self, request: x509.CertificateSigningRequest, usages: Iterable[str], seconds: int | None, now: datetime
    ) -> bytes:
        """The certificate in PEM: subject and other names as asked, for `seconds` if that is given and allowed.

        Raises AuthorityError.
        """
        self._load()
        if not request.is_signature_valid:
            raise AuthorityError("unable to verify certificate request signature")
        pair = self._pair
        start, end = span(self._seconds(seconds), now, pair.certificate.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(pair.certificate.subject)
            .public_key(request.public_key())
            .serial_number(secrets.randbits(127) + 1)
            .not_valid_before(start)
            .not_valid_after(end)
        )
        for extension, critical in _extensions(request, list(usages), pair.certificate):
            builder = builder.add_extension(extension, critical=critical)
        signs_itself = isinstance(pair.key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
        return builder.sign(pair.key, None if signs_itself else hashes.SHA256()).public_bytes(Encoding.PEM)

    def _seconds(self, wanted: int | None) -> float:
        if wanted is None or wanted > self._max_seconds:
            return self._max_seconds
        return max(wanted, MIN_SECONDS)


def _public(key: _Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def span(seconds: float, now: datetime, signer_end: datetime) -> tuple[datetime, datetime]:
    """From when until when a certificate holds: never longer than its signer's. Raises AuthorityError."""
    if now >= signer_end:
        raise AuthorityError(f"the signer has expired: NotAfter={signer_end:%Y-%m-%d %H:%M:%S} +0000 UTC")
    backdate = timedelta(seconds=BACKDATE_SECONDS)
    end = now + timedelta(seconds=seconds) - (backdate if seconds >= SHORT_SECONDS else timedelta())
    return now - backdate, min(end, signer_end)


def _extensions(
    request: x509.CertificateSigningRequest, usages: list[str], signer: x509.Certificate
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    """With whether each must be understood."""
    unknown = [usage for usage in usages if usage not in _KEY_USAGES and usage not in _PURPOSES]
    if unknown:
        listed = " ".join(f'"{usage}"' for usage in unknown)
        raise AuthorityError(f"unrecognized usage values: [{listed}]")
    bits = {_KEY_USAGES[usage] for usage in usages if usage in _KEY_USAGES}
    if bits & {"encipher_only", "decipher_only"}:
        bits.add("key_agreement")  # without which the two mean nothing, and cannot be written
    if bits:
        yield x509.KeyUsage(**{bit: bit in bits for bit in _BITS}), True
    purposes = {purpose for usage, purpose in _PURPOSES.items() if usage in usages}
    if purposes:
        yield x509.ExtendedKeyUsage(sorted(purposes, key=lambda oid: oid.dotted_string)), False
    yield x509.BasicConstraints(ca=False, path_length=None), True
    try:
        own_id = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        yield x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own_id), False
    except x509.ExtensionNotFound:
        pass
    names = alternative_names(request)
    if names:
        yield names, not request.subject
