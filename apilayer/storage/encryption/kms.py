"""The KMS v2 provider: seeds that a plugin on this machine seals and opens, and values sealed under them.

`Plugin` speaks the plugin's API over its unix socket. `KmsTransformer` keeps a seed to write with, which it renews when
the plugin changes its key, and the seeds that it has met while reading. A plugin that cannot be asked stops writes at
once the seed is over, and reads of what it was not asked before: these are tried again, not taken for unreadable.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import OrderedDict
from typing import TYPE_CHECKING
from uuid import uuid4

import attrs
import trio

from apilayer.api.errors import DecodeError
from apilayer.storage.encryption import wire
from apilayer.storage.encryption.envelope import (
    KEY,
    SEED,
    SEED_BYTES,
    EnvelopeError,
    SeededGcm,
    Source,
    key_id_fault,
    pack,
    unpack,
)
from apilayer.storage.encryption.transformers import AesGcm, Unreadable
from apilayer.storage.interface import StoreUnavailable
from kvraft.client.grpc import CallFailed, call_unary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apilayer.storage.encryption.configuration import Kms

VERSIONS = ("v2", "v2beta1")
ASK_SECONDS = 60.0
"""How often a healthy plugin is asked for its key ..."""
ASK_AGAIN_SECONDS = 10.0
"""... and one that was not."""
SEED_SECONDS = 180.0
"""For so long a seed may be written with after the plugin has last confirmed its key."""
MAX_SEEDS = 4096
"""Seeds kept of those met while reading: about one for each key and start of an API server."""

log = logging.getLogger("apilayer.storage.kms")


@attrs.frozen
class PluginStatus:
    """What a plugin says of itself."""

    version: str
    healthz: str
    key_id: str


class Plugin:
    """The API of a plugin. Calls raise CallFailed."""

    def __init__(self, kms: Kms) -> None:
        self._path = socket_path(kms.endpoint)
        self._timeout_seconds = kms.timeout_seconds

    async def _ask(self, method: str, fields: Mapping[int, bytes | Mapping[str, bytes]]) -> wire.Fields:
        path = f"/v2.KeyManagementService/{method}"
        answer = await call_unary(self._path, path, wire.encode(fields), self._timeout_seconds)
        try:
            return wire.decode(answer)
        except DecodeError as error:
            raise CallFailed(13, f"the plugin's answer cannot be read: {error}") from error

    async def status(self) -> PluginStatus:
        """Its version, health and present key."""
        fields = await self._ask("Status", {})
        return PluginStatus(*(wire.last_text(fields, number) for number in (1, 2, 3)))

    async def encrypt(self, plain: bytes) -> Source:
        """The seed `plain`, sealed. Raises EnvelopeError for an answer that could not be stored."""
        fields = await self._ask("Encrypt", {1: plain, 2: str(uuid4()).encode()})
        return Source.of(SEED, wire.last_bytes(fields, 1), wire.last_text(fields, 2), wire.pairs(fields, 3))

    async def decrypt(self, source: Source) -> bytes:
        """What `source` was made of."""
        fields = await self._ask(
            "Decrypt",
            {
                1: source.sealed,
                2: str(uuid4()).encode(),
                3: source.key_id.encode(),
                4: dict(source.annotations),
            },
        )
        return wire.last_bytes(fields, 1)


def socket_path(endpoint: str) -> str:
    """The path in ``unix:///run/kms.sock``; ``unix:///@name`` is one in the abstract namespace."""
    path = endpoint.removeprefix("unix:").removeprefix("//")
    return path[1:] if path.startswith("/@") else path


@attrs.frozen
class _Writing:
    """The seed that is written with, until `end` (trio's clock)."""

    source: Source
    cipher: SeededGcm = attrs.field(repr=False)
    end: float


