"""Deletes what nobody owns any more, and ends deletions that wait for, or leave behind, what is owned."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from apilayer.api.status import StatusError
from apilayer.client.interface import Ref
from apilayer.controllers import garbage
from apilayer.controllers.controller import Controller, without_finalizer
from apilayer.controllers.garbage import Delete, Disown, Graph, Keep, Owner

if TYPE_CHECKING:
    from apilayer.client.interface import Change, Object

IGNORED = frozenset({"events"})
"""Events name objects without being theirs, and there are many of them."""

log = logging.getLogger("apilayer.controllers.garbage_collector")


class GarbageCollector(Controller):
    """Follows every resource; keeps in memory only objects that have owners."""

    name: ClassVar[str] = "garbage-collector-controller"
    workers: ClassVar[int] = 4

    def register(self) -> None:
        """Follows everything that can be deleted."""
        self.graph = Graph()
        for resource in self.cluster.resources:
            if resource.group_resource not in IGNORED and {"delete", "list", "watch"} <= set(resource.verbs):
                self.cluster.follow(resource.group_resource, self._changed)

    def _changed(self, change: Change) -> None:
        if change.new is None:
            assert change.old is not None
            self._gone(change.old.metadata()["uid"])
            return
        obj = {"metadata": change.new.metadata()}
        if change.old is not None and not change.old.mentions(obj["metadata"]["uid"]):  # no object knows a later one's
            former = change.old.metadata()["uid"]
            if former != obj["metadata"]["uid"]:
                self._gone(former)
        node = garbage.node_of(obj, change.ref)
        before = self.graph.get(node.uid)
        if before != node:
            for owner in self.graph.waiting_owners(node.uid):
                self.queue.add(owner)
            self.graph.put(node)
        if (node.owners and before != node) or node.foreground or garbage.is_orphaning(obj):
            self.queue.add(change.ref)

    def _gone(self, uid: str) -> None:
        """Its dependents may have to follow, and an owner that waited for it may be able to go."""
        for node in self.graph.dependents(uid):
            self.queue.add(node.ref)
        for owner in self.graph.waiting_owners(uid):
            self.queue.add(owner)
        self.graph.remove(uid)

    async def sync(self, ref: Ref) -> None:
        """Decides about one object; only what calls for a change is looked at anew, as it is in the store."""
        cached = self.cluster.cached_one(ref)
        if cached is not None and isinstance(await self._decision(ref, cached.object()), Keep):
            return
        obj = await self._get(ref)
        if obj is None:
            return
        if garbage.is_orphaning(obj):
            await self._orphan(ref, obj)
        elif garbage.is_foreground(obj):
            await self._wait_for_dependents(ref, obj)
        else:
            await self._judge(ref, obj)

    async def _decision(self, ref: Ref, obj: Object) -> Keep | Disown | Delete | None:
        """What is to become of the object; None for one whose deletion is to be brought to its end."""
        if garbage.is_orphaning(obj) or garbage.is_foreground(obj):
            return None
        references = obj["metadata"].get("ownerReferences") or ()
        owners = {item["uid"]: await self._state(ref, item) for item in references}
        return garbage.judge(obj, owners, self.graph.dependents(obj["metadata"]["uid"]))

    async def _judge(self, ref: Ref, obj: Object) -> None:
        decision = await self._decision(ref, obj)
        uid = obj["metadata"]["uid"]
        if isinstance(decision, Disown):
            await self._change(ref, lambda old: garbage.disowned(old, decision.owners))
        elif isinstance(decision, Delete):
            if decision.unblock:
                await self._change(ref, garbage.unblocked)
            log.info("%s is deleted, its owners are gone", ref)
            await self._delete(ref, uid, decision.policy)

    async def _state(self, ref: Ref, reference: Object) -> Owner:
        """Looks at the cache first; that an owner is gone is believed of the store only."""
        resource = self.cluster.resource_of(reference.get("apiVersion") or "", reference.get("kind") or "")
        if resource is None or (resource.namespaced and not ref.namespace):
            return Owner.SOLID  # a kind that is not served, or one that cannot own it: nobody can tell
        owner = Ref(resource.group_resource, ref.namespace if resource.namespaced else "", reference["name"])
        cached = self.cluster.cached_one(owner)
        found = cached.object() if cached is not None else None
        if found is None or found["metadata"]["uid"] != reference["uid"]:
            found = await self._get(owner)
        if found is None or found["metadata"]["uid"] != reference["uid"]:
            return Owner.ABSENT
        return Owner.WAITING if garbage.is_foreground(found) else Owner.SOLID

    async def _wait_for_dependents(self, ref: Ref, obj: Object) -> None:
        """Lets a foreground deletion end once nothing blocks it; makes sure that what does is dealt with."""
        await self.cluster.refresh()
        await self.cluster.settle()
        uid = obj["metadata"]["uid"]
        dependents = self.graph.dependents(uid)
        for node in dependents:
            self.queue.add(node.ref)
        if not any(uid in node.blocks for node in dependents):
            await self._change(ref, lambda old: without_finalizer(old, garbage.FOREGROUND))

    async def _orphan(self, ref: Ref, obj: Object) -> None:
        """Takes the references off every dependent, then lets the owner go."""
        await self.cluster.refresh()
        await self.cluster.settle()
        uid = obj["metadata"]["uid"]
        for node in self.graph.dependents(uid):
            await self._change(node.ref, lambda old: garbage.disowned(old, frozenset({uid})))
        await self._change(ref, lambda old: without_finalizer(old, garbage.ORPHAN))

    async def _get(self, ref: Ref) -> Object | None:
        try:
            return await self.cluster.get(ref)
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    async def _change(self, ref: Ref, how: garbage.Change) -> None:
        try:
            await self.cluster.change(ref, how)
        except StatusError as error:
            if error.code != 404:
                raise

    async def _delete(self, ref: Ref, uid: str, policy: str) -> None:
        """Of somebody who made another object of that name nothing is taken."""
        try:
            await self.cluster.delete(ref, uid, policy)
        except StatusError as error:
            if error.code not in (404, 409):
                raise
