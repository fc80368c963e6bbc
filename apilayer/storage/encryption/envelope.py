"""What a KMS v2 provider stores: a value under a key of its own, which the plugin alone can open.

One seed (32 bytes) is sealed by the plugin and used for many values; each value has its own key, derived from the
seed and 32 random bytes in front of the value (HKDF-SHA256, expand only). An older way, where what the plugin sealed is
the key itself, is read too. Source: Kubernetes' ``envelope/kmsv2``.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import attrs
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from apilayer.api.errors import DecodeError
from apilayer.storage.encryption import wire
from apilayer.storage.encryption.transformers import AesGcm, Unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping

SEED_BYTES = INFO_BYTES = 32
MAX_ANNOTATIONS_BYTES = 32 * 1024
MAX_KEY_ID_BYTES = 1024
MAX_SOURCE_BYTES = 1024
KEY, SEED = 0, 1
"""What the plugin has sealed: a key of AES-GCM, or a seed of such keys."""
_QUALIFIED = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")


class EnvelopeError(Exception):
    """Something is missing or too large; see `check`."""


@attrs.frozen
class Source:
    """A seed or key as the plugin has sealed it. Hashable: what it opens to is kept by it."""

    kind: int
    sealed: bytes
    key_id: str
    annotations: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def of(cls, kind: int, sealed: bytes, key_id: str, annotations: Mapping[str, bytes]) -> Source:
        """With the annotations in their order. Raises EnvelopeError."""
        made = cls(kind, sealed, key_id, tuple(sorted(annotations.items())))
        made.check()
        return made

    def check(self) -> None:
        """Raises EnvelopeError for what kube-apiserver would refuse as well."""
        if self.kind not in (KEY, SEED):
            raise EnvelopeError(f"unknown encryptedDEKSourceType: {self.kind}")
        if not self.sealed:
            raise EnvelopeError("failed to validate encrypted DEK source: encrypted DEK source is empty")
        if len(self.sealed) > MAX_SOURCE_BYTES:
            size, most = len(self.sealed), MAX_SOURCE_BYTES
            raise EnvelopeError(
                "failed to validate encrypted DEK source: "
                f"encrypted DEK source is {size} bytes, which exceeds the max size of {most}"
            )
        fault = key_id_fault(self.key_id)
        if fault:
            raise EnvelopeError(f"failed to validate key id: {fault}")
        total = 0
        for name, value in self.annotations:
            if not _QUALIFIED.fullmatch(name):
                text = f'annotations: Invalid value: "{name}": should be a domain with at least two segments'
                raise EnvelopeError(f"failed to validate annotations: {text} separated by dots")
            total += len(name.encode()) + len(value)
        if total > MAX_ANNOTATIONS_BYTES:
            text = f"total size of annotations is {total}, which exceeds the max size of {MAX_ANNOTATIONS_BYTES}"
            raise EnvelopeError(f"failed to validate annotations: {text}")


def key_id_fault(key_id: str) -> str:
    """What is wrong with the id that a plugin gives its key, "" for nothing."""
    size = len(key_id.encode())
    if not size:
        return "keyID is empty"
    if size > MAX_KEY_ID_BYTES:
        return f"keyID is {size} bytes, which exceeds the max size of {MAX_KEY_ID_BYTES}"
    return ""


def pack(source: Source, data: bytes) -> bytes:
    """An EncryptedObject: `data`, and what opens it."""
    return wire.encode(
        {1: data, 2: source.key_id.encode(), 3: source.sealed, 4: dict(source.annotations), 5: source.kind}
    )


def unpack(stored: bytes) -> tuple[Source, bytes]:
    """The parts of an EncryptedObject. Raises Unreadable."""
    try:
        fields = wire.decode(stored)
        data = wire.last_bytes(fields, 1)
        if not data:
            raise EnvelopeError("encrypted data is empty")
        source = Source.of(
            wire.last_number(fields, 5), wire.last_bytes(fields, 3), wire.last_text(fields, 2), wire.pairs(fields, 4)
        )
    except (DecodeError, EnvelopeError) as error:
        raise Unreadable(str(error)) from error
    return source, data


class SeededGcm:
    """A key for every value: its info (32 bytes, random), then as `AesGcm` has it."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: 32 bytes or more."""
        if len(seed) < SEED_BYTES:
            raise Unreadable(f"invalid seed length {len(seed)} used for key generation")
        self._seed = seed

    def _cipher(self, info: bytes) -> AesGcm:
        return AesGcm(HKDFExpand(hashes.SHA256(), INFO_BYTES, info).derive(self._seed))

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """See `Transformer.seal`."""
        info = os.urandom(INFO_BYTES)
        return info + await self._cipher(info).seal(plain, context)

    async def open(self, sealed: bytes, context: bytes) -> tuple[bytes, bool]:
        """See `Transformer.open`."""
        if len(sealed) < INFO_BYTES:
            raise Unreadable("the stored data was shorter than the required size")
        return await self._cipher(sealed[:INFO_BYTES]).open(sealed[INFO_BYTES:], context)
