"""Cluster IPs and node ports over a real store: reserved once, freed, mended, shared by several servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from apilayer.api.services.audit import ROUNDS
from apilayer.api.services.ranges import parse_ip_ranges, parse_port_range
from apilayer.api.status import StatusError
from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.options import DeleteOptions, WriteOptions
from apilayer.registry.registry import Registry
from apilayer.registry.services.pool import ServiceNetwork
from apilayer.registry.services.ports import KEY
from apilayer.registry.services.repair import Repair
from apilayer.registry.services.store import ServiceStore
from apilayer.storage.interface import OutcomeUnknown

if TYPE_CHECKING:
    from apilayer.storage.kvraft_backend import KvraftStore

PLAIN = WriteOptions()
DRY = WriteOptions(dry_run=True)
GONE = DeleteOptions()
Object = dict[str, Any]


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80, "protocol": "TCP"}], **spec}}


async def create(registry: Registry, obj: Object, options: WriteOptions = PLAIN) -> Object:
    entry = await registry.create(registry.of("services"), "default", obj, options)
    spec: Object = entry.object()["spec"]
    return spec


async def addresses(registry: Registry) -> dict[str, str]:
    """Who has which address."""
    api = registry.of("ipaddresses.networking.k8s.io")
    await api.lists.refresh()
    objects = [entry.object() for entry in registry.cache.of(api.resource).entries()]
    return {obj["metadata"]["name"]: obj["spec"]["parentRef"]["name"] for obj in objects}


async def refusal(registry: Registry, obj: Object, options: WriteOptions = PLAIN) -> str:
    with pytest.raises(StatusError) as caught:
        await create(registry, obj, options)
    return str(caught.value)


@pytest.fixture
async def second(store: KvraftStore, registry: Registry, nursery: trio.Nursery) -> Registry:
    """Another server over the same store."""
    other = Registry(store)
    nursery.start_soon(other.cache.run)
    await other.cache.loaded.wait()
    await bootstrap(other)
    return other


async def test_an_address_and_a_port_are_reserved_and_freed(registry: Registry) -> None:
    spec = await create(registry, service("a", type="NodePort"))
    assert await addresses(registry) == {spec["clusterIP"]: "a"}
    assert registry.ports.all_taken == {spec["ports"][0]["nodePort"]}
    await registry.of("services").store.delete("default", "a", GONE)
    assert await addresses(registry) == {}
    assert registry.ports.all_taken == frozenset()


async def test_the_address_object_says_whose_it_is(registry: Registry) -> None:
    spec = await create(registry, service("a", clusterIP="10.0.0.9"))
    assert spec["clusterIPs"] == ["10.0.0.9"]
    obj = (await registry.of("ipaddresses.networking.k8s.io").store.get("", "10.0.0.9")).object()
    assert obj["spec"] == {"parentRef": {"resource": "services", "namespace": "default", "name": "a"}}
    assert obj["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4",
        "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
    }
    assert obj["metadata"]["managedFields"][0]["manager"] == "kube-apiserver"


async def test_what_is_taken_is_refused_until_it_is_free(registry: Registry) -> None:
    wanted = {"type": "NodePort", "clusterIP": "10.0.0.9", "ports": [{"port": 80, "nodePort": 30001}]}
    await create(registry, service("a", **wanted))
    assert "10.0.0.9: provided IP is already allocated" in await refusal(registry, service("b", clusterIP="10.0.0.9"))
    other = service("b", type="NodePort", ports=[{"port": 80, "nodePort": 30001}])
    assert "30001: provided port is already allocated" in await refusal(registry, other)
    assert set(await addresses(registry)) == {"10.0.0.9"}, "what the refused service chose is free again"
    await registry.of("services").store.delete("default", "a", GONE)
    await create(registry, service("b", **wanted))


async def test_a_dry_run_reserves_nothing(registry: Registry) -> None:
    ports = [{"name": name, "port": number, "protocol": "TCP"} for name, number in (("a", 80), ("b", 81))]
    for _ in range(2):
        spec = await create(registry, service("a", type="NodePort", ports=ports), DRY)
        assert (spec["clusterIP"], spec["clusterIPs"]) == ("10.0.0.0", ["10.0.0.0"]), "a placeholder"
        assert [port["nodePort"] for port in spec["ports"]] == [32769, 32770]
    assert await addresses(registry) == {}
    assert registry.ports.all_taken == frozenset()
    spec = await create(registry, service("a"))
    assert "already allocated" in await refusal(registry, service("b", clusterIP=spec["clusterIP"]), DRY)
    changed = {**service("a", type="NodePort"), "spec": {**spec, "type": "NodePort"}}
    api = registry.of("services")
    entry, _ = await registry.update(api, "default", "a", changed, DRY)
    tried = entry.object()["spec"]
    assert (tried["clusterIP"], tried["ports"][0]["nodePort"]) == (spec["clusterIP"], 32769)
    assert registry.ports.all_taken == frozenset()


async def test_a_service_that_is_refused_for_another_reason_keeps_nothing(registry: Registry) -> None:
    await create(registry, service("a"))
    before = await addresses(registry)
    assert "already exists" in await refusal(registry, service("a", type="NodePort"))
    assert await addresses(registry) == before
    assert registry.ports.all_taken == frozenset()


async def test_a_change_of_type_reserves_and_frees(registry: Registry) -> None:
    store = registry.of("services").store
    await create(registry, service("a", type="NodePort"))

    def becomes(**spec: Any) -> Any:
        return lambda old: {**old, "spec": {**old["spec"], **spec}}

    await store.patch("default", "a", becomes(type="ClusterIP"), PLAIN)
    assert registry.ports.all_taken == frozenset()
    assert len(await addresses(registry)) == 1
    await store.patch("default", "a", becomes(type="ExternalName", externalName="x.y"), PLAIN)
    assert await addresses(registry) == {}
    entry = await store.patch("default", "a", becomes(type="NodePort"), PLAIN)
    assert set(await addresses(registry)) == {entry.object()["spec"]["clusterIP"]}
    assert len(registry.ports.all_taken) == 1


async def test_a_service_held_by_a_finalizer_frees_when_it_goes(registry: Registry) -> None:
    store = registry.of("services").store
    obj = service("a")
    obj["metadata"]["finalizers"] = ["example.com/wait"]
    await create(registry, obj)
    await store.delete("default", "a", GONE)
    assert len(await addresses(registry)) == 1

    def release(old: Object) -> Object:
        del old["metadata"]["finalizers"]
        return old

    await store.patch("default", "a", release, PLAIN)
    assert await addresses(registry) == {}


async def test_two_servers_never_give_out_the_same(registry: Registry, second: Registry) -> None:
    """Each creates as many services as half the ports hold, at the same time, from a range of few ports."""
    specs: list[Object] = []

    async def some(server: Registry, prefix: str) -> None:
        for number in range(10):
            spec = await create(server, service(f"{prefix}{number}", type="NodePort"))
            specs.append(spec)

    async with trio.open_nursery() as nursery:
        for server, prefix in ((registry, "a"), (registry, "b"), (second, "c"), (second, "d")):
            nursery.start_soon(some, server, prefix)
    assert len({spec["clusterIP"] for spec in specs}) == 40
    assert len({spec["ports"][0]["nodePort"] for spec in specs}) == 40
    assert set(await addresses(second)) == {spec["clusterIP"] for spec in specs}


async def test_one_address_asked_for_at_two_servers_goes_to_one(registry: Registry, second: Registry) -> None:
    outcomes: list[str] = []

    async def ask(server: Registry, name: str) -> None:
        try:
            await create(server, service(name, clusterIP="10.0.0.7"))
            outcomes.append("created")
        except StatusError as error:
            outcomes.append(str(error).rpartition(": ")[2])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, registry, "a")
        nursery.start_soon(ask, second, "b")
    assert sorted(outcomes) == ["created", "provided IP is already allocated"]


async def test_what_another_server_freed_can_be_had(registry: Registry, second: Registry) -> None:
    wanted = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30001}]}
    await create(registry, service("a", **wanted))
    assert "already allocated" in await refusal(second, service("b", **wanted))
    await registry.of("services").store.delete("default", "a", GONE)
    await create(second, service("b", **wanted))


async def test_a_range_that_is_full(store: KvraftStore, nursery: trio.Nursery) -> None:
    small = Registry(store, network=ServiceNetwork(parse_ip_ranges("10.9.0.0/29"), parse_port_range("30000-30001")))
    nursery.start_soon(small.cache.run)
    await small.cache.loaded.wait()
    await bootstrap(small)
    for number in range(6):
        await create(small, service(f"s{number}"))
    assert "failed to allocate a serviceIP: range is full" in await refusal(small, service("more"))
    nursery.cancel_scope.cancel()


async def test_a_further_cidr_is_used_when_the_first_is_full(store: KvraftStore, nursery: trio.Nursery) -> None:
    small = Registry(store, network=ServiceNetwork(parse_ip_ranges("10.9.0.0/29"), parse_port_range("30000-30001")))
    nursery.start_soon(small.cache.run)
    await small.cache.loaded.wait()
    await bootstrap(small)
    cidrs = small.of("servicecidrs.networking.k8s.io")
    await cidrs.store.create("", {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.10.0.0/29"]}}, PLAIN)
    await cidrs.lists.refresh()
    found = [(await create(small, service(f"s{number}")))["clusterIP"] for number in range(12)]
    assert sum(ip.startswith("10.10.") for ip in found) == 6
    nursery.cancel_scope.cancel()


async def test_the_default_cidr_is_there_and_ready(registry: Registry) -> None:
    obj = (await registry.of("servicecidrs.networking.k8s.io").store.get("", "kubernetes")).object()
    assert obj["spec"] == {"cidrs": ["10.0.0.0/24"]}
    condition = obj["status"]["conditions"][0]
    assert (condition["type"], condition["status"]) == ("Ready", "True")
    assert condition["message"] == "Kubernetes default Service CIDR is ready"


async def test_repair_records_what_is_held(registry: Registry, store: KvraftStore) -> None:
    spec = await create(registry, service("a", type="NodePort"))
    await registry.of("ipaddresses.networking.k8s.io").store.delete("", spec["clusterIP"], GONE)
    record, _ = await store.get(KEY)
    assert record is not None
    await store.delete(KEY, record.revision)
    await Repair(registry).once()
    assert await addresses(registry) == {spec["clusterIP"]: "a"}
    assert registry.ports.all_taken == {spec["ports"][0]["nodePort"]}


async def test_repair_frees_what_nobody_holds_only_after_some_rounds(registry: Registry) -> None:
    services = registry.of("services").store
    assert isinstance(services, ServiceStore)
    await services.hold_address("10.0.0.20", "default", "never-created")
    await registry.ports.take([30005])
    repair = Repair(registry)
    for _ in range(ROUNDS - 1):
        await repair.once()
        assert set(await addresses(registry)) == {"10.0.0.20"}
    await repair.once()
    assert await addresses(registry) == {}
    assert registry.ports.all_taken == frozenset()


async def test_repair_leaves_addresses_of_others_alone(registry: Registry) -> None:
    api = registry.of("ipaddresses.networking.k8s.io")
    parent = {"resource": "gateways", "group": "example.com", "namespace": "default", "name": "g"}
    await api.store.create("", {"metadata": {"name": "10.0.0.30"}, "spec": {"parentRef": parent}}, PLAIN)
    repair = Repair(registry)
    for _ in range(ROUNDS + 1):
        await repair.once()
    assert set(await addresses(registry)) == {"10.0.0.30"}


async def test_a_write_that_may_have_happened_keeps_its_reservation(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Giving the address to the next service could hand it out twice; the repair frees it if need be."""
    create_key = registry.store.create

    async def lost(key: bytes, value: bytes) -> int:
        revision = await create_key(key, value)
        if key.startswith(b"/registry/services/"):
            raise OutcomeUnknown("the connection broke")
        return revision

    monkeypatch.setattr(registry.store, "create", lost)
    with pytest.raises(OutcomeUnknown):
        await create(registry, service("a", clusterIP="10.0.0.7"))
    monkeypatch.undo()
    assert set(await addresses(registry)) == {"10.0.0.7"}
