"""ResourceQuota over a real store: what is refused with which words, and that nothing goes beyond under concurrency."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from apilayer.admission.choice import Choice
from apilayer.admission.plugin import ConfigurationError, Setup
from apilayer.admission.plugins.resource_quota import ResourceQuota
from apilayer.api.status import StatusError
from apilayer.controllers.resource_quota import ResourceQuotaController
from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.options import DeleteOptions, WriteOptions
from apilayer.registry.registry import Registry
from apilayer.server.controller_api import LocalCluster
from tests.apilayer.admitting import Cluster, setup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.storage.kvraft_backend import KvraftStore

Object = dict[str, Any]
CHOICE = Choice(control=("NamespaceLifecycle", "ResourceQuota"))


@pytest.fixture
async def registries(store: KvraftStore, nursery: trio.Nursery) -> AsyncIterator[list[Registry]]:
    """Those of two servers over one store."""
    found = [Registry(store, admission=CHOICE) for _ in range(2)]
    for registry in found:
        nursery.start_soon(registry.cache.run)
        await registry.cache.loaded.wait()
    await bootstrap(found[0])
    yield found
    nursery.cancel_scope.cancel()


async def create(registry: Registry, resource: str, obj: Object, *, dry_run: bool = False) -> str:
    """ "" when it was created, else why not."""
    options = WriteOptions(dry_run=dry_run)
    try:
        await registry.create(registry.of(resource), "default", obj, options)
    except StatusError as error:
        assert error.code == 403, error
        return str(error)
    return ""


async def limit(registry: Registry, name: str = "q", **hard: str) -> None:
    """A quota of which nothing is used."""
    hard = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    await create(registry, "resourcequotas", {"metadata": {"name": name}, "spec": {"hard": hard}})
    counted = {"hard": hard, "used": dict.fromkeys(hard, "0")}
    await registry.change("resourcequotas", "default", name, lambda old: {**old, "status": counted}, "status")
    await registry.refresh()


async def used(registry: Registry, name: str = "q") -> dict[str, str]:
    obj = (await registry.of("resourcequotas").store.get("default", name)).object()
    found: dict[str, str] = obj["status"]["used"]
    return found


async def stored(registry: Registry, resource: str) -> int:
    await registry.refresh()
    api = registry.of(resource)
    return len(registry.cache.of(api.resource).entries(api.lists.prefix("default")))


def secret(number: int) -> Object:
    return {"metadata": {"name": f"s{number}"}}


async def test_fifty_at_once_leave_ten(registries: list[Registry], nursery: trio.Nursery) -> None:
    """Through two servers, while the controller counts because objects go."""
    for name in ("gone", "gone-too"):
        await create(registries[0], "configmaps", {"metadata": {"name": name}})
    await limit(registries[0], count__secrets="10", configmaps="5")
    await registries[1].refresh()
    cluster = LocalCluster(registries[1])
    controller = ResourceQuotaController(cluster)
    await nursery.start(cluster.run)
    nursery.start_soon(controller.run)
    answers: list[str] = []

    async def one(number: int) -> None:
        answers.append(await create(registries[number % 2], "secrets", secret(number)))
        if number in (9, 29):
            name = "gone" if number == 9 else "gone-too"
            await registries[0].of("configmaps").store.delete("default", name, DeleteOptions())

    with trio.fail_after(20):
        async with trio.open_nursery() as all_of_them:
            for number in range(50):
                all_of_them.start_soon(one, number)
    assert answers.count("") == 10
    assert await stored(registries[0], "secrets") == 10
    assert (await used(registries[0]))["count/secrets"] == "10"
    refused = next(text for text in answers if text)
    assert refused.endswith(
        "is forbidden: exceeded quota: q, requested: count/secrets=1, used: count/secrets=10, limited: count/secrets=10"
    )


async def test_every_quota_must_agree(registries: list[Registry]) -> None:
    registry = registries[0]
    await limit(registry, "a", secrets="2")
    await limit(registry, "b", count__secrets="1")
    assert await create(registry, "secrets", secret(1)) == ""
    assert "exceeded quota: b, requested: count/secrets=1" in await create(registry, "secrets", secret(2))
    assert await used(registry, "a") == {"secrets": "1"}
    assert await create(registry, "configmaps", {"metadata": {"name": "c"}}) == ""


async def test_a_dry_run_takes_nothing(registries: list[Registry]) -> None:
    registry = registries[0]
    await limit(registry, secrets="1")
    assert await create(registry, "secrets", secret(1), dry_run=True) == ""
    assert await used(registry) == {"secrets": "0"}
    assert await create(registry, "secrets", secret(1)) == ""
    assert "exceeded quota" in await create(registry, "secrets", secret(2), dry_run=True)


async def test_what_containers_request_is_charged(registries: list[Registry]) -> None:
    registry = registries[0]
    await limit(registry, requests_cpu="1")

    def pod(**resources: Any) -> Object:
        return {
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]},
        }

    assert await create(registry, "pods", pod()) == (
        'pods "p" is forbidden: failed quota: q: must specify requests.cpu for: c'
    )
    assert await create(registry, "pods", pod(requests={"cpu": "5"})) == (
        'pods "p" is forbidden: exceeded quota: q, requested: requests.cpu=5, used: requests.cpu=0, '
        "limited: requests.cpu=1"
    )
    assert await create(registry, "pods", pod(requests={"cpu": "250m"})) == ""
    assert await used(registry) == {"requests.cpu": "250m"}


async def test_a_service_that_becomes_more_is_charged_with_the_difference(registries: list[Registry]) -> None:
    registry = registries[0]
    await limit(registry, services_nodeports="1", services="5")
    ports: list[Object] = [{"name": "a", "port": 1}]
    assert await create(registry, "services", {"metadata": {"name": "s"}, "spec": {"ports": ports}}) == ""
    assert await used(registry) == {"services": "1", "services.nodeports": "0"}
    service = (await registry.of("services").store.get("default", "s")).object()
    service["spec"]["type"] = "NodePort"
    await registry.update(registry.of("services"), "default", "s", service, WriteOptions())
    assert await used(registry) == {"services": "1", "services.nodeports": "1"}
    del service["metadata"]["resourceVersion"]
    service["spec"]["ports"] = [*ports, {"name": "b", "port": 2}]
    with pytest.raises(StatusError, match=r"requested: services.nodeports=1, used: services.nodeports=1"):
        await registry.update(registry.of("services"), "default", "s", service, WriteOptions())


async def test_a_quota_that_has_just_gone_limits_nothing(registries: list[Registry]) -> None:
    """The cache still knows it."""
    registry = registries[0]
    await limit(registry, secrets="1")
    (plugin,) = (plugin for plugin in registry.admission.plugins if isinstance(plugin, ResourceQuota))
    shown = plugin.listers.list("resourcequotas", "default")
    await registry.of("resourcequotas").store.delete("default", "q", DeleteOptions())
    await registry.refresh()

    class Late:
        def list(self, *_: str) -> list[Object]:
            return list(shown)

    plugin.listers = Late()  # type: ignore[assignment]
    assert await create(registry, "secrets", secret(1)) == ""


def test_consumption_without_quota_is_not_offered() -> None:
    configured: Setup = attrs.evolve(setup(Cluster()), configuration={"limitedResources": [{"resource": "pods"}]})
    with pytest.raises(ConfigurationError, match="limitedResources"):
        ResourceQuota(configured)
