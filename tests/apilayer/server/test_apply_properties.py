"""Server-side apply through the whole server, on an object with maps, lists by key, sets and a status."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.apilayer.in_process import Server, serving

Object = dict[str, Any]

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
APPLY = "application/apply-patch+yaml"
HEAD = {"apiVersion": "apps/v1", "kind": "Deployment"}
few = settings(deadline=None, max_examples=8)


@attrs.frozen
class Wish:
    """What a manager wants of the object; nobody else names these keys when `owner` is its own."""

    owner: str
    labels: dict[str, str]
    containers: dict[str, list[int]]
    finalizers: list[str]

    def config(self, name: str) -> Object:
        metadata: Object = {"name": name}
        if self.labels:
            metadata["labels"] = {f"{self.owner}-{key}": value for key, value in self.labels.items()}
        if self.finalizers:
            metadata["finalizers"] = [f"{self.owner}.example.com/{key}" for key in self.finalizers]
        containers = [
            {"name": f"{self.owner}-{key}", "image": "i", "ports": [{"containerPort": port} for port in ports]}
            for key, ports in self.containers.items()
        ]
        spec = {"spec": {"template": {"spec": {"containers": containers}}}} if containers else {}
        return {**HEAD, "metadata": metadata, **spec}


def wishes(owner: str) -> st.SearchStrategy[Wish]:
    letters = st.sampled_from("abc")
    return st.builds(
        Wish,
        st.just(owner),
        st.dictionaries(letters, st.sampled_from("12"), max_size=2),
        st.dictionaries(letters, st.lists(st.sampled_from([80, 81, 443]), unique=True, max_size=2), max_size=2),
        st.lists(letters, unique=True, max_size=2),
    )


BASE = {
    **HEAD,
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "base", "image": "i"}]},
        },
    },
}


async def start(server: Server, name: str) -> None:
    """An object that somebody else has applied and goes on holding."""
    answer = await apply(server, name, {**BASE, "metadata": {"name": name}}, "base")
    assert answer["metadata"]["generation"] == 1


async def apply(server: Server, name: str, config: Object, manager: str, subresource: str = "", **query: str) -> Any:
    """What an apply answers, which must succeed."""
    asked = "".join(f"&{key}={value}" for key, value in query.items())
    target = f"{DEPLOYMENTS}/{name}{subresource}?fieldManager={manager}{asked}"
    answer = await server.request("PATCH", target, config, content_type=APPLY)
    assert answer.status in (200, 201), answer.body
    return answer.json


def shown(obj: Object) -> Object:
    """What managers can have wished for, lists in one order."""
    containers = obj["spec"]["template"]["spec"]["containers"]
    return {
        "labels": obj["metadata"].get("labels") or {},
        "finalizers": sorted(obj["metadata"].get("finalizers") or ()),
        "containers": {
            item["name"]: sorted(port["containerPort"] for port in item.get("ports") or ()) for item in containers
        },
    }


def owned(obj: Object) -> dict[str, Any]:
    """The fields of each manager."""
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


async def two_managers(one: Wish, two: Wish) -> None:
    async with serving() as server:
        for name in "ab":
            await start(server, name)
        alone = await apply(server, "a", one.config("a"), "one")
        both = await apply(server, "a", two.config("a"), "two")
        await apply(server, "b", two.config("b"), "two")
        other = await apply(server, "b", one.config("b"), "one")
        assert shown(both) == shown(other), "the order of applies does not matter"
        assert owned(both) == owned(other)
        before = both
        for manager, wish in (("one", one), ("two", two)):
            again = await apply(server, "a", wish.config("a"), manager)
            assert (shown(again), owned(again)) == (shown(both), owned(both)), "who repeats himself changes nothing"
            # An empty list is not kept, so each apply of it is a change, which takes the time when it was made.
            if all(wish.containers.values()):
                assert again == before, "not even a time"
            before = again
        released = await apply(server, "a", Wish("two", {}, {}, []).config("a"), "two")
        assert shown(released) == shown(alone), "what one lets go goes, and nothing else"
        assert owned(released) == owned(alone)


@few
@given(wishes("one"), wishes("two"))
def test_managers_of_different_fields_do_not_meet(one: Wish, two: Wish) -> None:
    trio.run(two_managers, one, two)


async def shared(wish: Wish, changed: Wish) -> None:
    """Two managers wish for the same; one changes its mind."""
    async with serving() as server:
        await start(server, "a")
        first = await apply(server, "a", wish.config("a"), "one")
        second = await apply(server, "a", wish.config("a"), "two")
        assert owned(second).get("one") == owned(second).get("two") == owned(first).get("one")
        gone = await apply(server, "a", Wish("x", {}, {}, []).config("a"), "one")
        assert shown(gone) == shown(second), "what somebody else still wants stays"
        await apply(server, "a", wish.config("a"), "one")
        target = f"{DEPLOYMENTS}/a?fieldManager=one"
        answer = await server.request("PATCH", target, changed.config("a"), content_type=APPLY)
        differs = any(changed.labels.get(key, value) != value for key, value in wish.labels.items())
        assert answer.status == (409 if differs else 200), "only values are argued about"
        forced = await apply(server, "a", changed.config("a"), "one", force="true")
        labels = shown(forced)["labels"]
        assert {**labels, **changed.config("a")["metadata"].get("labels", {})} == labels
        mine = owned(forced).get("two", {}).get("f:metadata", {}).get("f:labels", {})
        lost = {key for key, value in wish.labels.items() if changed.labels.get(key, value) != value}
        assert not {f"f:x-{key}" for key in lost} & mine.keys(), "what was taken by force belongs to one alone"


@few
@given(wishes("x"), wishes("x"))
def test_managers_of_the_same_fields_share_them(wish: Wish, changed: Wish) -> None:
    trio.run(partial(shared, wish, changed))


async def status_apart(wish: Wish, replicas: int) -> None:
    async with serving() as server:
        await start(server, "a")
        before = await apply(server, "a", wish.config("a"), "one")
        condition = {"type": "Available", "status": "True"}
        status = {"replicas": replicas, "conditions": [condition]}
        config = {**wish.config("a"), "spec": {"replicas": 7}, "status": status}
        after = await apply(server, "a", config, "watcher", "/status")
        assert after["spec"] == before["spec"], "a status says nothing about the rest"
        assert after["metadata"]["generation"] == before["metadata"]["generation"]
        assert after["status"].get("replicas", 0) == replicas
        assert "f:spec" not in owned(after)["watcher"]
        again = await apply(server, "a", wish.config("a"), "one")
        assert again["status"] == after["status"], "and the rest says nothing about the status"
        assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


@settings(deadline=None, max_examples=8)
@given(wishes("one"), st.integers(0, 2))
def test_the_status_is_apart(wish: Wish, replicas: int) -> None:
    trio.run(status_apart, wish, replicas)
