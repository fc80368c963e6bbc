"""What controllers have in common: they are told of changes, queue what these concern, and bring it into order.

Level-triggered: a controller looks at what there is, never at what happened, so that nothing is lost by a restart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from apilayer.client.queue import WorkQueue, work

if TYPE_CHECKING:
    from apilayer.client.interface import Cluster, Ref

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
"""Who managedFields name for what controllers create, as clients know it."""


class Controller(ABC):
    """A loop over a queue of objects. Subclasses say what to follow (`register`) and what to do (`sync`)."""

    name: ClassVar[str]
    workers: ClassVar[int] = 2

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.queue: WorkQueue[Ref] = WorkQueue()
        self.register()

    @abstractmethod
    def register(self) -> None:
        """Follows what the controller acts on."""

    @abstractmethod
    async def sync(self, ref: Ref) -> None:
        """Brings one object into order. Raises StatusError, Unavailable to be called again later."""

    async def run(self) -> None:
        """Works until cancelled."""
        async with trio.open_nursery() as nursery:
            for _ in range(self.workers):
                nursery.start_soon(work, self.queue, self.sync, self.name)


def is_ending(obj: Object) -> bool:
    """Whether the object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def finalizers(obj: Object) -> list[str]:
    """The object's finalizers."""
    return obj["metadata"].get("finalizers") or []


def without_finalizer(obj: Object, name: str) -> Object:
    """The object with the finalizer taken off."""
    kept = [item for item in finalizers(obj) if item != name]
    if kept:
        obj["metadata"]["finalizers"] = kept
    else:
        obj["metadata"].pop("finalizers", None)
    return obj
