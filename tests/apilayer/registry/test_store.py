"""Objects through the generic store, over a real member."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
import trio

from apilayer.api import meta
from apilayer.api.decode import decode_body
from apilayer.api.resources import find
from apilayer.api.status import StatusError
from apilayer.registry.options import DeleteOptions, ListOptions, WriteOptions
from apilayer.registry.registry import OWN_USER

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from apilayer.registry.registry import Registry
    from apilayer.storage.codec import Entry

PLAIN = WriteOptions()
DRY = WriteOptions(dry_run=True)


def configmap(name: str = "c", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def deployment(name: str = "d") -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    resource = find("apps", "v1", "deployments")
    assert resource is not None
    body = orjson.dumps({"metadata": {"name": name}, "spec": spec})
    return decode_body(body, None, resource).object


def lease(name: str = "l", **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, **metadata}, "spec": {}}


async def fails(code: int, call: Awaitable[object]) -> str:
    with pytest.raises(StatusError) as caught:
        await call
    assert caught.value.code == code, caught.value.status
    return str(caught.value.status["message"])


async def create(registry: Registry, obj: dict[str, Any], resource: str = "configmaps") -> Entry:
    return await registry.create(registry.of(resource), "default", obj, PLAIN)


async def test_create_fills_in_what_the_server_decides(registry: Registry) -> None:
    given = configmap(a="1")
    given["metadata"] |= {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 9}
    entry = await create(registry, given)
    metadata = entry.object()["metadata"]
    assert metadata["namespace"] == "default"
    assert len(metadata["uid"]) == 36
    assert not metadata["creationTimestamp"].startswith("2001")
    assert "generation" not in metadata
    assert metadata["resourceVersion"] == str(entry.revision)
    assert (await registry.of("configmaps").store.get("default", "c")).json == entry.json


async def test_create_twice(registry: Registry) -> None:
    await create(registry, configmap())
    assert await fails(409, create(registry, configmap())) == 'configmaps "c" already exists'


async def test_create_over_an_object_that_is_ending(registry: Registry) -> None:
    obj = configmap()
    obj["metadata"]["finalizers"] = ["example.com/x"]
    await create(registry, obj)
    await registry.of("configmaps").store.delete("default", "c", DeleteOptions())
    message = await fails(409, create(registry, configmap()))
    assert message == 'object is being deleted: configmaps "c" already exists'


async def test_create_with_a_resource_version(registry: Registry) -> None:
    obj = configmap()
    obj["metadata"]["resourceVersion"] = "5"
    assert await fails(500, create(registry, obj)) == "resourceVersion should not be set on objects to be created"


async def test_generated_names_are_tried_until_one_is_free(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    await create(registry, configmap("g-0"))
    names = iter(["g-0", "g-0", "g-1", *["g-0"] * 8])
    monkeypatch.setattr(meta, "generate_name", lambda _prefix: next(names))
    entry = await create(registry, {"metadata": {"generateName": "g-"}})
    assert entry.object()["metadata"]["name"] == "g-1"
    with pytest.raises(StatusError) as caught:
        await create(registry, {"metadata": {"generateName": "g-"}})
    taken = 'configmaps "g-0" already exists, the server was not able to generate a unique name for the object'
    assert (str(caught.value), caught.value.status["reason"]) == (taken, "AlreadyExists")
    assert caught.value.status["details"]["retryAfterSeconds"] == 1
    assert caught.value.headers == (("Retry-After", "1"),)


async def test_dry_run_stores_nothing(registry: Registry) -> None:
    api = registry.of("configmaps")
    entry = await registry.create(api, "default", configmap(), DRY)
    assert "resourceVersion" not in entry.object()["metadata"]
    await fails(404, api.store.get("default", "c"))
    real = await create(registry, configmap(a="1"))
    await fails(409, registry.create(api, "default", configmap(), DRY))
    changed, _ = await registry.update(api, "default", "c", configmap(a="2"), DRY)
    assert (changed.object()["data"], changed.revision) == ({"a": "2"}, real.revision)
    assert (await api.store.delete("default", "c", DeleteOptions(dry_run=True))).gone
    assert (await api.store.get("default", "c")).json == real.json


async def test_namespaces_must_exist_and_not_be_ending(registry: Registry) -> None:
    api = registry.of("configmaps")
    message = await fails(404, registry.create(api, "nowhere", configmap(), PLAIN))
    assert message == 'namespaces "nowhere" not found'
    namespaces = registry.of("namespaces")
    await namespaces.store.create("", {"metadata": {"name": "going"}}, PLAIN)
    await registry.create(api, "going", configmap(), PLAIN)
    await namespaces.store.delete("", "going", DeleteOptions())
    await namespaces.lists.refresh()
    message = await fails(403, registry.create(api, "going", configmap("late"), PLAIN))
    assert message.endswith("unable to create new content in namespace going because it is being terminated")


async def test_namespaces_end_in_two_steps(registry: Registry) -> None:
    namespaces = registry.of("namespaces").store
    await namespaces.create("", {"metadata": {"name": "x"}}, PLAIN)
    deleted = await namespaces.delete("", "x", DeleteOptions())
    assert not deleted.gone
    assert deleted.entry.object()["status"]["phase"] == "Terminating"
    assert not (await namespaces.delete("", "x", DeleteOptions())).gone
    done = {**deleted.entry.object(), "spec": {}}
    done["metadata"].pop("resourceVersion")
    await namespaces.update("", "x", done, PLAIN, "finalize")
    await fails(404, namespaces.get("", "x"))


async def test_namespaces_have_preconditions_and_policies_of_their_own(registry: Registry) -> None:
    namespaces = registry.of("namespaces").store
    made = (await namespaces.create("", {"metadata": {"name": "x"}}, PLAIN)).object()["metadata"]
    start = 'Operation cannot be fulfilled on namespaces "x": Precondition failed: '
    message = await fails(409, namespaces.delete("", "x", DeleteOptions(uid="u")))
    assert message == f"{start}UID in precondition: u, UID in object meta: {made['uid']}"
    message = await fails(409, namespaces.delete("", "x", DeleteOptions(resource_version="1")))
    assert message.startswith(f"{start}ResourceVersion in precondition: 1, ResourceVersion in object meta: ")
    deleted = await namespaces.delete("", "x", DeleteOptions(uid=made["uid"], orphan_dependents=False))
    assert deleted.entry.object()["metadata"]["finalizers"] == ["foregroundDeletion"]
    odd = {"metadata": {"name": "x"}, "spec": {"finalizers": ["a.b/c", "odd"]}}
    message = await fails(422, namespaces.update("", "x", odd, PLAIN, "finalize"))
    assert "spec.finalizers[1]: Invalid value: " in message
    emptied = {"metadata": {"name": "x", "finalizers": ["foregroundDeletion"]}, "spec": {}}
    entry, _ = await namespaces.update("", "x", emptied, PLAIN, "finalize")
    assert entry.object()["spec"] == {}, "it is empty, and still held by what it owns"
    await namespaces.update("", "x", {"metadata": {"name": "x"}}, PLAIN)
    await fails(404, namespaces.get("", "x"))


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_some_namespaces_stay(registry: Registry, name: str) -> None:
    options = DeleteOptions(admission=registry.admission.begin(OWN_USER))
    message = await fails(403, registry.of("namespaces").store.delete("", name, options))
    assert message == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_an_update_that_changes_nothing_keeps_the_revision(registry: Registry) -> None:
    entry = await create(registry, configmap(a="1"))
    same, created = await registry.update(registry.of("configmaps"), "default", "c", configmap(a="1"), PLAIN)
    assert (same.revision, created) == (entry.revision, False)


async def test_updates_with_stale_versions_and_wrong_uids(registry: Registry) -> None:
    api = registry.of("configmaps")
    first = await create(registry, configmap(a="1"))
    await registry.update(api, "default", "c", configmap(a="2"), PLAIN)
    stale = configmap(a="3")
    stale["metadata"]["resourceVersion"] = str(first.revision)
    message = await fails(409, registry.update(api, "default", "c", stale, PLAIN))
    assert message.endswith("please apply your changes to the latest version and try again")
    other = configmap(a="3")
    other["metadata"]["uid"] = "x"
    message = await fails(409, registry.update(api, "default", "c", other, PLAIN))
    assert "Key: /registry/configmaps/default/c" in message
    assert "Precondition failed: UID in precondition: x" in message
    bad = configmap()
    bad["metadata"]["resourceVersion"] = "abc"
    assert await fails(500, registry.update(api, "default", "c", bad, PLAIN)) == (
        'strconv.ParseUint: parsing "abc": invalid syntax'
    )
    assert await fails(404, registry.update(api, "default", "zz", configmap("zz"), PLAIN))
    gone = configmap("zz")
    gone["metadata"]["uid"] = "x"
    message = await fails(409, registry.update(api, "default", "zz", gone, PLAIN))
    assert message.endswith("Precondition failed: UID in precondition: x, UID in object meta: ")


async def test_create_on_update_and_conditional_updates(registry: Registry) -> None:
    api = registry.of("leases.coordination.k8s.io")
    entry, created = await registry.update(api, "default", "l", lease(), PLAIN)
    assert created
    message = await fails(422, registry.update(api, "default", "l", lease(labels={"x": "y"}), PLAIN))
    assert message == (
        'leases.coordination.k8s.io "l" is invalid: metadata.resourceVersion: Invalid value: 0: '
        "must be specified for an update"
    )
    renewed = lease(resourceVersion=str(entry.revision), labels={"x": "y"})
    changed, created = await registry.update(api, "default", "l", renewed, PLAIN)
    assert not created
    assert changed.revision > entry.revision
    assert await fails(404, registry.update(api, "nowhere", "l", lease(), PLAIN)) == 'namespaces "nowhere" not found'
    await api.store.delete("default", "l", DeleteOptions())
    _, created = await registry.update(api, "default", "l", renewed, PLAIN)
    assert created, "who renews it finds that it is gone, and has it again"


async def test_generations_count_what_controllers_act_on(registry: Registry) -> None:
    api = registry.of("deployments.apps")
    entry = await registry.create(api, "default", deployment(), PLAIN)
    assert entry.object()["metadata"]["generation"] == 1

    def change(**fields: Any) -> Any:
        def apply(old: dict[str, Any]) -> dict[str, Any]:
            for path, value in fields.items():
                part, _, key = path.partition("__")
                old.setdefault(part, {})[key] = value
            return old

        return apply

    async def generation(subresource: str = "", **fields: Any) -> int:
        entry = await api.store.patch("default", "d", change(**fields), PLAIN, subresource)
        return int(entry.object()["metadata"]["generation"])

    assert await generation(metadata__labels={"x": "y"}) == 1
    assert await generation(status__replicas=5) == 1
    assert await generation(spec__replicas=2) == 2
    assert await generation(metadata__annotations={"x": "y"}) == 3
    assert await generation("status", status__replicas=5, spec__replicas=9) == 3
    final = (await api.store.get("default", "d")).object()
    assert (final["spec"]["replicas"], final["status"]["replicas"]) == (2, 5)


async def test_status_is_written_through_its_own_endpoint(registry: Registry) -> None:
    api = registry.of("pods")
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}, "status": {"phase": "X"}}
    entry = await registry.create(api, "default", pod, PLAIN)
    assert entry.object()["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    obj = entry.object()
    obj["status"] = {"phase": "Running"}
    obj["metadata"]["labels"] = {"a": "b"}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"}
    obj["metadata"]["ownerReferences"] = [owner]
    changed, _ = await registry.update(api, "default", "p", obj, PLAIN, "status")
    result = changed.object()
    assert result["status"] == {"phase": "Running", "qosClass": "BestEffort"}
    assert result["metadata"]["labels"] == {"a": "b"}
    assert "ownerReferences" not in result["metadata"]


async def test_patches_lose_no_update(registry: Registry) -> None:
    api = registry.of("configmaps")
    await create(registry, configmap(n="0"))

    def increment(old: dict[str, Any]) -> dict[str, Any]:
        old["data"]["n"] = str(int(old["data"]["n"]) + 1)
        return old

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(api.store.patch, "default", "c", increment, PLAIN)
    assert (await api.store.get("default", "c")).object()["data"]["n"] == "20"


async def test_the_last_finalizer_takes_the_object_with_it(registry: Registry) -> None:
    api = registry.of("configmaps")
    obj = configmap()
    obj["metadata"]["finalizers"] = ["example.com/x"]
    await create(registry, obj)
    deleted = await api.store.delete("default", "c", DeleteOptions())
    assert not deleted.gone
    again = await api.store.delete("default", "c", DeleteOptions())
    assert again.entry.revision == deleted.entry.revision

    def release(old: dict[str, Any]) -> dict[str, Any]:
        old["metadata"].pop("finalizers")
        return old

    last = await api.store.patch("default", "c", release, PLAIN)
    assert last.revision == deleted.entry.revision
    await fails(404, api.store.get("default", "c"))


async def test_pods_end_after_their_grace_period(registry: Registry) -> None:
    api = registry.of("pods")
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}
    await registry.create(api, "default", {"metadata": {"name": "p"}, "spec": spec}, PLAIN)
    deleted = await api.store.delete("default", "p", DeleteOptions())
    assert not deleted.gone
    assert deleted.entry.object()["metadata"]["deletionGracePeriodSeconds"] == 30
    assert (await api.store.delete("default", "p", DeleteOptions(grace_period_seconds=0))).gone
    await fails(404, api.store.get("default", "p"))


async def test_delete_collection(registry: Registry) -> None:
    api = registry.of("configmaps")
    for name in ("a", "b", "c"):
        obj = configmap(name)
        obj["metadata"]["labels"] = {"keep": "yes" if name == "b" else "no"}
        await create(registry, obj)
    listing = await registry.delete_collection(api, "default", ListOptions(label_selector="keep=no"), DeleteOptions())
    assert [entry.object()["metadata"]["name"] for entry in listing.entries] == ["a", "c"]
    left = await api.lists.list("default", ListOptions())
    assert [entry.object()["metadata"]["name"] for entry in left.entries] == ["b"]


async def test_reads_at_versions(registry: Registry) -> None:
    store = registry.of("configmaps").store
    entry = await create(registry, configmap())
    assert (await store.get("default", "c", str(entry.revision))).json == entry.json
    assert (await store.get("default", "c", "0")).json == entry.json
    message = await fails(500, store.get("default", "c", "x"))
    assert message == 'resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax'


async def test_a_patch_cannot_change_the_uid(registry: Registry) -> None:
    await create(registry, configmap())

    def apply(old: dict[str, Any]) -> dict[str, Any]:
        old["metadata"]["uid"] = "x"
        return old

    message = await fails(422, registry.of("configmaps").store.patch("default", "c", apply, PLAIN))
    assert message == 'ConfigMap "c" is invalid: metadata.uid: Invalid value: "x": field is immutable'
