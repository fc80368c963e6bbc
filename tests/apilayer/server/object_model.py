"""A plain model of Ingresses in one namespace: what each operation makes of them, at which revision, who sees it."""

from __future__ import annotations

from typing import Any

import attrs

FINALIZER = "example.com/held"
FOREGROUND = "foregroundDeletion"


@attrs.frozen
class Thing:
    """What of an object the model knows."""

    port: int
    labels: dict[str, str] = attrs.field(factory=dict)
    finalizers: frozenset[str] = frozenset()
    deleting: bool = False
    generation: int = 1
    address: str = ""

    @classmethod
    def of(cls, obj: dict[str, Any]) -> Thing:
        """The object as it was answered."""
        metadata = obj["metadata"]
        addresses = (obj["status"].get("loadBalancer") or {}).get("ingress") or [{}]
        return cls(
            obj["spec"]["defaultBackend"]["service"]["port"]["number"],
            metadata.get("labels") or {},
            frozenset(metadata.get("finalizers") or ()),
            "deletionTimestamp" in metadata,
            metadata["generation"],
            addresses[0].get("ip", ""),
        )

    def with_port(self, port: int) -> Thing:
        """A changed spec is a new generation."""
        return attrs.evolve(self, port=port, generation=self.generation + (port != self.port))

    def begins_to_go(self, extra: frozenset[str]) -> Thing:
        """A deletion that finalizers hold up."""
        return attrs.evolve(
            self,
            finalizers=self.finalizers - {FOREGROUND} | extra,
            deleting=True,
            generation=self.generation + (not self.deleting),
        )


@attrs.frozen
class Change:
    """One revision. None is an object that is not there."""

    revision: int
    name: str
    before: Thing | None
    after: Thing | None


class Selected:
    """A label selector ``l=value``, or none."""

    def __init__(self, value: str) -> None:
        self.value = value
        self.query = f"&labelSelector=l%3D{value}" if value else ""

    def has(self, thing: Thing | None) -> bool:
        return thing is not None and (not self.value or thing.labels.get("l") == self.value)


class Model:
    """All objects, all changes, and the revision that the store must be at."""

    def __init__(self, revision: int) -> None:
        self.first = self.revision = revision
        self.compacted = 0
        self.window_start = 0
        self.things: dict[str, Thing] = {}
        self.revisions: dict[str, int] = {}
        self.changes: list[Change] = []

    def put(self, name: str, thing: Thing | None, *, touched: bool = False) -> None:
        """Takes in what an operation made of an object; `touched` is a change of what the model does not know."""
        before = self.things.get(name)
        if thing == before and not touched:
            return
        self.revision += 1
        self.changes.append(Change(self.revision, name, before, thing))
        if thing is None:
            del self.things[name], self.revisions[name]
        else:
            self.things[name] = thing
            self.revisions[name] = self.revision

    def let_go(self, name: str, thing: Thing) -> None:
        """As `put`, of an object that goes away when nothing holds it up."""
        self.put(name, None if thing.deleting and not thing.finalizers else thing)

    def delete(self, name: str, policy: str) -> None:
        """A DELETE without preconditions of an object that is there."""
        thing = self.things[name]
        waits = policy == "Foreground" or (not policy and FOREGROUND in thing.finalizers)
        extra = frozenset({FOREGROUND}) if waits else frozenset()
        if (thing.finalizers - {FOREGROUND}) | extra:
            self.put(name, thing.begins_to_go(extra))
        else:
            self.put(name, None)

    def at(self, revision: int) -> dict[str, Thing]:
        """The objects at a revision."""
        found: dict[str, Thing] = {}
        for change in self.changes:
            if change.revision > revision:
                break
            if change.after is None:
                del found[change.name]
            else:
                found[change.name] = change.after
        return found

    def events(self, after: int, selected: Selected, until: int) -> list[tuple[str, str, int]]:
        """What a watch from `after` shows up to `until`: (type, name, revision)."""
        found = []
        for change in self.changes:
            was, now = selected.has(change.before), selected.has(change.after)
            if after < change.revision <= until and (was or now):
                kind = "DELETED" if not now else "MODIFIED" if was else "ADDED"
                found.append((kind, change.name, change.revision))
        return found

    def initial(self, selected: Selected) -> list[tuple[str, str, int]]:
        """What a watch from no revision shows first."""
        return [
            ("ADDED", name, self.revisions[name]) for name, thing in sorted(self.things.items()) if selected.has(thing)
        ]
