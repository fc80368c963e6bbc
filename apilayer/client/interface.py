"""The cluster as controllers see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from apilayer.api.resources import Resource

Object = dict[str, Any]


class Unavailable(Exception):
    """The cluster cannot be asked now, or nobody knows whether a write happened. To be tried again."""


class Snapshot(Protocol):
    """An object at one moment."""

    def object(self) -> Object:
        """The object, parsed afresh; the caller owns it."""

    def metadata(self) -> Object:
        """Of its metadata uid, finalizers, owners and time of deletion, which costs a fraction."""

    def mentions(self, uid: str) -> bool:
        """Whether the uid, in plain characters, is its own or one that it refers to, which costs next to nothing."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels. Shared: not to be changed."""


class Ref(msgspec.Struct, frozen=True):
    """Which object: its resource by qualified name (``pods``, ``deployments.apps``), where it is and its name."""

    resource: str
    namespace: str
    name: str


class Change(msgspec.Struct, frozen=True):
    """What became of an object: `new` None when it is gone, `old` None when it was not known before."""

    ref: Ref
    new: Snapshot | None
    old: Snapshot | None


class Cluster(Protocol):
    """Reads, writes and changes. Calls raise StatusError and Unavailable."""

    @property
    def resources(self) -> Sequence[Resource]:
        """Every resource whose objects are kept."""

    def resource_of(self, api_version: str, kind: str) -> Resource | None:
        """The stored form of the resource that an object of this kind belongs to."""

    def follow(self, resource: str, handler: Callable[[Change], None]) -> None:
        """Calls `handler` with every object that there is, and with every change from then on.

        To be called before the cluster's informers run. After a gap, what there is comes again, and what is gone
        comes as gone.
        """

    def cached(self, resource: str, namespace: str = "") -> Sequence[Snapshot]:
        """The objects as they were a moment ago; all namespaces for ""."""

    def cached_one(self, ref: Ref) -> Snapshot | None:
        """One object as it was a moment ago."""

    async def settle(self) -> None:
        """Returns once the handlers have been told everything that is known now."""

    async def get(self, ref: Ref) -> Object:
        """The object as it is now."""

    async def refresh(self) -> None:
        """Brings everything that is cached up to the present."""

    async def create(self, resource: str, namespace: str, obj: Object, manager: str) -> Object:
        """Creates the object, which is complete and in canonical form, in the name of `manager`, "" for nobody's."""

    async def change(
        self, ref: Ref, how: Callable[[Object], Object], manager: str = "", subresource: str = ""
    ) -> Object:
        """Stores what `how` makes of the object, which it may keep; done anew when somebody else was faster."""

    async def delete(self, ref: Ref, uid: str = "", policy: str = "", *, at_once: bool = False) -> None:
        """Deletes the object, if it is the one with the uid; `at_once` leaves pods no time to end."""
