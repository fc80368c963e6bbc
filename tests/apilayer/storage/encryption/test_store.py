"""What lies in the store when values are sealed, who can read it, and what is said when nobody can."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import trio
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.secret import SecretBox
from trio.testing import wait_all_tasks_blocked

from apilayer.storage.codec import Undecodable
from apilayer.storage.encryption.store import resource_of
from apilayer.storage.encryption.transformers import AesCbc, AesGcm, Secretbox, Unreadable
from apilayer.storage.interface import KeyChanged, KeyExists, StoreUnavailable
from tests.apilayer.memory_store import MemoryStore
from tests.apilayer.storage.encryption.configurations import IDENTITY, KEYS, keyed, rule, sealing, transformers

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.storage.encryption.transformers import Transformer

Object = dict[str, Any]

SECRET = b"/registry/secrets/default/s"
POD = b"/registry/pods/default/p"
PLAIN = b'{"data":{"password":"Y2FuYXJ5"}}'
KEY = base64.b64decode(KEYS["a"])


def of_cbc(data: bytes) -> bytes:
    decryptor = Cipher(algorithms.AES(KEY), modes.CBC(data[:16])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(data[16:]) + decryptor.finalize()) + unpadder.finalize()


def of_gcm(data: bytes) -> bytes:
    return AESGCM(KEY).decrypt(data[:12], data[12:], SECRET)


def of_secretbox(data: bytes) -> bytes:
    return SecretBox(KEY).decrypt(data[24:], data[:24])


async def raw(memory: MemoryStore, key: bytes = SECRET) -> bytes:
    record, _ = await memory.get(key)
    assert record is not None
    return record.value


@pytest.mark.parametrize(
    ("kind", "opened"),
    [("aescbc", of_cbc), ("aesgcm", of_gcm), ("secretbox", of_secretbox)],
    ids=("aescbc", "aesgcm", "secretbox"),
)
async def test_the_layout_is_upstreams(kind: str, opened: Callable[[bytes], bytes]) -> None:
    """Taken apart here by the libraries alone, as another program over the same store would."""
    memory = MemoryStore()
    store = sealing(memory, rule([keyed(kind, "a")], "secrets"))
    await store.create(SECRET, PLAIN)
    sealed = await raw(memory)
    prefix = f"k8s:enc:{kind}:v1:a:".encode()
    assert sealed.startswith(prefix)
    assert opened(sealed[len(prefix) :]) == PLAIN
    await store.create(POD, PLAIN)
    assert await raw(memory, POD) == PLAIN, "what no rule names stays as it is"


async def test_the_context_is_the_key_in_the_store() -> None:
    """As a kube-apiserver with the same --etcd-prefix has it; under another key the value is worth nothing."""
    memory = MemoryStore()
    await sealing(memory, rule([keyed("aesgcm", "a")], "secrets"), prefix="/other").create(SECRET, PLAIN)
    sealed = (await raw(memory)).removeprefix(b"k8s:enc:aesgcm:v1:a:")
    assert AESGCM(KEY).decrypt(sealed[:12], sealed[12:], b"/other/secrets/default/s") == PLAIN
    store = sealing(memory, rule([keyed("aesgcm", "a")], "secrets"))
    record, _ = await store.get(SECRET)
    assert record is not None
    assert isinstance(record.value, Undecodable)
    assert record.value.reason == "cipher: message authentication failed"


@pytest.mark.parametrize(
    ("written", "read", "stale"),
    [
        ([keyed("aescbc", "a")], [keyed("aescbc", "a")], False),
        ([keyed("aescbc", "a")], [keyed("aescbc", "b", "a")], True),
        ([keyed("aescbc", "a")], [keyed("aesgcm", "a"), keyed("aescbc", "a")], True),
        ([keyed("aescbc", "a")], [keyed("aescbc", "b"), keyed("aescbc", "a")], True),
        ([keyed("aescbc", "a")], [IDENTITY, keyed("aescbc", "a")], True),
        ([IDENTITY], [keyed("secretbox", "b"), IDENTITY], True),
        ([IDENTITY], [IDENTITY, keyed("secretbox", "b")], False),
    ],
)
async def test_a_value_under_an_older_key_is_stale(written: list[Object], read: list[Object], stale: bool) -> None:
    memory = MemoryStore()
    await sealing(memory, rule(written, "secrets")).create(SECRET, PLAIN)
    record, _ = await sealing(memory, rule(read, "secrets")).get(SECRET)
    assert record is not None
    assert (record.value, record.stale) == (PLAIN, stale)


@pytest.mark.parametrize(
    ("written", "read", "reason"),
    [
        ([keyed("aescbc", "a")], [IDENTITY], "no matching prefix found"),
        ([keyed("aescbc", "a")], [keyed("aesgcm", "a")], "no matching prefix found"),
        ([keyed("aescbc", "a")], [keyed("aescbc", "b")], "no matching key was found for the provided AES transformer"),
        ([keyed("secretbox", "a")], [keyed("secretbox", "b")], "no matching key was found for the provided Secretbox"),
        ([IDENTITY], [keyed("aesgcm", "a")], "no matching prefix found"),
    ],
)
async def test_what_nobody_can_read(written: list[Object], read: list[Object], reason: str) -> None:
    memory = MemoryStore()
    await sealing(memory, rule(written, "secrets")).create(SECRET, PLAIN)
    store = sealing(memory, rule(read, "secrets"))
    record, _ = await store.get(SECRET)
    assert record is not None
    assert isinstance(record.value, Undecodable)
    assert record.value.reason.startswith(reason)
    assert record.value == b""
    for refused in (store.create(SECRET, b"x"), store.update(SECRET, b"x", 1), store.delete(SECRET, 1)):
        with pytest.raises((KeyExists, KeyChanged)) as caught:
            await refused
        assert b"canary" not in repr(caught.value.current).encode()


async def test_a_wrong_key_of_the_right_name() -> None:
    memory = MemoryStore()
    for kind, reason in (
        ("aesgcm", "cipher: message authentication failed"),
        ("secretbox", "output array was not large enough for encryption"),
    ):
        key = f"/registry/secrets/default/{kind}".encode()
        await sealing(memory, rule([keyed(kind, "a")], "secrets")).create(key, PLAIN)
        other = {kind: {"keys": [{"name": "a", "secret": KEYS["b"]}]}}
        record, _ = await sealing(memory, rule([other], "secrets")).get(key)
        assert record is not None
        assert isinstance(record.value, Undecodable)
        assert record.value.reason == reason


async def test_a_watch_opens_what_it_tells_and_begins_anew_when_more_can_be_opened() -> None:
    memory = MemoryStore()
    older = sealing(memory, rule([keyed("aesgcm", "a")], "secrets"))
    newer = sealing(memory, rule([keyed("aesgcm", "b")], "secrets"))
    told: list[bytes | None] = []

    async def follow() -> None:
        async with newer.watch(b"/registry/", 1) as stream:
            async for batch in stream:
                told.extend(change.value for change in batch.changes)

    async def ends() -> None:
        with pytest.raises(StoreUnavailable, match="other keys are used"):
            await follow()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends)
        await newer.create(SECRET, PLAIN)
        await newer.create(POD, PLAIN)
        await wait_all_tasks_blocked()
        assert told == [PLAIN, PLAIN]
        newer.use(transformers(rule([keyed("aesgcm", "b", "a")], "secrets")))
        await older.create(SECRET + b"2", PLAIN)
        await wait_all_tasks_blocked()
        assert told[2:] == [PLAIN], "there was nothing unreadable: it goes on"
        newer.use(transformers(rule([keyed("aesgcm", "c")], "secrets")))
        await older.create(SECRET + b"3", PLAIN)
        await wait_all_tasks_blocked()
        assert told[3:] == [b""]
        newer.use(transformers(rule([keyed("aesgcm", "a", "b")], "secrets")))
    assert len(told) == 4


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        (SECRET, "secrets"),
        (b"/registry/secrets/", "secrets"),
        (b"/registry/deployments/d/x", "deployments.apps"),
        (b"/registry/services/specs/d/x", "services"),
        (b"/registry/services/endpoints/d/x", "endpoints"),
        (b"/registry/example.com/widgets/d/x", "widgets.example.com"),
        (b"/registry/ranges/servicenodeports", ""),
        (b"/registry/apilayer/sealing-key", ""),
        (b"/registry/", ""),
        (b"/registry/x", ""),
    ],
)
def test_whose_a_key_is(key: bytes, resource: str) -> None:
    assert resource_of(key)[1] == resource


async def test_wildcards_seal_custom_resources_too() -> None:
    memory = MemoryStore()
    store = sealing(memory, rule([keyed("aesgcm", "a")], "*.example.com"))
    for key, sealed in ((b"/registry/example.com/widgets/d/x", True), (b"/registry/example.org/widgets/d/x", False)):
        await store.create(key, PLAIN)
        assert (await raw(memory, key)).startswith(b"k8s:enc:") is sealed
        record, _ = await store.get(key)
        assert record is not None
        assert record.value == PLAIN


@settings(max_examples=30, deadline=None)
@given(plain=st.binary(max_size=100), damage=st.integers(0, 200), cut=st.integers(0, 60))
@pytest.mark.parametrize("cipher", [AesGcm, AesCbc, Secretbox])
async def test_damage_is_noticed(cipher: Callable[[bytes], Transformer], plain: bytes, damage: int, cut: int) -> None:
    """AES-CBC is not authenticated: there, damage may go unnoticed, and must not be more than that."""
    transformer = cipher(KEY)
    sealed = await transformer.seal(plain, SECRET)
    assert await transformer.open(sealed, SECRET) == (plain, False)
    assert sealed != await transformer.seal(plain, SECRET)
    damaged = bytearray(sealed)
    damaged[damage % len(damaged)] ^= 1
    for changed in (bytes(damaged), sealed[: len(sealed) - 1 - cut]):
        try:
            opened, _ = await transformer.open(changed, SECRET)
        except Unreadable:
            continue
        assert cipher is AesCbc
        assert opened != plain or changed == sealed
