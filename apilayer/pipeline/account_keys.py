"""Keys that sign tokens of service accounts, and those that such tokens are verified with.

Several keys may verify, so that the one that signs can be replaced. A key is named (``kid``) by the digest of its
public half, as Kubernetes names it, and each kind of key goes with one algorithm: what a token says of its
algorithm decides nothing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey
    PublicKey = RSAPublicKey | EllipticCurvePublicKey

MIN_RSA_BITS = 2048
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class KeyFileError(Exception):
    """A file of keys cannot be used; never says what it holds."""


@attrs.frozen(eq=False)
class VerifyingKey:
    """A public key with its name and its algorithm."""

    key_id: str
    algorithm: str
    key: PublicKey

    def jwk(self) -> dict[str, Any]:
        """The key as a JSON Web Key."""
        from jwt.algorithms import ECAlgorithm, RSAAlgorithm

        made: Any = RSAAlgorithm if self.algorithm.startswith("RS") else ECAlgorithm
        numbers: Mapping[str, Any] = made.to_jwk(self.key, as_dict=True)
        fields = {name: numbers[name] for name in ("kty", "crv", "n", "e", "x", "y") if name in numbers}
        return {"use": "sig", "kid": self.key_id, "alg": self.algorithm, **fields}


@attrs.frozen(eq=False)
class SigningKey:
    """A private key and what verifies its signatures."""

    key: PrivateKey = attrs.field(repr=False)
    verifying: VerifyingKey


def read_signing_key(pem: bytes) -> SigningKey:
    """The one private key (RSA or EC) in a file. Raises KeyFileError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError("data does not contain a valid RSA or ECDSA private key") from error
    return SigningKey(key, _verifying(key.public_key()))  # type: ignore[arg-type]


def read_verifying_keys(pem: bytes) -> list[VerifyingKey]:
    """Every key in a file, public ones or the public halves of private ones. Raises KeyFileError."""
    found = [_public_of(match[1], match[0]) for match in _PEM_BLOCK.finditer(pem)]
    if not found:
        raise KeyFileError("data does not contain any valid RSA or ECDSA public keys")
    return found


def _public_of(kind: bytes, block: bytes) -> VerifyingKey:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE" in kind:
        return read_signing_key(block).verifying
    try:
        if kind == b"CERTIFICATE":
            return _verifying(x509.load_pem_x509_certificate(block).public_key())
        return _verifying(load_pem_public_key(block))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError("data does not contain any valid RSA or ECDSA public keys") from error


def _verifying(key: Any) -> VerifyingKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise KeyFileError(f"an RSA key of {key.key_size} bits is too short, {MIN_RSA_BITS} are the least")
        algorithm = "RS256"
    elif isinstance(key, EllipticCurvePublicKey) and key.curve.name in _CURVES:
        algorithm = _CURVES[key.curve.name]
    else:
        raise KeyFileError("unknown type of key, must be RSA, or ECDSA over P-256, P-384 or P-521")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    name = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    return VerifyingKey(name, algorithm, key)


def key_set(keys: Iterable[VerifyingKey]) -> dict[str, Any]:
    """The JSON Web Key Set of these keys, each once."""
    return {"keys": list({key.key_id: key.jwk() for key in keys}.values())}
