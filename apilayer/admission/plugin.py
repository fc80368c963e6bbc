"""What a plugin is, and what it sees: the one interface of admission.

Source: Kubernetes' ``apiserver/pkg/admission`` (interfaces.go, attributes.go, errors.go).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import attrs

from apilayer.api import status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from apilayer.admission.listers import Listers
    from apilayer.api.resources import Resource
    from apilayer.pipeline.authentication import User

Object = dict[str, Any]
Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]

CREATE: Operation = "CREATE"
UPDATE: Operation = "UPDATE"
DELETE: Operation = "DELETE"
CONNECT: Operation = "CONNECT"
EVERYTHING = "*"


class Options(Protocol):
    """Of a request's options, what plugins read."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be stored."""


@attrs.define(eq=False)
class Attributes:
    """One write, as plugins see it. Objects are in the stored form.

    `obj` is what is to be stored (None for a deletion), and mutating plugins change it in place; for subresources
    that speak another kind, such as a binding, it is that kind's object. `old` is what is stored now (None for a
    creation) and is not to be changed. `name` is "" while it is still to be generated.
    """

    operation: Operation
    resource: Resource
    subresource: str
    namespace: str
    name: str
    user: User
    options: Options
    obj: Object | None = None
    old: Object | None = None
    up_to_date: bool = False
    """Whether the cache has been brought up to the store's present state since the review of this attempt began."""
    warnings: list[str] = attrs.field(factory=list)
    """What the client is told with the answer, each text once."""
    annotations: dict[str, str] = attrs.field(factory=dict)
    """What the audit record of the request says, by key."""

    @property
    def path(self) -> str:
        """The resource with its subresource: ``pods``, ``pods/binding``, ``deployments.apps``."""
        return (
            f"{self.resource.group_resource}/{self.subresource}" if self.subresource else self.resource.group_resource
        )

    @property
    def new(self) -> Object:
        """`obj` of an operation that has one."""
        assert self.obj is not None, f"{self.operation} has no new object"
        return self.obj

    def warn(self, text: str) -> None:
        """Tells the client `text` with the answer."""
        if text not in self.warnings:
            self.warnings.append(text)

    def forbidden(self, message: str) -> status.StatusError:
        """403 for the object: `pods "x" is forbidden: message`."""
        return status.forbidden(self.resource.plural, self.resource.group, self._shown_name(), message)

    def _shown_name(self) -> str:
        if self.name:
            return self.name
        metadata = (self.obj or {}).get("metadata") or {}
        return metadata.get("name") or metadata.get("generateName") or "Unknown"


@attrs.frozen
class Interest:
    """Which writes a plugin is asked about: operations on paths (see `Attributes.path`), or on EVERYTHING."""

    operations: frozenset[str]
    paths: frozenset[str]

    def covers(self, operation: str, path: str) -> bool:
        """Whether the plugin cares about such a write."""
        return operation in self.operations and (path in self.paths or EVERYTHING in self.paths)


def on(*paths: str, operations: tuple[Operation, ...]) -> Interest:
    """Interest in `operations` on each of `paths`."""
    return Interest(frozenset(operations), frozenset(paths))


class Writer(Protocol):
    """What a plugin that reserves something does to the cluster. Calls raise StatusError and StoreError."""

    async def refresh(self) -> None:
        """Brings what listers show up to the present."""

    async def change(
        self, group_resource: str, namespace: str, name: str, how: Callable[[Object], Object], subresource: str
    ) -> None:
        """Stores what `how` makes of the object, in the server's own name; anew when somebody else was faster."""


class _Reader:
    """A writer that writes nothing: for chains without plugins that reserve."""

    async def refresh(self) -> None:
        """There is nothing to be brought up to date."""

    async def change(self, *_: object) -> None:
        """Nothing reserves."""
        raise AssertionError("this chain has been given nothing to write with")


async def _yes(*_: object) -> bool:
    """A chain without an authorizer lets everybody do everything."""
    return True


@attrs.frozen
class Setup:
    """What a plugin is made of: the cluster as it is cached, its part of the configuration, and the authorizer."""

    listers: Listers
    configuration: Mapping[str, Any] | None = None
    """The plugin's own configuration document, None without one."""
    may: Callable[[User, str, str, str, str, str], Awaitable[bool]] = _yes
    """Whether a user may do it: (user, verb, group, resource or resource/subresource, namespace, name)."""
    writer: Writer = attrs.field(factory=_Reader)


class Plugin:
    """One plugin of the chain. A subclass overrides what it does of `mutate`, `validate` and `reserve`.

    It is only asked about writes in its `interests`. All three raise StatusError to refuse the request. A plugin
    whose answer is a refusal is asked once more when the cache is up to date, so mutating twice must do no more
    than mutating once. `mutate` and `validate` of a plugin that asks the authorizer are to be awaited.
    """

    name: ClassVar[str]
    interests: ClassVar[tuple[Interest, ...]]

    def __init__(self, setup: Setup) -> None:
        self.listers = setup.listers

    def mutate(self, attributes: Attributes) -> Awaitable[None] | None:
        """Changes `attributes.obj`, before the kind's own rules look at it."""

    def validate(self, attributes: Attributes) -> Awaitable[None] | None:
        """Refuses, after the kind's own rules have accepted the object, which must not be changed any more."""

    async def reserve(self, attributes: Attributes) -> None:
        """Takes what the write needs from elsewhere; after every decision, right before the write."""


class NotYet(status.StatusError):
    """A refusal that time may mend, because what is missing is on its way: it is looked at again for a while."""

    def __init__(self, refusal: status.StatusError, patience_seconds: float) -> None:
        super().__init__(refusal.code, refusal.status, refusal.headers)
        self.patience_seconds = patience_seconds


class ConfigurationError(Exception):
    """A plugin cannot work with its configuration; says which field and why."""
