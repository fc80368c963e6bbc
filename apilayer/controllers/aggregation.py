"""Fills in the rules of ClusterRoles that are made of others: those that their aggregationRule selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from apilayer.api.selectors import selector_matches
from apilayer.controllers.controller import Controller

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.client.interface import Change, Object, Ref

_ROLES = "clusterroles.rbac.authorization.k8s.io"


def is_aggregated(role: Object) -> bool:
    """Whether the role is made of others."""
    return bool((role.get("aggregationRule") or {}).get("clusterRoleSelectors"))


def aggregated(role: Object, others: Iterable[Object]) -> list[Object]:
    """The rules that the role is to have: each once, in the order of its selectors and of the roles' names."""
    ordered = sorted(others, key=lambda other: other["metadata"]["name"])
    found: list[Object] = []
    for selector in role["aggregationRule"]["clusterRoleSelectors"]:
        for other in ordered:
            if other["metadata"]["name"] == role["metadata"]["name"]:
                continue
            if selector_matches(selector, other["metadata"].get("labels")):
                found += [rule for rule in other.get("rules") or () if rule not in found]
    return found


class ClusterRoleAggregation(Controller):
    """Any change of any role may concern each role that is made of others; there are few of these."""

    name: ClassVar[str] = "clusterrole-aggregation-controller"
    workers: ClassVar[int] = 1

    def register(self) -> None:
        """Follows the roles."""
        self._made: set[Ref] = set()
        self.cluster.follow(_ROLES, self._changed)

    def _changed(self, change: Change) -> None:
        if change.new is not None and is_aggregated(change.new.object()):
            self._made.add(change.ref)
        else:
            self._made.discard(change.ref)
        for ref in self._made:
            self.queue.add(ref)

    async def sync(self, ref: Ref) -> None:
        """One role."""
        entry = self.cluster.cached_one(ref)
        if entry is None:
            return
        role = entry.object()
        if not is_aggregated(role):
            return
        rules = aggregated(role, [other.object() for other in self.cluster.cached(_ROLES)])
        if rules != (role.get("rules") or []):
            await self.cluster.change(ref, lambda old: {**old, "rules": rules}, self.name)
