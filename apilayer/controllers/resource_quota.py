"""Counts what is used of ResourceQuotas: when one changes, when objects cost less or are gone, and now and then.

Requests that are let through are charged by the server that lets them through, before it stores their objects. A
count may miss objects that are on their way, so less than is charged is said only of charges that are old enough
for their requests to have ended: see `recounted`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

import trio

from apilayer.api import meta
from apilayer.api.quota import amounts, evaluator_of, observed, recounted
from apilayer.api.quota.amounts import Amounts, above
from apilayer.api.status import StatusError
from apilayer.controllers.controller import MANAGER, Controller

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from apilayer.api.quota import Evaluator
    from apilayer.client.interface import Change, Cluster, Object, Ref, Snapshot

QUOTAS = "resourcequotas"
SYNC_SECONDS = 300.0
"""Every quota is counted anew so often: a pod whose node did not end it in time makes no change."""
SETTLE_SECONDS = 1.0
"""After so long a request that was charged has stored its object, or failed."""
MANY = 500
"""More objects than this are counted in a thread."""


class ResourceQuotaController(Controller):
    """One quota at a time per worker."""

    name: ClassVar[str] = "resourcequota-controller"
    workers: ClassVar[int] = 5

    def __init__(
        self,
        cluster: Cluster,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], datetime] = meta.utc_now,
    ) -> None:
        self._quotas: dict[str, set[Ref]] = {}
        self._evaluators: dict[str, Evaluator] = {}
        self._bases: dict[Ref, tuple[float, Amounts]] = {}
        """What was charged at what time, of quotas that are to be counted again because less than that is used."""
        self._settle_seconds = settle_seconds
        self._clock = clock
        super().__init__(cluster)

    def register(self) -> None:
        """Follows the quotas, and everything in namespaces."""
        self.cluster.follow(QUOTAS, self._quota_changed)
        for resource in self.cluster.resources:
            evaluator = evaluator_of(resource.group_resource) if resource.namespaced else None
            if evaluator is not None:
                self._evaluators[resource.group_resource] = evaluator
                self.cluster.follow(resource.group_resource, partial(self._changed, evaluator))

    def _quota_changed(self, change: Change) -> None:
        there = self._quotas.setdefault(change.ref.namespace, set())
        if change.new is None:
            there.discard(change.ref)
            if not there:
                del self._quotas[change.ref.namespace]
            return
        there.add(change.ref)
        if change.old is None or change.old.object().get("spec") != change.new.object().get("spec"):
            self.queue.add(change.ref)

    def _changed(self, evaluator: Evaluator, change: Change) -> None:
        quotas = self._quotas.get(change.ref.namespace)
        if not quotas or not self._costs_less(evaluator, change):
            return
        for ref in quotas:
            if ref not in self._bases:  # else it is counted in a moment anyway
                self.queue.add(ref)

    def _costs_less(self, evaluator: Evaluator, change: Change) -> bool:
        if change.new is None or change.old is None or evaluator.counts_only:
            return change.new is None
        now = self._clock()
        before, after = (evaluator.usage(shown.object(), now) for shown in (change.old, change.new))
        return bool(above(before, after))

    async def run(self) -> None:
        """Works until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(super().run)
            while True:
                await trio.sleep(SYNC_SECONDS)
                for refs in self._quotas.values():
                    for ref in refs:
                        self.queue.add(ref)

    async def sync(self, ref: Ref) -> None:
        """One quota."""
        since, base = self._bases.pop(ref, (0.0, None))
        if base is not None and trio.current_time() < since + self._settle_seconds:
            self._bases[ref] = since, base
            base = None
        try:
            quota = await self.cluster.get(ref)
            await self.cluster.refresh()
            counted = await self._count(quota)
            stored = await self.cluster.change(ref, lambda old: recounted(old, counted, base) or old, MANAGER, "status")
        except StatusError as error:
            if error.code != 404:
                raise
            self._bases.pop(ref, None)
            return
        used = amounts((stored.get("status") or {}).get("used"))
        if above(used, counted) and ref not in self._bases:
            self._bases[ref] = trio.current_time(), used
            self.queue.add_after(ref, self._settle_seconds)

    async def _count(self, quota: Object) -> Amounts:
        hard = (quota.get("spec") or {}).get("hard") or {}
        contents: list[tuple[Evaluator, list[Snapshot]]] = []
        for resource, evaluator in self._evaluators.items():
            if evaluator.matching(hard):
                contents.append((evaluator, list(self.cluster.cached(resource, quota["metadata"]["namespace"]))))
        count = partial(_observed, quota, contents, self._clock())
        if sum(len(entries) for _, entries in contents) > MANY:
            return await trio.to_thread.run_sync(count)
        return count()


def _observed(quota: Object, contents: list[tuple[Evaluator, list[Snapshot]]], now: datetime) -> Amounts:
    """What is counted alone is not parsed."""
    objects = (
        (evaluator, ({} if evaluator.counts_only else entry.object() for entry in entries))
        for evaluator, entries in contents
    )
    return observed(quota, objects, now)
