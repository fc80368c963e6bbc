"""The ciphers, and the choice among them by the prefix of what was stored.

Layouts, prefixes and messages are those of Kubernetes' ``apiserver/pkg/storage/value``. `context` is the key under
which a value is stored: AES-GCM authenticates it, so that a value copied to another key cannot be read there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from apilayer.storage.encryption.counts import FAILED, FROM_STORAGE, OK, TO_STORAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Told = Callable[[str, str, str], None]
    """Called with direction, prefix and outcome, as `counts` names them."""

SEALED = b"k8s:enc:"
"""How every sealed value begins."""
NONCE_BYTES = 12
TAG_BYTES = 16
BLOCK_BYTES = 16
SECRETBOX_OVERHEAD_BYTES = 40
"""Nonce (24) and authenticator (16)."""
NO_PREFIX = "no matching prefix found"
_TOO_SHORT = "the stored data was shorter than the required size"


class Unreadable(Exception):
    """A stored value cannot be read with the keys that there are. Says why, never what was stored."""


class Transformer(Protocol):
    """Seals values and opens them."""

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """What to store for `plain`."""

    async def open(self, sealed: bytes, context: bytes) -> tuple[bytes, bool]:
        """The value, and whether it is stale: sealed otherwise than `seal` would do it now. Raises Unreadable."""


class Identity:
    """Values as they are. Refuses what another transformer has sealed."""

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """See `Transformer.seal`."""
        return plain

    async def open(self, sealed: bytes, context: bytes) -> tuple[bytes, bool]:
        """See `Transformer.open`."""
        if sealed.startswith(SEALED):
            raise Unreadable("identity transformer tried to read encrypted data")
        return sealed, False


class AesGcm:
    """Nonce (12 bytes, random), ciphertext, tag. The key may seal 2^32 values at most before it has to be changed."""

    def __init__(self, key: bytes) -> None:
        """`key`: 16, 24 or 32 bytes."""
        self._aead = AESGCM(key)

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """See `Transformer.seal`."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plain, context)

    async def open(self, sealed: bytes, context: bytes) -> tuple[bytes, bool]:
        """See `Transformer.open`."""
        if len(sealed) < NONCE_BYTES:
            raise Unreadable(_TOO_SHORT)
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context), False
        except InvalidTag as error:
            raise Unreadable("cipher: message authentication failed") from error


class AesCbc:
    """Initialization vector (16 bytes, random), ciphertext with PKCS #7 padding. Not authenticated."""

    def __init__(self, key: bytes) -> None:
        """`key`: 16, 24 or 32 bytes."""
        self._algorithm = algorithms.AES(key)

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """See `Transformer.seal`."""
        padding = BLOCK_BYTES - len(plain) % BLOCK_BYTES
        vector = os.urandom(BLOCK_BYTES)
        encryptor = Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        return vector + encryptor.update(plain + bytes((padding,)) * padding) + encryptor.finalize()

    async def open(self, sealed: bytes, context: bytes) -> tuple[bytes, bool]:
        """See `Transformer.open`."""
        if len(sealed) < BLOCK_BYTES:
            raise Unreadable(_TOO_SHORT)
        if len(sealed) % BLOCK_BYTES:
            raise Unreadable("the stored data is not a multiple of the block size")
        decryptor = Cipher(self._algorithm, modes.CBC(sealed[:BLOCK_BYTES])).decryptor()
        padded = decryptor.update(sealed[BLOCK_BYTES:]) + decryptor.finalize()
        padding = padded[-1] if padded else 0
        if not 0 < padding <= len(padded):
            raise Unreadable("invalid PKCS7 data (empty or not padded)")
        if padded[-padding:] != bytes((padding,)) * padding:
            raise Unreadable("invalid padding on input")
        return padded[:-padding], False


class Secretbox:
    """XSalsa20 and Poly1305: nonce (24 bytes, random), authenticator, ciphertext. Indifferent to the store's key."""

    def __init__(self, key: bytes) -> None:
        """`key`: 32 bytes."""
        from nacl.secret import SecretBox  # a library that nobody else needs

        self._box = SecretBox(key)

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """See `Transformer.seal`."""
        return bytes(self._box.encrypt(plain))

    async def open(self, sealed: bytes, context: bytes) -> tuple[bytes, bool]:
        """See `Transformer.open`."""
        from nacl.exceptions import CryptoError

        if len(sealed) < SECRETBOX_OVERHEAD_BYTES:
            raise Unreadable(_TOO_SHORT)
        try:
            return self._box.decrypt(sealed), False
        except CryptoError as error:
            raise Unreadable("output array was not large enough for encryption") from error  # as upstream words it


def _nobody(direction: str, prefix: str, outcome: str) -> None:
    """Nobody counts."""


class InTurn:
    """Transformers with a prefix each: the first one seals, whichever prefix fits opens.

    Prefixes may be the same, as of one provider that is listed twice while keys change: all that fit are tried.
    """

    def __init__(self, members: Sequence[tuple[bytes, Transformer]], unknown: str, told: Told | None = None) -> None:
        """`unknown`: the reason to give when no prefix fits. `told` is called with what was done."""
        self._members = tuple(members)
        self._unknown = unknown
        self._told = told or _nobody

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """See `Transformer.seal`."""
        prefix, transformer = self._members[0]
        sealed = prefix + await transformer.seal(plain, context)
        self._told(TO_STORAGE, prefix.decode() or "identity", OK)
        return sealed

    async def open(self, sealed: bytes, context: bytes) -> tuple[bytes, bool]:
        """See `Transformer.open`."""
        reasons: list[str] = []
        for place, (prefix, transformer) in enumerate(self._members):
            if not sealed.startswith(prefix):
                continue
            try:
                plain, stale = await transformer.open(sealed[len(prefix) :], context)
            except Unreadable as error:
                if prefix:  # one without a prefix was not meant
                    reasons.append(str(error))
                    self._told(FROM_STORAGE, prefix.decode(), FAILED)
                continue
            self._told(FROM_STORAGE, prefix.decode() or "identity", OK)
            return plain, stale or place > 0
        if not reasons:
            self._told(FROM_STORAGE, "unknown", FAILED)
        raise Unreadable(joined(reasons) or self._unknown)


def joined(reasons: Sequence[str]) -> str:
    """Several reasons as Go's aggregate has them: each once, in brackets when there are several."""
    found = list(dict.fromkeys(reasons))
    return f"[{', '.join(found)}]" if len(found) > 1 else "".join(found)
