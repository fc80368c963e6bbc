"""What the API serves, as data: one row per resource. Routes, discovery, OpenAPI and printing derive from it.

Only facts that hold for every object of a resource belong here (``table.txt``, and `fields` for field selectors);
rules about fields are in `validation` and `defaults`, keyed by schema.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.resources.fields import ANY, LABELS, FieldLabels, Path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ALL_VERBS", "RESOURCES", "STATUS_VERBS", "FieldLabels", "Path", "Resource", "Subresource", "find"]

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
STATUS_VERBS = ("get", "patch", "update")


@attrs.frozen
class Subresource:
    """A path below an object, e.g. ``pods/status``: the kind it speaks and what may be done."""

    name: str
    kind: str
    group: str
    version: str
    verbs: tuple[str, ...] = STATUS_VERBS


@attrs.frozen(eq=False)
class Resource:
    """One resource: ``pods`` of group ``""`` in version ``v1``, and what holds for all its objects.

    Objects of the apiVersions `also_as` are read as this one's. `stored_as` is the (group, version) whose form
    objects are kept in, when that is another one; a `virtual` resource is kept nowhere. `not_offered` are subresources
    that clients know and this server does not have. Rows are compared by identity.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    not_offered: tuple[str, ...] = ()
    allow_unconditional_update: bool = True
    allow_create_on_update: bool = False
    tracks_generation: bool = False
    returns_deleted_object: bool = False
    virtual: bool = False
    also_as: tuple[str, ...] = ()
    stored_as: tuple[str, str] | None = None
    prefix: str = attrs.field()
    labels: FieldLabels = attrs.field(repr=False)
    singular: str = attrs.field()
    list_kind: str = attrs.field()
    api_version: str = attrs.field(init=False)
    group_resource: str = attrs.field(init=False)
    deprecation: str = attrs.field(init=False)
    """What every answer warns of, "" for most resources."""

    @prefix.default
    def _prefix(self) -> str:
        return self.plural

    @labels.default
    def _labels(self) -> FieldLabels:
        return LABELS.get(f"{self.plural}.{self.group}" if self.group else self.plural, ANY)

    @singular.default
    def _singular(self) -> str:
        return self.kind.lower()

    @list_kind.default
    def _list_kind(self) -> str:
        return self.kind + "List"

    @api_version.default
    def _api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @group_resource.default
    def _group_resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @deprecation.default
    def _deprecation(self) -> str:
        return _DEPRECATIONS.get(self.group_resource, "")

    @property
    def key_prefix(self) -> str:
        """Where its objects are kept: Kubernetes' own keys, which mostly leave the group out."""
        return f"/registry/{self.prefix}/"

    @property
    def storage(self) -> Resource:
        """The row in whose form objects are kept: itself, or another version of the same resource."""
        if self.stored_as is None:
            return self
        found = find(*self.stored_as, self.plural)
        assert found is not None
        return found

    @property
    def field_selectors(self) -> Mapping[str, Path]:
        """The labels that field selectors may name, with the paths of their values in the stored form."""
        return self.labels.paths

    def subresource(self, name: str) -> Subresource | None:
        """The subresource of that name, or None."""
        return next((sub for sub in self.subresources if sub.name == name), None)

    def field_value(self, obj: Mapping[str, Any], label: str) -> str:
        """The text that a field selector with `label` compares: "" when the object has no such value.

        Raises KeyError for a label that the resource does not know.
        """
        value: Any = obj
        for key in self.labels.paths[label]:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        if isinstance(value, str) and value:
            return value
        fallback = self.labels.fallbacks.get(label)
        if fallback is not None:
            return self.field_value(obj, fallback)
        return self.labels.defaults.get(label, "")


_DEPRECATIONS = {
    "componentstatuses": "v1 ComponentStatus is deprecated in v1.19+",
    "endpoints": "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}

# Subresources that speak another kind than their parent, or have other verbs than a status.
_SHAPES: dict[str, tuple[tuple[str, str, str] | None, tuple[str, ...]]] = {
    "binding": (None, ("create",)),
    "eviction": (("policy", "v1", "Eviction"), ("create",)),
    "finalize": (None, ("update",)),
    "scale": (("autoscaling", "v1", "Scale"), STATUS_VERBS),
    "token": (("authentication.k8s.io", "v1", "TokenRequest"), ("create",)),
}


def _subresource(name: str, group: str, version: str, kind: str) -> Subresource:
    other, verbs = _SHAPES.get(name, (None, STATUS_VERBS))
    if name == "binding":
        kind = "Binding"
    if other is not None:
        group, version, kind = other
    return Subresource(name, kind, group, version, verbs)


def _words(text: str) -> tuple[str, ...]:
    return () if text == "-" else tuple(text.split(","))


def _row(line: str) -> Resource:
    group, version, plural, kind, scope, short, categories, subs, *rest = line.split()
    group = _group(group)
    marks = dict(mark.partition("=")[::2] for mark in rest)
    more: dict[str, Any] = {}
    if "verbs" in marks:
        more["verbs"] = _words(marks["verbs"])
    if "prefix" in marks:
        more["prefix"] = marks["prefix"]
    if "stored" in marks:
        stored_group, _, stored_version = marks["stored"].partition("/")
        more["stored_as"] = _group(stored_group), stored_version
    return Resource(
        group,
        version,
        plural,
        kind,
        namespaced=scope == "ns",
        short_names=_words(short),
        categories=_words(categories),
        subresources=tuple(_subresource(name, group, version, kind) for name in _words(subs)),
        not_offered=_words(marks.get("none", "-")),
        allow_unconditional_update="versioned" not in marks,
        allow_create_on_update="create-on-update" in marks,
        tracks_generation="generation" in marks,
        returns_deleted_object="returns-object" in marks,
        virtual="virtual" in marks,
        **more,
    )


def _group(name: str) -> str:
    return "" if name == "core" else name


def _rows() -> Iterator[Resource]:
    text = FilePath(__file__).with_name("table.txt").read_text(encoding="utf-8")
    return (_row(line) for line in text.splitlines() if line and not line.startswith("#"))


RESOURCES: tuple[Resource, ...] = tuple(_rows())

_BY_PATH: dict[tuple[str, str, str], Resource] = {
    (resource.group, resource.version, resource.plural): resource for resource in RESOURCES
}


def find(group: str, version: str, plural: str) -> Resource | None:
    """The row of a served resource, or None; the core group is ""."""
    return _BY_PATH.get((group, version, plural))
