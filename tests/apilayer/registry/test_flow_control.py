"""The objects of flow control: made, kept as they are to be, left to those who took them over; and their status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from apilayer.pipeline.request_info import parse
from apilayer.registry.flow_control import (
    AUTOUPDATE,
    LEVELS,
    PRODUCER,
    SCHEMAS,
    CachedFlowControl,
    FlowControlKeeper,
    default_objects,
    kept,
)
from apilayer.registry.options import DeleteOptions
from tests.apilayer.in_process import serving

if TYPE_CHECKING:
    from apilayer.registry.registry import Registry

Object = dict[str, Any]


async def get(registry: Registry, resource: str, name: str) -> Object:
    await registry.refresh()
    found = registry.listers.get(resource, "", name)
    assert found is not None
    return found


async def test_a_cluster_gets_them_and_keeps_them() -> None:
    async with serving() as server:
        registry = server.registry
        keeper = FlowControlKeeper(registry)
        source = CachedFlowControl(registry)
        empty = source.version()
        await keeper.maintain()
        await keeper.maintain()
        await registry.refresh()
        assert source.version() != empty
        await keeper.report()
        schema = await get(registry, SCHEMAS, "kube-scheduler")
        assert schema["metadata"]["annotations"] == {AUTOUPDATE: "true"}
        assert [(entry["manager"], entry["operation"]) for entry in schema["metadata"]["managedFields"]] == [
            ("api-priority-and-fairness-config-consumer-v1", "Apply"),
            ("api-priority-and-fairness-config-producer-v1", "Update"),
        ]
        [condition] = schema["status"]["conditions"]
        assert condition | {"lastTransitionTime": ""} == {
            "type": "Dangling",
            "status": "False",
            "reason": "Found",
            "lastTransitionTime": "",
            "message": 'This FlowSchema references the PriorityLevelConfiguration object named "workload-high" and it'
            " exists",
        }
        assert len(source.schemas()) == 11
        assert len(source.levels()) == 8

        await _meddle(registry)
        await keeper.maintain()
        await registry.refresh()
        await keeper.report()
        await _check_after(registry)
        before = registry.cache.revision
        await keeper.maintain()
        await keeper.report()
        await registry.refresh()
        assert registry.cache.revision == before


async def _meddle(registry: Registry) -> None:
    """What people do to them."""
    levels, schemas = registry.of(LEVELS).store, registry.of(SCHEMAS).store

    def shares(count: int, annotations: Object | None = None) -> Any:
        def change(old: Object) -> Object:
            old["spec"]["limited"]["nominalConcurrencyShares"] = count
            if annotations is not None:
                old["metadata"]["annotations"] = annotations
            return old

        return change

    await levels.patch("", "system", shares(77), PRODUCER)
    await levels.patch("", "node-high", shares(77, {AUTOUPDATE: "false"}), PRODUCER)
    await levels.patch("", "workload-low", shares(77, {}), PRODUCER)
    await levels.patch("", "leader-election", lambda old: _without_annotations(old), PRODUCER)
    await levels.delete("", "workload-high", DeleteOptions())
    spec = {**default_objects()[0][0]["spec"], "matchingPrecedence": 5}
    mine = {"metadata": {"name": "mine"}, "spec": {**spec, "priorityLevelConfiguration": {"name": "nowhere"}}}
    await schemas.create("", mine, PRODUCER)
    old = {"metadata": {"name": "of-an-older-version", "annotations": {AUTOUPDATE: "true"}}, "spec": spec}
    await schemas.create("", old, PRODUCER)
    await registry.refresh()


def _without_annotations(old: Object) -> Object:
    del old["metadata"]["annotations"]
    return old


async def _check_after(registry: Registry) -> None:
    async def shares(name: str) -> tuple[int, str]:
        found = await get(registry, LEVELS, name)
        return found["spec"]["limited"]["nominalConcurrencyShares"], found["metadata"]["annotations"][AUTOUPDATE]

    assert await shares("system") == (30, "true")
    assert await shares("node-high") == (77, "false")
    assert await shares("workload-low") == (77, "false")
    assert await shares("leader-election") == (10, "true")
    assert await shares("workload-high") == (40, "true")
    assert registry.listers.get(SCHEMAS, "", "of-an-older-version") is None
    [condition] = (await get(registry, SCHEMAS, "mine"))["status"]["conditions"]
    assert (condition["status"], condition["reason"]) == ("True", "NotFound")
    assert condition["message"].endswith('named "nowhere" but there is no such object')


@pytest.mark.parametrize("annotation", ["true", "false"])
def test_the_mandatory_ones_cannot_be_taken_over(annotation: str) -> None:
    for wanted in default_objects()[1]:
        present = orjson.loads(orjson.dumps(wanted))
        present["metadata"]["annotations"] = {AUTOUPDATE: annotation, "other": "1"}
        present["metadata"]["generation"] = 5
        part = "exempt" if wanted["metadata"]["name"] == "exempt" else "limited"
        present["spec"][part]["nominalConcurrencyShares"] = 99
        made = kept(present, wanted)
        name = wanted["metadata"]["name"]
        restored = annotation == "true" or name == "catch-all"
        if name == "exempt":
            restored = False  # these shares are its users' business
        assert (made["spec"][part]["nominalConcurrencyShares"] != 99) is restored, name
        mine = annotation == "false" and name not in ("exempt", "catch-all")
        assert made["metadata"]["annotations"] == {AUTOUPDATE: "false" if mine else "true", "other": "1"}


async def test_estimates_come_from_the_cache() -> None:
    async with serving() as server:
        source = CachedFlowControl(server.registry)
        path = "/api/v1/namespaces/default/configmaps"
        sizes = []
        for number in range(3):
            await server.request("POST", path, {"metadata": {"name": f"c{number}"}, "data": {"x": "y" * 100}})
            await server.registry.refresh()
            sizes.append(source.size("", "configmaps"))
        assert [count for count, _ in sizes] == [1, 2, 3]
        assert sizes[2][1] == 3 * sizes[0][1] > 300
        await server.request("PUT", f"{path}/c0", {"metadata": {"name": "c0"}, "data": {}})
        await server.request("DELETE", f"{path}/c1")
        await server.registry.refresh()
        cache = server.registry.cache.of(server.registry.of("configmaps").resource)
        assert source.size("", "configmaps") == (2, sum(len(entry.item) for entry in cache.entries()))
        assert source.size("", "nothing") == (0, 0)
        watches = [
            await server.watch(f"{target}watch=1")
            for target in (
                *("/api/v1/configmaps?", f"{path}?", "/api/v1/namespaces/other/configmaps?"),
                f"{path}?fieldSelector=metadata.name%3Dc0&",
            )
        ]
        assert source.watchers(parse("PUT", f"{path}/c0")) == 3
        assert source.watchers(parse("PUT", f"{path}/c2")) == 2
        assert source.watchers(parse("POST", path)) == 2
        assert source.watchers(parse("POST", "/api/v1/namespaces/default/secrets")) == 0
        for watch in watches:
            await watch.close()
