"""`default/kubernetes` and its endpoints, as the running servers are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trio

from apilayer.api.services import kubernetes
from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.registry import Registry
from apilayer.server.kubernetes_service import KubernetesService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.storage.kvraft_backend import KvraftStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
async def registry(store: KvraftStore, nursery: trio.Nursery) -> AsyncIterator[Registry]:
    registry = Registry(store)
    nursery.start_soon(registry.cache.run)
    await registry.cache.loaded.wait()
    await bootstrap(registry)
    yield registry
    nursery.cancel_scope.cancel()


async def obj(registry: Registry, group_resource: str) -> Any:
    return (await registry.of(group_resource).store.get("default", "kubernetes")).object()


async def endpoints(registry: Registry) -> tuple[list[str], list[str]]:
    """The addresses in the Endpoints and in the EndpointSlice."""
    subsets = (await obj(registry, "endpoints")).get("subsets") or [{"addresses": []}]
    found = (await obj(registry, "endpointslices.discovery.k8s.io")).get("endpoints") or []
    return [item["ip"] for item in subsets[0]["addresses"]], [item["addresses"][0] for item in found]


async def test_the_service_has_the_first_address(registry: Registry) -> None:
    await KubernetesService(registry, "192.0.2.9", 6443).once()
    service = await obj(registry, "services")
    assert service["spec"]["clusterIP"] == "10.0.0.1"
    assert service["spec"]["ports"] == [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}]
    assert service["metadata"]["labels"] == {"component": "apiserver", "provider": "kubernetes"}
    published = await obj(registry, "endpoints")
    assert published["subsets"] == [
        {"addresses": [{"ip": "192.0.2.9"}], "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}
    ]


async def test_endpoints_are_the_servers_that_are_there(registry: Registry) -> None:
    clock = Clock()
    one = KubernetesService(registry, "192.0.2.9", 6443, clock)
    two = KubernetesService(registry, "192.0.2.10", 6443, clock)
    await one.once()
    await two.once()
    assert await endpoints(registry) == (["192.0.2.9", "192.0.2.10"],) * 2
    clock.now += timedelta(seconds=kubernetes.LIVE_SECONDS + 1)
    await one.once()
    assert await endpoints(registry) == (["192.0.2.9"],) * 2, "the other one has not been heard of"
    await two.once()
    await two.withdraw()
    assert await endpoints(registry) == (["192.0.2.9"],) * 2, "the other one has said good-bye"
    await one.withdraw()
    assert await endpoints(registry) == ([], [])


async def test_leases_of_servers_that_never_come_back_go(registry: Registry) -> None:
    clock = Clock()
    await KubernetesService(registry, "192.0.2.10", 6443, clock).once()
    clock.now += timedelta(seconds=kubernetes.LEASE_SECONDS + 1)
    await KubernetesService(registry, "192.0.2.9", 6443, clock).once()
    leases = registry.of("leases.coordination.k8s.io")
    await leases.lists.refresh()
    assert len(registry.cache.of(leases.resource).entries()) == 1


async def test_a_round_without_news_writes_only_the_lease(registry: Registry) -> None:
    clock = Clock()
    server = KubernetesService(registry, "192.0.2.9", 6443, clock)
    await server.once()
    before = await registry.store.current_revision()
    clock.now += timedelta(seconds=10)
    await server.once()
    assert await registry.store.current_revision() == before + 1


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "169.254.1.1", ""])  # noqa: S104 - no bind
def test_addresses_that_mean_nothing_to_others(address: str) -> None:
    assert not kubernetes.is_publishable(address)


async def test_a_loopback_server_publishes_nothing(registry: Registry) -> None:
    await KubernetesService(registry, "127.0.0.1", 6443).once()
    assert await endpoints(registry) == ([], [])


async def test_a_server_publishes_itself_while_it_runs(start_server: Any) -> None:
    async with start_server(advertise_address="192.0.2.9") as server, server.connect() as client:
        with trio.fail_after(10):
            while True:
                answer = await client.request("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
                if answer.status == 200:
                    break
        assert answer.json["subsets"][0]["addresses"] == [{"ip": "192.0.2.9"}]
        assert answer.json["subsets"][0]["ports"][0]["port"] == server.port
