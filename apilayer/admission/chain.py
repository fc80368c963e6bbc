"""Runs the plugins: which of them a write concerns is worked out once, then each is asked in turn."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import attrs
import msgspec

from apilayer.admission.plugin import Attributes, NotYet, Plugin
from apilayer.api.status import StatusError
from apilayer.pipeline.metrics import Histogram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from apilayer.admission.plugin import Object, Operation, Options
    from apilayer.api.resources import Resource
    from apilayer.pipeline.authentication import User

    Decision = Callable[[Attributes], Awaitable[None] | None]

TOO_MANY = 429
"""The code of a refusal that no other state of the cluster would change."""
RETRY_SECONDS = 0.05
"""Between two looks at what may still come."""
ADMIT, VALIDATE = "admit", "validate"
STEP_BUCKETS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
"""Upper bounds in seconds, as kube-apiserver's."""


@attrs.frozen
class Steps:
    """The plugins that one sort of write concerns, by what they do."""

    mutating: tuple[Plugin, ...]
    validating: tuple[Plugin, ...]
    reserving: tuple[Plugin, ...]

    def __bool__(self) -> bool:
        return bool(self.mutating or self.validating or self.reserving)


class Chain:
    """The plugins that are on, in their order.

    `refresh` brings what they look at up to the store's present state; `sleep` waits for so many seconds.
    """

    def __init__(
        self,
        plugins: Sequence[Plugin],
        refresh: Callable[[], Awaitable[object]],
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        self.plugins = tuple(plugins)
        self.refresh = refresh
        self.sleep = sleep
        self.durations: dict[tuple[str, Operation, bool], Histogram] = {}
        """Seconds that the plugins took together, by what they did, the operation, and whether it was refused."""
        self._steps: dict[tuple[str, str, str], Steps] = {}

    def steps(self, operation: Operation, resource: Resource, subresource: str) -> Steps:
        """Who is asked about such a write. One entry per sort of write is kept, so their number is bounded."""
        key = operation, resource.group_resource, subresource
        found = self._steps.get(key)
        if found is None:
            path = f"{resource.group_resource}/{subresource}" if subresource else resource.group_resource
            asked = [
                plugin
                for plugin in self.plugins
                if any(interest.covers(operation, path) for interest in plugin.interests)
            ]
            found = self._steps[key] = Steps(
                tuple(plugin for plugin in asked if type(plugin).mutate is not Plugin.mutate),
                tuple(plugin for plugin in asked if type(plugin).validate is not Plugin.validate),
                tuple(plugin for plugin in asked if type(plugin).reserve is not Plugin.reserve),
            )
        return found

    def took(self, step: str, operation: Operation, seconds: float, *, refused: bool) -> None:
        """Counts how long plugins took."""
        key = step, operation, refused
        histogram = self.durations.get(key)
        if histogram is None:
            histogram = self.durations[key] = Histogram(STEP_BUCKETS)
        histogram.observe(seconds)

    def begin(self, user: User) -> Admission:
        """Admission of one request of `user`."""
        return Admission(self, user)


class Admission(msgspec.Struct, eq=False):
    """Admission of one request: who asks, and what they are told with the answer."""

    chain: Chain
    user: User
    warnings: list[str] = msgspec.field(default_factory=list)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)

    def review(
        self,
        operation: Operation,
        resource: Resource,
        subresource: str,
        namespace: str,
        name: str,
        options: Options,
    ) -> Review:
        """Review of one write of the request."""
        steps = self.chain.steps(operation, resource, subresource)
        if not steps:
            return UNCONCERNED
        attributes = Attributes(
            operation,
            resource,
            subresource,
            namespace,
            name,
            self.user,
            options,
            warnings=self.warnings,
            annotations=self.annotations,
        )
        return _Asking(self.chain, steps, attributes)


class Review:
    """The course of one write through admission: `mutate`, then `validate`, then `reserve`; again for each attempt.

    This one concerns no plugin. `obj` is None for deletions, `old` for creations. All raise StatusError.
    """

    __slots__ = ()

    async def mutate(self, obj: Object | None, old: Object | None) -> None:
        """Lets plugins change `obj`."""

    async def validate(self, obj: Object | None, old: Object | None) -> None:
        """Lets plugins refuse what came of it."""

    async def reserve(self, obj: Object | None, old: Object | None) -> None:
        """Lets plugins take what the write needs; nothing but the write itself may follow."""

    async def whole(self, obj: Object | None, old: Object | None) -> None:
        """All of it, for a write without rules of its own in between."""
        await self.mutate(obj, old)
        await self.validate(obj, old)
        await self.reserve(obj, old)


UNCONCERNED = Review()


class _Asking(Review):
    """A review with plugins to ask."""

    __slots__ = ("_attributes", "_chain", "_steps")

    def __init__(self, chain: Chain, steps: Steps, attributes: Attributes) -> None:
        self._chain = chain
        self._steps = steps
        self._attributes = attributes

    async def mutate(self, obj: Object | None, old: Object | None) -> None:
        await self._timed(ADMIT, [plugin.mutate for plugin in self._steps.mutating], obj, old)

    async def validate(self, obj: Object | None, old: Object | None) -> None:
        await self._timed(VALIDATE, [plugin.validate for plugin in self._steps.validating], obj, old)

    async def reserve(self, obj: Object | None, old: Object | None) -> None:
        self._attributes.obj, self._attributes.old = obj, old
        for plugin in self._steps.reserving:
            await plugin.reserve(self._attributes)

    async def _timed(self, step: str, decisions: list[Decision], obj: Object | None, old: Object | None) -> None:
        began, refused = perf_counter(), True
        try:
            await self._ask(decisions, obj, old)
            refused = False
        finally:
            self._chain.took(step, self._attributes.operation, perf_counter() - began, refused=refused)

    async def _ask(self, decisions: list[Decision], obj: Object | None, old: Object | None) -> None:
        """One decision after the other. A refusal stands only when the cache that it comes from was up to date."""
        attributes = self._attributes
        attributes.obj, attributes.old, attributes.up_to_date = obj, old, False
        for decide in decisions:
            try:
                waiting = decide(attributes)
                if waiting is not None:
                    await waiting
            except StatusError as refusal:
                if refusal.code == TOO_MANY:
                    raise
                await self._chain.refresh()
                attributes.up_to_date = True
                await self._ask_again(decide)

    async def _ask_again(self, decide: Decision) -> None:
        waited = 0.0
        while True:
            try:
                waiting = decide(self._attributes)
                if waiting is not None:
                    await waiting
                return
            except NotYet as refusal:
                if waited >= refusal.patience_seconds:
                    raise
                await self._chain.sleep(RETRY_SECONDS)
                waited += RETRY_SECONDS
