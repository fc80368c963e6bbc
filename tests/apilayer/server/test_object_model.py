"""Random operations on objects against a plain model, with watchers from random revisions; no sockets, no clock."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from apilayer.storage.interface import RevisionCompacted
from tests.apilayer.in_process import Answer, Server, Watching, serving
from tests.apilayer.memory_store import MemoryStore
from tests.apilayer.server.object_model import FINALIZER, Model, Selected, Thing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATH = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
MAX_WATCHERS = 6

names = st.sampled_from("abc")
ports = st.integers(1, 3)
values = st.sampled_from(["", "x", "y"])
policies = st.sampled_from(["", "Background", "Foreground"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), names, ports, values, st.booleans()),
        st.tuples(st.just("update"), names, ports, values, st.booleans()),
        st.tuples(st.just("patch"), names, ports, st.sampled_from([MERGE, STRATEGIC, JSON_PATCH])),
        st.tuples(st.just("apply"), names, ports, st.sampled_from(["one", "two"])),
        st.tuples(st.just("hold"), names, st.booleans()),
        st.tuples(st.just("status"), names, st.integers(1, 2)),
        st.tuples(st.just("delete"), names, policies, st.booleans()),
        st.tuples(st.just("delete_collection"), values, policies),
        st.tuples(st.just("watch"), st.integers(0, 40), values),
        st.tuples(st.just("list_at"), st.integers(0, 40), values),
        st.tuples(st.just("compact"), st.integers(0, 5)),
        st.tuples(st.just("reload")),
    ),
    min_size=5,
    max_size=40,
)


def ingress(name: str, port: int, **metadata: Any) -> dict[str, Any]:
    spec = {"defaultBackend": {"service": {"name": "s", "port": {"number": port}}}}
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    return {**head, "metadata": {"name": name, **metadata}, "spec": spec}


@attrs.define
class Follower:
    """An open watch and what it must have shown: `first`, then the changes after a revision, until its end."""

    watching: Watching
    first: list[tuple[str, str, int]]
    after: int
    selected: Selected
    ended_at: int | None = None

    @property
    def shown(self) -> list[tuple[str, str, int]]:
        return [
            (event["type"], event["object"]["metadata"]["name"], int(event["object"]["metadata"]["resourceVersion"]))
            for event in self.watching.taken
        ]


class Play:
    """One server, the model of it, and the operations on both."""

    def __init__(self, server: Server, store: MemoryStore, nursery: trio.Nursery) -> None:
        self.server = server
        self.store = store
        self.nursery = nursery
        self.model = Model(store.revision)
        self.followers: list[Follower] = []

    async def step(self, kind: str, *arguments: Any) -> None:
        operation: Callable[..., Awaitable[None]] = getattr(self, kind)
        await operation(*arguments)
        assert self.store.revision == self.model.revision, "each change is one revision, and nothing else is any"

    def _check(self, answer: Answer, name: str) -> None:
        """The answer shows the object as the model has it."""
        assert Thing.of(answer.json) == self.model.things[name]
        assert answer.json["metadata"]["resourceVersion"] == str(self.model.revisions[name])

    async def _send(self, method: str, name: str, body: Any, content_type: str = "application/json") -> Answer | None:
        """The answer of a request about one object, None when that is not there, as it should be."""
        answer = await self.server.request(method, f"{PATH}/{name}", body, content_type=content_type)
        if name.partition("/")[0].partition("?")[0] in self.model.things:
            return answer
        assert answer.status == 404
        return None

    # ------------------------------------------------------------------ writes

    async def create(self, name: str, port: int, value: str, held: bool) -> None:
        labels = {"l": value} if value else {}
        finalizers = [FINALIZER] if held else []
        body = ingress(name, port, labels=labels, finalizers=finalizers)
        answer = await self.server.request("POST", PATH, body)
        if name in self.model.things:
            assert (answer.status, answer.json["reason"]) == (409, "AlreadyExists")
            return
        assert answer.status == 201
        self.model.put(name, Thing(port, labels, frozenset(finalizers)))
        self._check(answer, name)

    async def update(self, name: str, port: int, value: str, stale: bool) -> None:
        old = self.model.things.get(name, Thing(0))
        labels = {"l": value} if value else {}
        version = str(self.model.revisions.get(name, 1) - stale)
        body = ingress(name, port, labels=labels, finalizers=sorted(old.finalizers), resourceVersion=version)
        answer = await self._send("PUT", name, body)
        if answer is None:
            return
        if stale:
            assert (answer.status, answer.json["reason"]) == (409, "Conflict")
            return
        self.model.put(name, attrs.evolve(old.with_port(port), labels=labels))
        self._check(answer, name)

    async def patch(self, name: str, port: int, content_type: str) -> None:
        body: Any = {"spec": {"defaultBackend": {"service": {"port": {"number": port}}}}}
        if content_type == JSON_PATCH:
            body = [{"op": "replace", "path": "/spec/defaultBackend/service/port/number", "value": port}]
        answer = await self._send("PATCH", name, body, content_type)
        if answer is not None:
            self.model.put(name, self.model.things[name].with_port(port))
            self._check(answer, name)

    async def apply(self, name: str, port: int, manager: str) -> None:
        """Each manager has a label of its own, and takes the port by force."""
        target = f"{PATH}/{name}?fieldManager={manager}&force=true"
        body = ingress(name, port, labels={f"by-{manager}": "1"})
        old = self.model.things.get(name)
        before = self.store.revision
        answer = await self.server.request("PATCH", target, body, content_type=APPLY)
        assert answer.status == (200 if old else 201)
        new = old.with_port(port) if old else Thing(port)
        new = attrs.evolve(new, labels=new.labels | {f"by-{manager}": "1"})
        self.model.put(name, new, touched=self.store.revision != before)  # who owns what is for other tests
        self._check(answer, name)

    async def hold(self, name: str, held: bool) -> None:
        answer = await self._send("PATCH", name, {"metadata": {"finalizers": [FINALIZER] if held else []}}, MERGE)
        if answer is None:
            return
        old = self.model.things[name]
        wanted = frozenset({FINALIZER}) if held else frozenset()
        if old.deleting and wanted - old.finalizers:
            assert (answer.status, answer.json["reason"]) == (422, "Invalid")
            return
        assert answer.status == 200
        self.model.let_go(name, attrs.evolve(old, finalizers=wanted))
        if name in self.model.things:
            self._check(answer, name)

    async def status(self, name: str, number: int) -> None:
        """The rest of the object does not change by its status, whatever the body says."""
        body = {"status": {"loadBalancer": {"ingress": [{"ip": f"10.0.0.{number}"}]}}, "spec": None}
        answer = await self._send("PATCH", f"{name}/status", body, MERGE)
        if answer is not None:
            self.model.put(name, attrs.evolve(self.model.things[name], address=f"10.0.0.{number}"))
            self._check(answer, name)

    async def delete(self, name: str, policy: str, stale: bool) -> None:
        body: dict[str, Any] = {"propagationPolicy": policy} if policy else {}
        if stale:
            body["preconditions"] = {"resourceVersion": str(self.model.revisions.get(name, 1) - 1)}
        answer = await self._send("DELETE", name, body)
        if answer is None:
            return
        if stale:
            assert (answer.status, answer.json["reason"]) == (409, "Conflict")
            return
        assert answer.status == 200
        self.model.delete(name, policy)
        if name in self.model.things:
            self._check(answer, name)
        else:
            assert answer.json["status"] == "Success"

    async def delete_collection(self, value: str, policy: str) -> None:
        selected = Selected(value)
        body = {"propagationPolicy": policy} if policy else None
        answer = await self.server.request("DELETE", f"{PATH}?{selected.query[1:]}", body)
        assert answer.status == 200
        for name in sorted(self.model.things):
            if selected.has(self.model.things[name]):
                self.model.delete(name, policy)

    # ------------------------------------------------------------------ reads and what happens to them

    def _revision(self, pick: int) -> int:
        return self.model.first + pick % (self.model.revision - self.model.first + 1)

    async def watch(self, pick: int, value: str) -> None:
        if len(self.followers) == MAX_WATCHERS:
            return
        selected = Selected(value)
        if pick == 0:
            watching = await self.server.watch(f"{PATH}?watch=1{selected.query}")
            follower = Follower(watching, self.model.initial(selected), self.model.revision, selected)
        else:
            after = self._revision(pick)
            watching = await self.server.watch(f"{PATH}?watch=1&resourceVersion={after}{selected.query}")
            follower = Follower(watching, [], after, selected)
            if after < self.model.window_start:
                await watching.run()
                assert [event["object"]["code"] for event in watching.taken] == [410]
                await watching.close()
                return
        self.followers.append(follower)
        self.nursery.start_soon(watching.run)

    async def list_at(self, pick: int, value: str) -> None:
        revision, selected = self._revision(pick), Selected(value)
        target = f"{PATH}?resourceVersion={revision}&resourceVersionMatch=Exact{selected.query}"
        answer = await self.server.request("GET", target)
        if revision < self.model.compacted:
            assert (answer.status, answer.json["reason"]) == (410, "Expired")
            return
        found = {item["metadata"]["name"]: Thing.of(item) for item in answer.json["items"]}
        expected = self.model.at(revision)
        assert found == {name: thing for name, thing in expected.items() if selected.has(thing)}

    async def compact(self, back: int) -> None:
        revision = max(self.model.first, self.model.revision - back)
        if revision > self.model.compacted:
            await self.store.compact(revision)
            self.model.compacted = revision
        else:
            with pytest.raises(RevisionCompacted):
                await self.store.compact(revision)

    async def reload(self) -> None:
        """The store's watch breaks: watches end with what they have, and the past is gone."""
        await wait_all_tasks_blocked()
        self.store.cut()
        await wait_all_tasks_blocked()
        assert not self.server.registry.cache.synced
        assert await self.server.registry.cache.wait_for(self.store.revision, 10)
        self.model.window_start = self.model.revision
        for follower in self.followers:
            if follower.ended_at is None:
                follower.ended_at = self.model.revision

    async def finish(self) -> None:
        """Every watcher has seen what it had to see, and the list is the model."""
        await wait_all_tasks_blocked()
        for follower in self.followers:
            until = self.model.revision if follower.ended_at is None else follower.ended_at
            expected = follower.first + self.model.events(follower.after, follower.selected, until)
            assert follower.shown == expected
            assert follower.watching.ended == (follower.ended_at is not None)
        listed = (await self.server.request("GET", PATH)).json
        assert {item["metadata"]["name"]: Thing.of(item) for item in listed["items"]} == self.model.things
        assert listed["metadata"]["resourceVersion"] == str(self.model.revision)


async def play(steps: list[tuple[Any, ...]]) -> None:
    store = MemoryStore()
    async with serving(store) as server, trio.open_nursery() as nursery:
        playing = Play(server, store, nursery)
        for step in steps:
            await playing.step(*step)
        await playing.finish()
        nursery.cancel_scope.cancel()


MARKED_THEN_AT_ONCE = [
    ("create", "a", 1, "", False),
    ("watch", 0, ""),
    ("delete_collection", "", "Foreground"),
    ("delete_collection", "", "Background"),
]


@settings(deadline=None, max_examples=20, print_blob=True)
@example(MARKED_THEN_AT_ONCE)
@given(STEPS)
def test_objects_and_watches_are_those_of_the_model(steps: list[tuple[Any, ...]]) -> None:
    trio.run(partial(play, steps), clock=MockClock(autojump_threshold=0))
