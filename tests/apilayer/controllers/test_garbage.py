"""What becomes of objects whose owners are gone or go: as tables, as a graph, and over a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from apilayer.client.interface import Ref
from apilayer.controllers.garbage import Delete, Disown, Graph, Keep, Node, Owner, judge, node_of
from apilayer.controllers.garbage_collector import GarbageCollector

if TYPE_CHECKING:
    from tests.apilayer.controllers.conftest import World

Object = dict[str, Any]
SOLID, WAITING, ABSENT = Owner.SOLID, Owner.WAITING, Owner.ABSENT


def node(uid: str, *owners: str, blocks: bool = False, foreground: bool = False) -> Node:
    held = frozenset(owners)
    return Node(uid, Ref("pods", "default", uid), held, held if blocks else frozenset(), foreground)


def thing(*finalizers: str, ending: bool = False) -> Object:
    metadata: Object = {"name": "x", "uid": "u", "finalizers": list(finalizers)}
    if ending:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata}


@pytest.mark.parametrize(
    ("obj", "owners", "dependents", "expected"),
    [
        (thing(), {}, [], Keep()),
        (thing(), {"a": SOLID}, [], Keep()),
        (thing(), {"a": ABSENT}, [], Delete("Background")),
        (thing(ending=True), {"a": ABSENT}, [], Keep()),
        (thing(), {"a": ABSENT, "b": ABSENT}, [], Delete("Background")),
        (thing(), {"a": ABSENT, "b": SOLID}, [], Disown(frozenset({"a"}))),
        (thing(), {"a": WAITING, "b": SOLID}, [], Disown(frozenset({"a"}))),
        (thing(), {"a": WAITING}, [], Delete("Background")),
        (thing(), {"a": WAITING}, [node("d", "u")], Delete("Foreground")),
        (thing(), {"a": WAITING}, [node("d", "u", foreground=True)], Delete("Foreground", unblock=True)),
        (thing(), {"a": ABSENT}, [node("d", "u")], Delete("Background")),
        (thing("orphan"), {"a": ABSENT}, [], Delete("Orphan")),
        (thing("foregroundDeletion"), {"a": ABSENT}, [], Delete("Foreground")),
        (thing("example.com/other"), {"a": ABSENT}, [], Delete("Background")),
    ],
)
def test_decisions(obj: Object, owners: dict[str, Owner], dependents: list[Node], expected: object) -> None:
    assert judge(obj, owners, dependents) == expected


def test_the_graph_knows_dependents_by_owner() -> None:
    graph = Graph()
    graph.put(node("a", "x", "y"))
    graph.put(node("b", "y"))
    graph.put(node("alone"))
    assert len(graph) == 2, "what has no owners costs nothing"
    assert [found.uid for found in graph.dependents("y")] == ["a", "b"]
    graph.put(node("a", "x"))
    assert [found.uid for found in graph.dependents("y")] == ["b"]
    graph.remove("b")
    graph.remove("never there")
    assert graph.dependents("y") == []


def test_the_graph_knows_owners_that_wait() -> None:
    graph = Graph()
    graph.put(node("owner", foreground=True))
    graph.put(node("a", "owner", "another"))
    assert graph.waiting_owners("a") == [Ref("pods", "default", "owner")]
    graph.remove("owner")
    assert graph.waiting_owners("a") == []


def test_what_is_kept_of_an_object() -> None:
    references = [{"uid": "a", "blockOwnerDeletion": True}, {"uid": "b"}]
    metadata = {"uid": "u", "ownerReferences": references}
    found = node_of({"metadata": metadata}, Ref("pods", "n", "p"))
    assert (found.owners, found.blocks, found.foreground) == (frozenset("ab"), frozenset("a"), False)


# ---------------------------------------------------------------------- over a real store


def config(name: str) -> Ref:
    return Ref("configmaps", "default", name)


def owned(name: str, *owners: Object, blocks: bool = False, **metadata: Any) -> Object:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": blocks,
        }
        for owner in owners
    ]
    return {"metadata": {"name": name, "ownerReferences": references, **metadata}}


async def family(world: World, *, blocks: bool = True) -> Object:
    """An owner, what it owns, and what that owns."""
    owner = await world.create("configmaps", {"metadata": {"name": "owner"}})
    child = await world.create("configmaps", owned("child", owner, blocks=blocks))
    await world.create("configmaps", owned("grandchild", child, blocks=blocks))
    return owner


async def test_background(world: World) -> None:
    await world.start(GarbageCollector)
    await family(world)
    await world.delete(config("owner"), "Background")
    assert await world.get(config("owner")) is None, "the owner goes at once"
    await world.gone(config("child"))
    await world.gone(config("grandchild"))


async def test_foreground(world: World) -> None:
    """The owner goes last, also when something of its own holds a dependent back."""
    await world.start(GarbageCollector)
    owner = await world.create("configmaps", {"metadata": {"name": "owner"}})
    await world.create("configmaps", owned("child", owner, blocks=True, finalizers=["example.com/wait"]))
    await world.delete(config("owner"), "Foreground")
    child = await world.until(config("child"), lambda obj: obj is None or "deletionTimestamp" in obj["metadata"])
    assert child is not None
    waiting = await world.get(config("owner"))
    assert waiting is not None
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]

    def release(old: Object) -> Object:
        del old["metadata"]["finalizers"]
        return old

    await world.change(config("child"), release)
    await world.gone(config("owner"))


async def test_foreground_of_three_generations(world: World) -> None:
    await world.start(GarbageCollector)
    await family(world)
    await world.delete(config("owner"), "Foreground")
    await world.gone(config("owner"))
    assert await world.get(config("child")) is None
    assert await world.get(config("grandchild")) is None


async def test_foreground_does_not_wait_for_what_does_not_block(world: World) -> None:
    await world.start(GarbageCollector)
    owner = await world.create("configmaps", {"metadata": {"name": "owner"}})
    await world.create("configmaps", owned("child", owner, finalizers=["example.com/wait"]))
    await world.delete(config("owner"), "Foreground")
    await world.gone(config("owner"))


async def test_two_that_own_each_other_end(world: World) -> None:
    await world.start(GarbageCollector)
    one = await world.create("configmaps", {"metadata": {"name": "one"}})
    two = await world.create("configmaps", owned("two", one, blocks=True))
    reference = owned("one", two, blocks=True)["metadata"]["ownerReferences"]
    await world.change(
        config("one"), lambda old: {**old, "metadata": {**old["metadata"], "ownerReferences": reference}}
    )
    await world.delete(config("one"), "Foreground")
    await world.gone(config("one"))
    await world.gone(config("two"))


async def test_orphan(world: World) -> None:
    await world.start(GarbageCollector)
    await family(world)
    await world.delete(config("owner"), "Orphan")
    await world.gone(config("owner"))
    child = await world.get(config("child"))
    assert child is not None
    assert "ownerReferences" not in child["metadata"]
    grandchild = await world.get(config("grandchild"))
    assert grandchild is not None
    assert grandchild["metadata"]["ownerReferences"][0]["name"] == "child"


async def test_one_owner_of_two_gone(world: World) -> None:
    await world.start(GarbageCollector)
    one = await world.create("configmaps", {"metadata": {"name": "one"}})
    two = await world.create("configmaps", {"metadata": {"name": "two"}})
    await world.create("configmaps", owned("child", one, two))
    await world.delete(config("one"), "Background")
    child = await world.until(config("child"), lambda obj: obj is None or len(obj["metadata"]["ownerReferences"]) == 1)
    assert child is not None
    assert child["metadata"]["ownerReferences"][0]["name"] == "two"


async def test_an_owner_that_never_was(world: World) -> None:
    """And one of the same name that is another object."""
    await world.start(GarbageCollector)
    owner = await world.create("configmaps", {"metadata": {"name": "owner"}})
    stranger = {"metadata": {"name": "owner", "uid": "00000000-0000-0000-0000-000000000000"}}
    await world.create("configmaps", owned("child", stranger))
    await world.gone(config("child"))
    assert await world.get(config("owner")) == owner


async def test_what_was_left_over_before_the_start(world: World) -> None:
    await family(world)
    await world.delete(config("owner"), "Background")
    await world.start(GarbageCollector)
    await world.gone(config("grandchild"))


@pytest.mark.parametrize(
    "reference",
    [
        {"apiVersion": "example.com/v1", "kind": "Unheard", "name": "x", "uid": "1"},
        {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "0"},
    ],
)
async def test_owners_of_other_kinds(world: World, reference: Object) -> None:
    """A kind that is not served says nothing; a cluster-scoped one that is not there does."""
    (collector,) = await world.start(GarbageCollector)
    await world.create("configmaps", {"metadata": {"name": "child", "ownerReferences": [reference]}})
    if reference["kind"] == "Node":
        await world.gone(config("child"))
        return
    await world.idle(collector)
    assert await world.get(config("child")) is not None


async def test_a_cluster_scoped_object_cannot_be_owned_from_within_a_namespace(world: World) -> None:
    (collector,) = await world.start(GarbageCollector)
    stranger = {"metadata": {"name": "x", "uid": "00000000-0000-0000-0000-000000000000"}}
    role = owned("role", stranger)
    await world.create("clusterroles.rbac.authorization.k8s.io", role)
    await world.idle(collector)
    assert await world.get(Ref("clusterroles.rbac.authorization.k8s.io", "", "role")) is not None


async def test_changes_that_concern_nobody_cost_no_request(world: World) -> None:
    (collector,) = await world.start(GarbageCollector)
    owner = await world.create("configmaps", {"metadata": {"name": "owner"}})
    await world.create("configmaps", owned("child", owner))
    await world.idle(collector)
    asked = []
    get = collector.cluster.get

    async def counted(ref: Ref) -> Object:
        asked.append(ref)
        return await get(ref)

    collector.cluster.get = counted  # type: ignore[method-assign]
    await world.change(config("child"), lambda old: {**old, "data": {"a": "1"}})
    await world.idle(collector)
    assert asked == []
