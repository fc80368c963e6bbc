"""What becomes of objects whose owners are gone or go. Pure: a graph of who owns whom, and decisions.

Source: Kubernetes documentation, "Garbage Collection", "Owners and Dependents".
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from apilayer.controllers.controller import finalizers, is_ending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apilayer.client.interface import Ref

    Change = Callable[[dict[str, Any]], dict[str, Any]]

Object = dict[str, Any]

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


class Node(msgspec.Struct, frozen=True):
    """What the graph keeps of an object that has owners."""

    uid: str
    ref: Ref
    owners: frozenset[str]
    """The uids of its owners."""
    blocks: frozenset[str]
    """Those owners that must not go before it does, when they are deleted in the foreground."""
    foreground: bool
    """Whether it is itself being deleted in the foreground."""


class Graph:
    """Objects that have owners, by owner; and objects that wait for their dependents to go."""

    def __init__(self) -> None:
        self._nodes: dict[str, Node] = {}
        self._waiting: dict[str, Ref] = {}
        self._dependents: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def get(self, uid: str) -> Node | None:
        """What is known of an object that has owners."""
        return self._nodes.get(uid)

    def put(self, node: Node) -> None:
        """A new or changed object; one without owners that waits for nothing is not kept."""
        self.remove(node.uid)
        if node.foreground:
            self._waiting[node.uid] = node.ref
        if node.owners:
            self._nodes[node.uid] = node
            for owner in node.owners:
                self._dependents.setdefault(owner, set()).add(node.uid)

    def remove(self, uid: str) -> None:
        """An object that is gone; unknown ones are ignored."""
        self._waiting.pop(uid, None)
        node = self._nodes.pop(uid, None)
        for owner in node.owners if node else ():
            known = self._dependents[owner]
            known.discard(uid)
            if not known:
                del self._dependents[owner]

    def waiting_owners(self, uid: str) -> list[Ref]:
        """The owners of the object that wait for their dependents."""
        node = self._nodes.get(uid)
        return [self._waiting[owner] for owner in sorted(node.owners) if owner in self._waiting] if node else []

    def dependents(self, uid: str) -> list[Node]:
        """What names the owner of that uid, in the order of their uids."""
        return [self._nodes[child] for child in sorted(self._dependents.get(uid, ()))]


def node_of(obj: Object, ref: Ref) -> Node:
    """The object as the graph sees it."""
    references = obj["metadata"].get("ownerReferences") or ()
    return Node(
        obj["metadata"]["uid"],
        ref,
        frozenset(item["uid"] for item in references),
        frozenset(item["uid"] for item in references if item.get("blockOwnerDeletion")),
        is_foreground(obj),
    )


def is_foreground(obj: Object) -> bool:
    """Whether the object waits for its dependents to go."""
    return is_ending(obj) and FOREGROUND in finalizers(obj)


def is_orphaning(obj: Object) -> bool:
    """Whether the object's dependents are to be left behind."""
    return is_ending(obj) and ORPHAN in finalizers(obj)


class Owner(Enum):
    """What is known of an owner."""

    SOLID = "solid"
    """It is there (or nobody can tell), and its dependents stay."""
    WAITING = "waiting"
    """It is being deleted in the foreground and waits for its dependents."""
    ABSENT = "absent"
    """There is no such object."""


@attrs.frozen
class Keep:
    """Nothing is to be done."""


@attrs.frozen
class Disown:
    """The references to these owners are to be removed."""

    owners: frozenset[str]


@attrs.frozen
class Delete:
    """The object is to be deleted with this policy, after references that would block each other are unblocked."""

    policy: str
    unblock: bool = False


def judge(obj: Object, owners: Mapping[str, Owner], dependents: list[Node]) -> Keep | Disown | Delete:
    """What becomes of an object, given what is known of each of its owners by uid."""
    if not owners or is_ending(obj):
        return Keep()
    kept = [uid for uid, state in owners.items() if state is Owner.SOLID]
    if kept:
        gone = frozenset(uid for uid, state in owners.items() if state is not Owner.SOLID)
        return Disown(gone) if gone else Keep()
    if Owner.WAITING in owners.values() and dependents:
        # Its own dependents go first; one that waits for this object in turn would make both wait for ever.
        return Delete("Foreground", unblock=any(node.foreground for node in dependents))
    return Delete(_policy(obj))


def _policy(obj: Object) -> str:
    """What the object's finalizers, put there before, ask for."""
    if ORPHAN in finalizers(obj):
        return "Orphan"
    return "Foreground" if FOREGROUND in finalizers(obj) else "Background"


def disowned(obj: Object, owners: frozenset[str]) -> Object:
    """The object without its references to these owners."""
    kept = [item for item in obj["metadata"].get("ownerReferences") or () if item["uid"] not in owners]
    if kept:
        obj["metadata"]["ownerReferences"] = kept
    else:
        obj["metadata"].pop("ownerReferences", None)
    return obj


def unblocked(obj: Object) -> Object:
    """The object with references that hold no owner back."""
    for item in obj["metadata"].get("ownerReferences") or ():
        if item.get("blockOwnerDeletion"):
            item["blockOwnerDeletion"] = False
    return obj