class KmsTransformer:
    """See the module. `refresh` must be called now and then; `run` does that."""

    def __init__(self, kms: Kms, plugin: Plugin | None = None) -> None:
        self.name = kms.name
        self.fault = "the plugin was not asked yet"
        """Why the plugin is not healthy; "" when it is."""
        self._plugin = plugin or Plugin(kms)
        self._writing: _Writing | None = None
        self._seeds: OrderedDict[Source, SeededGcm | AesGcm] = OrderedDict()

    async def run(self) -> None:
        """Keeps the seed fresh until cancelled."""
        while True:
            await trio.sleep(ASK_AGAIN_SECONDS if self.fault else ASK_SECONDS)
            await self.refresh()

    async def refresh(self) -> None:
        """Asks the plugin for its key, and makes a new seed when that is another one. Never raises."""
        before = self.fault
        try:
            await self._refresh()
            self.fault = ""
        except (CallFailed, EnvelopeError, DecodeError) as error:
            self.fault = f"kmsv2 Provider {self.name} is not healthy, error: {error}"
        if self.fault and self.fault != before:
            log.error("%s", self.fault)

    async def _refresh(self) -> None:
        status = await self._plugin.status()
        faults = list(_faults(status))
        if faults:
            raise EnvelopeError("; ".join(faults))
        end = trio.current_time() + SEED_SECONDS
        writing = self._writing
        if writing is not None and writing.source.key_id == status.key_id:
            self._writing = attrs.evolve(writing, end=end)
            return
        seed = os.urandom(SEED_BYTES)
        source = await self._plugin.encrypt(seed)
        if source.key_id != status.key_id:
            hashes = f"statusKeyIDHash={_hash(status.key_id)}, encryptKeyIDHash={_hash(source.key_id)}"
            raise EnvelopeError(f"failed to rotate DEK: the plugin sealed it with another key, {hashes}")
        self._writing = _Writing(source, SeededGcm(seed), end)

    async def seal(self, plain: bytes, context: bytes) -> bytes:
        """See `Transformer.seal`. Raises StoreUnavailable when there is no seed to write with."""
        writing = self._writing
        if writing is None or trio.current_time() > writing.end:
            await self.refresh()
            writing = self._writing
        if writing is None or trio.current_time() > writing.end:
            raise StoreUnavailable(self.fault)
        self._keep(writing.source, writing.cipher)
        return pack(writing.source, await writing.cipher.seal(plain, context))

    async def open(self, sealed: bytes, context: bytes) -> tuple[bytes, bool]:
        """See `Transformer.open`. Raises StoreUnavailable when the plugin must be asked and cannot."""
        source, data = unpack(sealed)
        cipher = self._seeds.get(source)
        if cipher is None:
            cipher = await self._met(source)
        else:
            self._seeds.move_to_end(source)
        plain, _ = await cipher.open(data, context)
        writing = self._writing
        stale = writing is not None and (source.key_id, source.kind) != (writing.source.key_id, writing.source.kind)
        return plain, stale

    async def _met(self, source: Source) -> SeededGcm | AesGcm:
        try:
            opened = await self._plugin.decrypt(source)
        except CallFailed as error:
            text = f"failed to decrypt DEK, error: {error}"
            raise (StoreUnavailable(text) if error.passing else Unreadable(text)) from error
        if source.kind == KEY and len(opened) not in (16, 24, 32):
            raise Unreadable(f"crypto/aes: invalid key size {len(opened)}")
        return self._keep(source, AesGcm(opened) if source.kind == KEY else SeededGcm(opened))

    def _keep(self, source: Source, cipher: SeededGcm | AesGcm) -> SeededGcm | AesGcm:
        self._seeds[source] = cipher
        while len(self._seeds) > MAX_SEEDS:
            self._seeds.popitem(last=False)
        return cipher


def _faults(status: PluginStatus) -> list[str]:
    faults = []
    if status.healthz != "ok":
        faults.append(f"got unexpected healthz status: {status.healthz}")
    if status.version not in VERSIONS:
        faults.append(f"expected KMSv2 API version {VERSIONS[0]}, got {status.version}")
    fault = key_id_fault(status.key_id)
    if fault:
        faults.append(f"expected KMSv2 KeyID to be set, got {fault}")
    return faults


def _hash(key_id: str) -> str:
    return f'"sha256:{hashlib.sha256(key_id.encode()).hexdigest()}"'
