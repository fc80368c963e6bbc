"""Gives every namespace its ServiceAccount ``default``, so that pods can be created in it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from apilayer.api.status import StatusError
from apilayer.client.interface import Ref
from apilayer.controllers.controller import MANAGER, Controller, is_ending

if TYPE_CHECKING:
    from apilayer.client.interface import Change, Object


class PerNamespace(Controller):
    """Keeps one object of a fixed name in every namespace that is not ending."""

    resource: ClassVar[str]
    object_name: ClassVar[str]

    @abstractmethod
    def wanted(self, existing: Object | None) -> Object | None:
        """The object to store in place of the existing one (None: there is none); None: it is right as it is."""

    def register(self) -> None:
        """Follows namespaces and the objects."""
        self.cluster.follow("namespaces", self._namespace_changed)
        self.cluster.follow(self.resource, self._object_changed)

    def _namespace_changed(self, change: Change) -> None:
        if change.new is not None:
            self.queue.add(change.ref)

    def _object_changed(self, change: Change) -> None:
        if change.ref.name == self.object_name:
            self.queue.add(Ref("namespaces", "", change.ref.namespace))

    async def sync(self, ref: Ref) -> None:
        """One namespace."""
        namespace = self.cluster.cached_one(ref)
        if namespace is None or is_ending(namespace.object()):
            return
        there = self.cluster.cached_one(Ref(self.resource, ref.name, self.object_name))
        existing = there.object() if there is not None else None
        wanted = self.wanted(existing)
        if wanted is None:
            return
        try:
            if existing is None:
                await self.cluster.create(self.resource, ref.name, wanted, MANAGER)
            else:
                where = Ref(self.resource, ref.name, self.object_name)
                await self.cluster.change(where, lambda old: self.wanted(old) or old, MANAGER)
        except StatusError as error:
            # There already, gone with its namespace, or the namespace begins to end: its next change says what holds.
            if error.code not in (404, 409) and not _is_ending(error):
                raise


def _is_ending(error: StatusError) -> bool:
    causes = (error.status.get("details") or {}).get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


class ServiceAccountController(PerNamespace):
    """The ServiceAccount ``default``."""

    name: ClassVar[str] = "serviceaccount-controller"
    resource: ClassVar[str] = "serviceaccounts"
    object_name: ClassVar[str] = "default"

    def wanted(self, existing: Object | None) -> Object | None:
        """An empty account where there is none."""
        return None if existing is not None else {"metadata": {"name": self.object_name}}
