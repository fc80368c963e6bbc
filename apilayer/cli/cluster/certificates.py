"""The cluster's certificates, laid out and named as kubeadm does it.

Two authorities: ``ca`` for the API server and its users, ``etcd/ca`` for the store, its peers and its clients, so
that a certificate that identifies a Kubernetes user never opens the store. EC P-256 throughout: making everything
takes milliseconds. ``manifest.json`` keeps digest and expiry of every file, so that a start that finds all in order
need not load ``cryptography`` at all.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import time
from typing import TYPE_CHECKING, NamedTuple

from apilayer.cli.cluster.state import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

DAY_S = 86_400
RENEW_S = 30 * DAY_S
_AUTHORITY_S = 3_650 * DAY_S
_LEAF_S = 365 * DAY_S
_BACKDATE_S = 3_600  # tolerates clocks that are a little behind

NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
ADDRESSES = ("127.0.0.1", "::1", "10.0.0.1")


class Leaf(NamedTuple):
    """One certificate: where it lies, who signs it, who it names, which side of a connection it serves."""

    name: str
    authority: str
    common_name: str
    organization: str | None
    server: bool
    client: bool


AUTHORITIES = {"ca": "kubernetes-ca", "etcd/ca": "kvraft-ca"}
LEAVES = (
    Leaf("apiserver", "ca", "kube-apiserver", None, server=True, client=False),
    Leaf("admin", "ca", "kubernetes-admin", "system:masters", server=False, client=True),
    Leaf("apiserver-etcd-client", "etcd/ca", "kube-apiserver-etcd-client", None, server=False, client=True),
    Leaf("etcd/server", "etcd/ca", "kvraft-server", None, server=True, client=True),
    Leaf("etcd/peer", "etcd/ca", "kvraft-peer", None, server=True, client=True),
    Leaf("etcd/healthcheck-client", "etcd/ca", "kvraft-healthcheck-client", None, server=False, client=True),
)

_Pair = tuple["x509.Certificate", "ec.EllipticCurvePrivateKey"]


def ensure(directory: Path, now: float | None = None) -> bool:
    """Make what is missing, damaged, foreign or within 30 days of its end; keep the rest. True when any was made.

    ``directory`` becomes mode 0700, keys 0600. ``now`` is in seconds since the epoch. Raises ``OSError``.
    """
    now = time.time() if now is None else now
    for folder in (directory, directory / "etcd"):
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
    if _in_order(directory, now):
        return False
    made = False
    pairs: dict[str, _Pair] = {}
    for name, common_name in AUTHORITIES.items():
        pair = _load(directory, name, now)
        if pair is None:
            pair = _issue_authority(common_name, now)
            _store(directory, name, pair)
            made = True
        pairs[name] = pair
    ends = [pair[0].not_valid_after_utc.timestamp() for pair in pairs.values()]
    for leaf in LEAVES:
        authority = pairs[leaf.authority]
        pair = _load(directory, leaf.name, now)
        if pair is None or not _is_ours(pair[0], leaf, authority[0]):
            pair = _issue(leaf, authority, now)
            _store(directory, leaf.name, pair)
            made = True
        ends.append(pair[0].not_valid_after_utc.timestamp())
    manifest = {"notAfter": min(ends), "sha256": _digests(directory)}
    write_atomic(directory / "manifest.json", json.dumps(manifest, indent=2).encode() + b"\n")
    return made


def _files() -> list[str]:
    return [f"{name}.{end}" for name in (*AUTHORITIES, *(leaf.name for leaf in LEAVES)) for end in ("crt", "key")]


def _digests(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in _files()}


def _in_order(directory: Path, now: float) -> bool:
    """True when every file is the one that was checked when the manifest was written, and none ends soon."""
    try:
        manifest = json.loads((directory / "manifest.json").read_bytes())
        return bool(
            manifest["notAfter"] - now >= RENEW_S
            and manifest["sha256"] == _digests(directory)
            and all((directory / name).stat().st_mode & 0o077 == 0 for name in _files() if name.endswith(".key"))
        )
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False  # never written, or not by us: look at each certificate


def _load(directory: Path, name: str, now: float) -> _Pair | None:
    """Certificate and key, or None when either is missing, unreadable, about to end, or not the other's."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key_path = directory / f"{name}.key"
    try:
        certificate = x509.load_pem_x509_certificate((directory / f"{name}.crt").read_bytes())
        key = load_pem_private_key(key_path.read_bytes(), None)
        key_path.chmod(0o600)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    return (certificate, key) if certificate.not_valid_after_utc.timestamp() - now >= RENEW_S else None


def _store(directory: Path, name: str, pair: _Pair) -> None:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    certificate, key = pair
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_atomic(directory / f"{name}.key", secret, 0o600)
    write_atomic(directory / f"{name}.crt", certificate.public_bytes(Encoding.PEM))


def _is_ours(certificate: x509.Certificate, leaf: Leaf, authority: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return certificate.subject == _subject(leaf.common_name, leaf.organization) and _names(certificate) == (
        _alternative_names() if leaf.server else None
    )


def _alternative_names() -> x509.SubjectAlternativeName:
    from cryptography import x509

    names: list[x509.GeneralName] = [x509.DNSName(name) for name in NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES]
    return x509.SubjectAlternativeName(names)


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _subject(common_name: str, organization: str | None) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(parts)


def _builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, now: float, end: float) -> x509.CertificateBuilder:
    import datetime

    from cryptography import x509

    def at(seconds: float) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(int(seconds), datetime.UTC)

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at(now - _BACKDATE_S))
        .not_valid_after(at(end))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issue_authority(common_name: str, now: float) -> _Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(common_name, None)
    certificate = (
        _builder(subject, key, now, now + _AUTHORITY_S)
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _issue(leaf: Leaf, authority: _Pair, now: float) -> _Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    signer, signer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + _LEAF_S, signer.not_valid_after_utc.timestamp())
    sides = [ExtendedKeyUsageOID.SERVER_AUTH] * leaf.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * leaf.client
    issuer_id = signer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(_subject(leaf.common_name, leaf.organization), key, now, end)
        .issuer_name(signer.subject)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(sides), critical=False)
    )
    if leaf.server:
        builder = builder.add_extension(_alternative_names(), critical=False)
    return builder.sign(signer_key, hashes.SHA256()), key
