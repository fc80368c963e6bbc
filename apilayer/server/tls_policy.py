"""Which TLS the listener speaks, and with which certificate for which host name.

Flags, names and defaults are kube-apiserver's, except that nothing older than TLS 1.2 and no cipher without forward
secrecy and authenticated encryption is to be had.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

from apilayer.server.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

VERSIONS = {"VersionTLS12": ssl.TLSVersion.TLSv1_2, "VersionTLS13": ssl.TLSVersion.TLSv1_3}
TOO_OLD = ("VersionTLS10", "VersionTLS11")
SUITES = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""Go's names of the suites of TLS 1.2, and OpenSSL's."""
ALWAYS_ON = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""The suites of TLS 1.3, which are all modern: as in Go, none of them can be turned off."""


class TlsFlags(Protocol):
    """What the flags say (see `ServerOptions`)."""

    @property
    def tls_min_version(self) -> str: ...
    @property
    def tls_cipher_suites(self) -> Sequence[str]: ...
    @property
    def tls_sni_cert_key(self) -> Sequence[str]: ...


@attrs.frozen
class NamedCertificate:
    """A certificate for the host names that match `patterns`; without patterns for those that it names itself."""

    certificate: Path
    key: Path
    patterns: tuple[str, ...]


@attrs.frozen
class TlsPolicy:
    """What holds for every connection. `ciphers` is OpenSSL's list for TLS 1.2."""

    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    ciphers: str = ":".join(dict.fromkeys(SUITES.values()))
    named: tuple[NamedCertificate, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Every file that the policy names."""
        return [path for item in self.named for path in (item.certificate, item.key)]

    def apply(self, make: Callable[[Path | None, Path | None], ssl.SSLContext]) -> ssl.SSLContext:
        """The context for connections, of those that `make` makes for a certificate and key; None for the usual ones.

        Raises OptionsError, and what `make` raises.
        """
        usual = self._restricted(make(None, None))
        if not self.named:
            return usual
        contexts: dict[str, ssl.SSLContext] = {}
        for item in self.named:
            try:
                patterns = item.patterns or _names_of(item.certificate)
            except (OSError, ValueError) as error:
                raise OptionsError(f"--tls-sni-cert-key: {item.certificate}: {error}") from error
            context = self._restricted(make(item.certificate, item.key))
            for pattern in patterns:
                contexts.setdefault(pattern.lower(), context)

        def choose(secured: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
            chosen = chosen_for(name, contexts)
            if chosen is not None:
                secured.context = chosen

        usual.sni_callback = choose
        return usual

    def _restricted(self, context: ssl.SSLContext) -> ssl.SSLContext:
        context.minimum_version = self.minimum
        context.set_ciphers(self.ciphers)
        return context


def chosen_for(name: str | None, contexts: Mapping[str, T]) -> T | None:
    """What belongs to a host name: to the name itself, else to a pattern ``*.`` in the place of its first label."""
    if not name:
        return None
    name = name.lower().rstrip(".")
    found = contexts.get(name)
    return found if found is not None else contexts.get(f"*.{name.partition('.')[2]}")


def read_policy(flags: TlsFlags) -> TlsPolicy:
    """What the flags ask for. Raises OptionsError."""
    version = flags.tls_min_version or "VersionTLS12"
    if version in TOO_OLD:
        raise OptionsError(f"--tls-min-version: {version!r} is too old, VersionTLS12 is the oldest that is spoken")
    if version not in VERSIONS:
        raise OptionsError(f"--tls-min-version: unknown tls version {version!r}")
    policy = TlsPolicy(VERSIONS[version], named=tuple(_named(text) for text in flags.tls_sni_cert_key))
    if not flags.tls_cipher_suites:
        return policy
    for name in flags.tls_cipher_suites:
        if name not in SUITES and name not in ALWAYS_ON:
            raise OptionsError(f"--tls-cipher-suites: Cipher suite {name} not supported or doesn't exist")
    chosen = list(dict.fromkeys(SUITES[name] for name in flags.tls_cipher_suites if name in SUITES))
    if not chosen:  # of TLS 1.3 alone
        return attrs.evolve(policy, minimum=ssl.TLSVersion.TLSv1_3)
    return attrs.evolve(policy, ciphers=":".join(chosen))


def _named(text: str) -> NamedCertificate:
    """From ``cert,key`` or ``cert,key:pattern,pattern``."""
    files, _, names = text.partition(":")
    parts = [part.strip() for part in files.split(",")]
    if len(parts) != 2 or not all(parts):
        raise OptionsError(f"--tls-sni-cert-key: {text!r}: expected comma separated certificate and key file paths")
    patterns = tuple(name.strip() for name in names.split(",")) if names else ()
    for pattern in patterns:
        if not pattern.removeprefix("*.") or "*" in pattern.removeprefix("*."):
            raise OptionsError(f"--tls-sni-cert-key: {text!r}: {pattern!r} is no domain pattern")
    return NamedCertificate(Path(parts[0]), Path(parts[1]), patterns)


def _names_of(certificate: Path) -> tuple[str, ...]:
    """The host names in a certificate: its alternative names, else its common name."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    shown = x509.load_pem_x509_certificate(certificate.read_bytes())
    try:
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return tuple(str(item.value) for item in shown.subject.get_attributes_for_oid(NameOID.COMMON_NAME))
    return tuple(names.get_values_for_type(x509.DNSName))
