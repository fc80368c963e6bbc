"""Sealed Secrets through the whole server: rotation, what cannot be read, and keys of the server's own making."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trio

from apilayer.reloads import LOOK_SECONDS
from apilayer.server.encryption import Encryption, read_encryption
from apilayer.server.errors import OptionsError
from apilayer.server.health import Health
from apilayer.server.options import ServerOptions
from apilayer.server.sealing_metrics import sealing_families
from apilayer.storage.encryption import generated
from apilayer.storage.encryption.configuration import parse, read
from apilayer.storage.encryption.generated import MARK, ForeignKey, claim, ensure
from apilayer.storage.prefix import Prefix
from apilayer.storage.watch_cache import WatchCache
from tests.apilayer.in_process import serving
from tests.apilayer.memory_store import MemoryStore
from tests.apilayer.storage.encryption.configurations import IDENTITY, document, keyed, rule, sealing, transformers
from tests.apilayer.storage.encryption.kms_plugin import Plugin
from tests.apilayer.storage.encryption.kms_plugin import serving as serving_plugin

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

    from apilayer.pipeline.authentication import User

Object = dict[str, Any]

SECRETS = "/api/v1/namespaces/default/secrets"
KEY = b"/registry/secrets/default/s"
CANARY = "c4n4ry-of-the-coal-mine"
SECRET = {"metadata": {"name": "s"}, "stringData": {"password": CANARY}}
ENCODED = base64.b64encode(CANARY.encode()).decode()


async def raw(memory: MemoryStore) -> bytes:
    record, _ = await memory.get(KEY)
    assert record is not None
    return record.value


async def test_rotation_and_sealing_anew() -> None:
    """A PUT of what is there already is written once its key is an older one, and not again after that."""
    memory = MemoryStore()
    store = sealing(memory, rule([keyed("aesgcm", "a"), IDENTITY], "secrets"))
    async with serving(store) as server:
        assert (await server.request("POST", SECRETS, SECRET)).status == 201
        assert (await raw(memory)).startswith(b"k8s:enc:aesgcm:v1:a:")
        same = (await server.request("GET", f"{SECRETS}/s")).json
        again = (await server.request("PUT", f"{SECRETS}/s", same)).json
        assert again["metadata"]["resourceVersion"] == same["metadata"]["resourceVersion"], "nothing to write"
        store.use(transformers(rule([keyed("aesgcm", "b", "a")], "secrets")))
        again = (await server.request("PUT", f"{SECRETS}/s", same)).json
        assert int(again["metadata"]["resourceVersion"]) > int(same["metadata"]["resourceVersion"])
        assert again["data"] == same["data"] == {"password": ENCODED}
        assert (await raw(memory)).startswith(b"k8s:enc:aesgcm:v1:b:")
        third = (await server.request("PUT", f"{SECRETS}/s", again)).json
        assert third["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
        assert all(CANARY.encode() not in (change.value or b"") for change in memory.history)
        assert all(ENCODED.encode() not in (change.value or b"") for change in memory.history)


async def test_what_cannot_be_read_is_an_error_and_hides_nothing_else() -> None:
    memory = MemoryStore()
    await sealing(memory, rule([keyed("aesgcm", "a")], "secrets")).create(
        KEY, orjson.dumps({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "default"}})
    )
    store = sealing(memory, rule([keyed("aesgcm", "b")], "secrets"))
    async with serving(store) as server:
        reason = "no matching key was found for the provided AES transformer"
        for method, body in (("GET", None), ("PUT", SECRET), ("DELETE", None)):
            answer = await server.request(method, f"{SECRETS}/s", body)
            assert answer.status == 500
            assert answer.json["reason"] == "InternalError"
            assert answer.json["message"] == f"Internal error occurred: {reason}"
        for query in ("", "?limit=1", "?resourceVersion=0"):
            answer = await server.request("GET", SECRETS + query)
            assert answer.status == 500
            text = f'unable to transform key "{KEY.decode()}": {reason}'
            assert answer.json["message"] == f"Internal error occurred: {text}"
        assert (await server.request("GET", "/api/v1/namespaces/kube-system/secrets")).status == 200
        assert (await server.request("GET", "/api/v1/configmaps")).status == 200
        store.use(transformers(rule([keyed("aesgcm", "b", "a")], "secrets")))
        assert (await server.request("GET", f"{SECRETS}/s")).status == 200
        with trio.fail_after(5):
            while (await server.request("GET", SECRETS)).status != 200:
                await trio.lowlevel.checkpoint()


async def test_what_cannot_be_read_is_deleted_by_who_may() -> None:
    """Only when that is asked for, and only what cannot be read; lists are whole again afterwards."""
    memory = MemoryStore()
    stored = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "default"}}
    await sealing(memory, rule([keyed("aesgcm", "a")], "secrets")).create(KEY, orjson.dumps(stored))
    option = "ignoreStoreReadErrorWithClusterBreakingPotential"
    async with serving(sealing(memory, rule([keyed("aesgcm", "b")], "secrets"))) as server:

        async def delete(name: str, **options: Any) -> tuple[int, str]:
            body = {"kind": "DeleteOptions", "apiVersion": "v1", option: True, **options}
            answer = await server.request("DELETE", f"{SECRETS}/{name}", body)
            return answer.status, answer.json.get("message", "")

        assert (await server.request("POST", SECRETS, {**SECRET, "metadata": {"name": "good"}})).status == 201
        status, message = await delete("good")
        assert (status, "is exclusively used to delete corrupt object(s)" in message) == (422, True)
        assert (await delete("none"))[0] == 404
        for other in ({"dryRun": ["All"]}, {"gracePeriodSeconds": 0}, {"preconditions": {"uid": "x"}}):
            status, message = await delete("s", **other)
            assert (status, f"cannot be set together with .{next(iter(other))}" in message) == (422, True)
        answer = await server.request("DELETE", f"{SECRETS}?{option}=true")
        assert (answer.status, "is not allowed with DELETECOLLECTION" in answer.json["message"]) == (422, True)
        asked: list[tuple[str, ...]] = []

        async def may(user: User, *what: str) -> bool:
            asked.append((user.name, *what))
            return len(asked) > 1

        server.registry.may = may
        status, message = await delete("s")
        assert (status, message) == (
            403,
            'secrets "s" is forbidden: not permitted to do "unsafe-delete-ignore-read-errors", reason: ',
        )
        assert asked == [("admin", "unsafe-delete-ignore-read-errors", "", "secrets", "default", "s")]
        assert (await server.request("GET", SECRETS)).status == 500
        assert await delete("s") == (200, "")
        listed = await server.request("GET", SECRETS)
        assert [item["metadata"]["name"] for item in listed.json["items"]] == ["good"]


async def test_values_that_a_kube_apiserver_has_stored() -> None:
    """It seals protobuf, and leaves what is not in its configuration as it is."""
    from apilayer.api import protobuf

    memory = MemoryStore()
    stored = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "default"}}
    value = protobuf.encode({**stored, "data": {"password": ENCODED}, "type": "Opaque"})
    store = sealing(memory, rule([keyed("aescbc", "a")], "secrets"))
    await store.create(KEY, value)
    async with serving(store) as server:
        found = (await server.request("GET", f"{SECRETS}/s")).json
        assert (found["data"], found["metadata"]["name"]) == ({"password": ENCODED}, "s")
    async with serving(memory) as server:
        answer = await server.request("GET", f"{SECRETS}/s")
        assert answer.json["message"] == ("Internal error occurred: identity transformer tried to read encrypted data")


# ---------------------------------------------------------------------- keys of the server's own making


def options(directory: Path, **changes: Any) -> ServerOptions:
    key = directory / "server.key"
    return ServerOptions(tls_cert_file=key, tls_private_key_file=key, etcd_servers=(), **changes)


def test_a_key_is_made_once(tmp_path: Path) -> None:
    assert read_encryption(options(tmp_path))
    file = tmp_path / "encryption.yaml"
    made = file.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
    configuration, data = read(file)
    assert generated.read(file) == (configuration, data), "as it is read without YAML"
    (provider, identity) = configuration.providers_of("secrets")
    assert (provider.kind, len(provider.keys[0].secret), identity.kind) == ("aesgcm", 32, "identity")
    assert read_encryption(options(tmp_path))
    assert file.read_bytes() == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["encryption.yaml"], "nothing is left beside it"
    elsewhere = tmp_path / "accounts"
    elsewhere.mkdir()
    read_encryption(options(tmp_path, service_account_signing_key_file=elsewhere / "sa.key"))
    assert (elsewhere / "encryption.yaml").exists(), "beside the key that every server of the cluster has"


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(OptionsError, match="--encryption-provider-config: Secrets are sealed in the store, but no"):
        read_encryption(options(missing))
    with pytest.raises(OptionsError, match=r"--encryption-provider-config: error opening .* no such file"):
        read_encryption(options(tmp_path, encryption_provider_config=missing))
    assert not missing.exists()


async def test_one_store_has_one_key(tmp_path: Path) -> None:
    store = MemoryStore()
    files = [tmp_path / name for name in ("one.yaml", "two.yaml")]
    for file in files:
        assert ensure(file)
    one, two = (read(file)[0] for file in files)
    await claim(store, one)
    revision = store.revision
    await claim(store, one)
    assert store.revision == revision
    with pytest.raises(ForeignKey):
        await claim(store, two)
    keys = [generated.keys_of(configuration)[0] for configuration in (two, one)]
    both = {"aesgcm": {"keys": [{"name": key.name, "secret": base64.b64encode(key.secret).decode()} for key in keys]}}
    await claim(store, parse(document(rule([both], "secrets"))))
    await claim(store, two)  # what writes now has the mark
    with pytest.raises(ForeignKey):
        await claim(store, one)
    record, _ = await store.get(MARK)
    assert record is not None
    assert base64.b64encode(keys[0].secret) not in record.value


async def test_a_server_without_the_key_says_which_file_it_wants(tmp_path: Path) -> None:
    store = MemoryStore()
    await read_encryption(options(tmp_path)).claim(store)
    os.unlink(tmp_path / "encryption.yaml")
    with pytest.raises(OptionsError, match=r"sealed with the key 'key-.*', which .*encryption.yaml does not hold"):
        await read_encryption(options(tmp_path)).claim(store)


# ---------------------------------------------------------------------- reload


async def test_changes_of_the_file_are_taken_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    file = tmp_path / "e.json"
    file.write_bytes(document(rule([keyed("aesgcm", "a")], "secrets")))
    memory = MemoryStore()
    encryption = loaded(file)
    store = encryption.over(memory, Prefix())

    async def written() -> bytes:
        name = KEY + str(memory.revision).encode()
        await store.create(name, b"{}")
        record, _ = await memory.get(name)
        assert record is not None
        return record.value

    plugin = Plugin()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(encryption.run)
        for provider, prefix in ((keyed("aescbc", "b"), b"k8s:enc:aescbc:v1:b:"), (IDENTITY, b"{}")):
            file.write_bytes(document(rule([provider], "secrets")))
            await trio.sleep(LOOK_SECONDS + 1)
            assert (await written()).startswith(prefix)
        for broken in (b"", b"{", document()):
            file.write_bytes(broken)
            await trio.sleep(LOOK_SECONDS + 1)
            assert await written() == b"{}", "what was good stays in use"
        kms = {"kms": {"apiVersion": "v2", "name": "vault", "endpoint": f"unix://{tmp_path}/kms", "timeout": "1h"}}
        file.write_bytes(document(rule([kms], "secrets")))
        await trio.sleep(LOOK_SECONDS + 1)
        assert await written() == b"{}", "its plugin is not there"
        autojump_clock.autojump_threshold = 0.2  # the plugin answers from other threads
        with serving_plugin(plugin, tmp_path / "kms"):
            await trio.sleep(LOOK_SECONDS + 1)
            assert (await written()).startswith(b"k8s:enc:kms:v2:vault:")
        counts = store.counts
        assert counts.reloads.counts["success"] == 3
        assert counts.reloads.counts["failure"] >= 4
        assert counts.transformations["secrets", "to_storage", "k8s:enc:aescbc:v1:", "OK"] == 1
        told = {family.name: family for family in sealing_families(counts)}
        (operations, reloads, *_) = told.values()
        assert operations.samples[0].name == "apiserver_storage_transformation_operations_total"
        assert {sample.labels["status"] for sample in reloads.samples} == {"success", "failure"}
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("reloads", "name"), [(False, "kms-provider-0"), (True, "kms-providers")])
async def test_plugins_have_a_health_check(tmp_path: Path, reloads: bool, name: str) -> None:
    file = tmp_path / "e.json"
    plugin = Plugin()
    with serving_plugin(plugin, tmp_path / "kms") as endpoint:
        kms = {"kms": {"apiVersion": "v2", "name": "vault", "endpoint": endpoint}}
        file.write_bytes(document(rule([kms], "secrets")))
        given = {"encryption_provider_config": file, "encryption_provider_config_automatic_reload": reloads}
        encryption = read_encryption(options(tmp_path, **given))
        store = encryption.over(MemoryStore(), Prefix())
        health = Health(store, WatchCache(store, ()))
        encryption.watch_health(health)

        async def checked() -> int:
            codes = set()
            for endpoint in ("healthz", "livez", "readyz"):
                response = await health.respond(f"/{endpoint}/{name}", {})
                assert response is not None
                codes.add(response.status)
            (code,) = codes
            return code

        assert await checked() == 500, "it was not asked yet"
        await store.plugins[0].refresh()
        assert await checked() == 200
        plugin.healthz = "sealed"
        await store.plugins[0].refresh()
        assert await checked() == 500


def loaded(file: Path) -> Encryption:
    return read_encryption(
        options(file.parent, encryption_provider_config=file, encryption_provider_config_automatic_reload=True)
    )
