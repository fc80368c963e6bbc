"""KMS v2 with a real plugin: what is stored, when the plugin is asked, and what its absence means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from apilayer.storage.codec import Undecodable
from apilayer.storage.encryption import wire
from apilayer.storage.encryption.configuration import Kms
from apilayer.storage.encryption.envelope import KEY, EnvelopeError, Source, pack, unpack
from apilayer.storage.encryption.kms import ASK_AGAIN_SECONDS, SEED_SECONDS, KmsTransformer, socket_path
from apilayer.storage.encryption.transformers import Unreadable
from apilayer.storage.interface import StoreUnavailable
from kvraft.client.grpc import CallFailed, call_unary
from tests.apilayer.memory_store import MemoryStore
from tests.apilayer.storage.encryption.configurations import rule, sealing
from tests.apilayer.storage.encryption.kms_plugin import MESSAGES, Plugin, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trio.testing import MockClock

    from apilayer.storage.encryption.store import EncryptedStore

SECRET = b"/registry/secrets/default/s"
PLAIN = b'{"data":{"password":"Y2FuYXJ5"}}'
IDLE_SECONDS = 0.2
"""The clock jumps only when nothing happens for so long: the plugin answers from other threads."""


@pytest.fixture
def plugin() -> Plugin:
    return Plugin()


@pytest.fixture
def endpoint(plugin: Plugin, tmp_path: Path) -> Iterator[str]:
    with serving(plugin, tmp_path / "kms.sock") as endpoint:
        yield endpoint


def over(memory: MemoryStore, endpoint: str) -> EncryptedStore:
    provider = {"kms": {"apiVersion": "v2", "name": "vault", "endpoint": endpoint}}
    return sealing(memory, rule([provider], "secrets"))


async def raw(memory: MemoryStore) -> bytes:
    record, _ = await memory.get(SECRET)
    assert record is not None
    return record.value


async def test_a_whole_life(plugin: Plugin, endpoint: str) -> None:
    memory = MemoryStore()
    store = over(memory, endpoint)
    (transformer,) = store.plugins
    assert transformer.fault
    revision = await store.create(SECRET, PLAIN)
    assert not transformer.fault
    assert plugin.asked == ["Status", "Encrypt"]

    # What is stored is upstream's EncryptedObject, read here by Google's runtime, and opens as upstream opens it.
    stored = await raw(memory)
    assert stored.startswith(b"k8s:enc:kms:v2:vault:")
    message = MESSAGES["EncryptedObject"].FromString(stored.removeprefix(b"k8s:enc:kms:v2:vault:"))
    assert (message.keyID, message.encryptedDEKSourceType) == ("key-1", 1)
    assert dict(message.annotations) == {"version.kms.example.com": b"1"}
    source = message.encryptedDEKSource
    seed = AESGCM(plugin.keys["key-1"]).decrypt(source[:12], source[12:], None)
    key = HKDFExpand(hashes.SHA256(), 32, message.encryptedData[:32]).derive(seed)
    assert AESGCM(key).decrypt(message.encryptedData[32:44], message.encryptedData[44:], SECRET) == PLAIN

    # Who has not written it asks the plugin once.
    other = over(memory, endpoint)
    for _ in range(2):
        record, _ = await other.get(SECRET)
        assert record is not None
        assert (record.value, record.stale) == (PLAIN, False)
    assert plugin.asked[2:] == ["Decrypt"]

    # A new key of the plugin makes what was written stale, and the next write take it.
    plugin.rotate("key-2")
    await transformer.refresh()
    record, _ = await store.get(SECRET)
    assert record is not None
    assert record.stale
    await store.update(SECRET, PLAIN, revision)
    assert b"key-2" in await raw(memory)


async def test_a_key_that_the_plugin_has_lost(plugin: Plugin, endpoint: str) -> None:
    memory = MemoryStore()
    await over(memory, endpoint).create(SECRET, PLAIN)
    plugin.rotate("key-2")
    del plugin.keys["key-1"]
    record, _ = await over(memory, endpoint).get(SECRET)
    assert record is not None
    assert isinstance(record.value, Undecodable)
    reason = "failed to decrypt DEK, error: rpc error: code = NotFound desc = no key key-1"
    assert record.value.reason == reason


async def test_a_plugin_that_is_not_there(tmp_path: Path, plugin: Plugin, autojump_clock: MockClock) -> None:
    """Nothing is taken for unreadable: the store is to be asked again."""
    autojump_clock.autojump_threshold = IDLE_SECONDS
    socket = tmp_path / "kms.sock"
    memory = MemoryStore()
    with serving(plugin, socket) as endpoint:
        store = over(memory, endpoint)
        await store.create(SECRET, PLAIN)
    with pytest.raises(StoreUnavailable, match=r"code = Unavailable .*dial unix .*no such file or directory"):
        await over(memory, endpoint).get(SECRET)
    record, _ = await store.get(SECRET)
    assert record is not None, "what it was asked for before is known"
    assert record.value == PLAIN
    await store.create(SECRET + b"2", PLAIN)
    await trio.sleep(SEED_SECONDS + 1)
    with pytest.raises(StoreUnavailable, match="kmsv2 Provider vault is not healthy"):
        await store.create(SECRET + b"3", PLAIN)


@pytest.mark.parametrize(
    ("healthz", "key_id", "fault"),
    [("bad", "key-1", "got unexpected healthz status: bad"), ("ok", "", "expected KMSv2 KeyID to be set")],
)
async def test_a_plugin_that_is_not_well(plugin: Plugin, endpoint: str, healthz: str, key_id: str, fault: str) -> None:
    plugin.healthz, plugin.key_id = healthz, key_id
    transformer = KmsTransformer(Kms("vault", endpoint, 3.0))
    await transformer.refresh()
    assert fault in transformer.fault


async def test_it_keeps_asking(plugin: Plugin, endpoint: str, autojump_clock: MockClock) -> None:
    """A seed sealed with another key than the status names is not taken; the plugin is asked again."""
    autojump_clock.autojump_threshold = IDLE_SECONDS
    plugin.claims = "other"
    transformer = KmsTransformer(Kms("vault", endpoint, 60.0))
    await transformer.refresh()
    assert "failed to rotate DEK" in transformer.fault
    plugin.claims = ""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transformer.run)
        await trio.sleep(ASK_AGAIN_SECONDS + 1)
        assert not transformer.fault
        nursery.cancel_scope.cancel()


async def test_calls_over_a_socket(plugin: Plugin, endpoint: str, tmp_path: Path) -> None:
    path = socket_path(endpoint)
    with pytest.raises(CallFailed, match=r"code = Unimplemented desc = Method not found!"):
        await call_unary(path, "/v2.KeyManagementService/Nothing", b"", 5)
    large = bytes(300_000)  # more than the first window of flow control
    request = wire.encode({1: large, 2: b"u", 3: b"gone", 4: {"version.kms.example.com": b"1"}})
    with pytest.raises(CallFailed, match="code = NotFound"):
        await call_unary(path, "/v2.KeyManagementService/Decrypt", request, 5)
    silent = trio.socket.socket(trio.socket.AF_UNIX)
    await silent.bind(str(tmp_path / "silent"))
    silent.listen()
    with silent, pytest.raises(CallFailed, match="code = DeadlineExceeded") as caught:
        await call_unary(str(tmp_path / "silent"), "/a/b", b"", 0.01)
    assert caught.value.passing


def test_paths_of_endpoints() -> None:
    assert socket_path("unix:///run/kms.sock") == "/run/kms.sock"
    assert socket_path("unix:///@kms") == "@kms"
    assert socket_path("unix:/run/kms.sock") == "/run/kms.sock"


SOURCE = Source(1, b"sealed", "key", (("a.example.com", b"1"), ("b.example.com", b"")))


def test_objects_as_others_write_them() -> None:
    packed = pack(SOURCE, b"data")
    assert unpack(packed) == (SOURCE, b"data")
    message = MESSAGES["EncryptedObject"].FromString(packed)
    assert unpack(message.SerializeToString()) == (SOURCE, b"data")
    older = attrs.evolve(SOURCE, kind=KEY, annotations=())
    assert unpack(pack(older, b"data")) == (older, b"data")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (attrs.evolve(SOURCE, kind=2), "unknown encryptedDEKSourceType: 2"),
        (attrs.evolve(SOURCE, sealed=b""), "encrypted DEK source is empty"),
        (attrs.evolve(SOURCE, sealed=bytes(1025)), "which exceeds the max size of 1024"),
        (attrs.evolve(SOURCE, key_id=""), "keyID is empty"),
        (attrs.evolve(SOURCE, key_id="k" * 1025), "keyID is 1025 bytes"),
        (attrs.evolve(SOURCE, annotations=(("short", b""),)), "failed to validate annotations"),
        (attrs.evolve(SOURCE, annotations=(("a.b", bytes(40_000)),)), "total size of annotations is 40003"),
    ],
)
def test_objects_that_are_refused(source: Source, reason: str) -> None:
    with pytest.raises(EnvelopeError, match=reason):
        source.check()
    with pytest.raises(Unreadable, match=reason):
        unpack(pack(source, b"data"))


@pytest.mark.parametrize(
    "stored", [b"", b"\xff", b"\x0a\x05abc", b"\x0a\x01a\x10\x01", b"\x12\x01\xff\x0a\x01a", b"\x0b"]
)
def test_objects_that_are_none(stored: bytes) -> None:
    with pytest.raises(Unreadable):
        unpack(stored)
