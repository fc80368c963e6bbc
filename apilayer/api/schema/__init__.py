"""Schemas of the built-in kinds: structure, descriptions, patch strategies and list types of Kubernetes 1.36.

Read from the definitions that the package ``kubernetes-validate`` carries (its own code is never imported:
that costs more than the data). Parsed on first use and memoised per definition.
"""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apilayer.api.resources import Resource

KUBERNETES_VERSION = "1.36.0"
_REF_PREFIX = "#/$defs/"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"


class SchemaNotFoundError(LookupError):
    """No definition of that name, or of that group, version and kind."""


class Schema:
    """One node of a schema: an object, a list, a map or a scalar.

    A node that refers to a definition shows the definition's structure with its own description and
    extensions on top, as OpenAPI readers expect. `raw` is the JSON as stored, with ``$ref`` unresolved, and
    `reference` the name of the definition behind it ("" when the node is inline). Sub-schemas are made on
    first access and kept.
    """

    __slots__ = ("_additional", "_items", "_properties", "_target", "raw", "reference")

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw
        ref = raw.get("$ref", "")
        self.reference: str = ref.removeprefix(_REF_PREFIX)
        self._target: Schema | None = definition(self.reference) if ref else None
        self._properties: dict[str, Schema] | None = None
        self._items: Schema | None = None
        self._additional: Schema | None = None

    def _get(self, key: str, default: Any) -> Any:
        value = self.raw.get(key)
        if value is None and self._target is not None:
            return self._target._get(key, default)
        return default if value is None else value

    @property
    def type(self) -> str:
        """ "object", "array", "string", "integer", "number", "boolean", or "" for any value."""
        if self.reference in (_INT_OR_STRING, _QUANTITY):
            return "string"
        kind = self._get("type", "")
        if isinstance(kind, list):  # the package adds "null" to everything that is not required
            return next((name for name in kind if name != "null"), "")
        return str(kind)

    @property
    def format(self) -> str:
        """The OpenAPI format ("int32", "byte", "date-time", "int-or-string", ...) or ""."""
        if self.reference == _INT_OR_STRING:
            return "int-or-string"
        return str(self._get("format", ""))

    @property
    def description(self) -> str:
        """The text that ``kubectl explain`` shows."""
        return str(self._get("description", ""))

    @property
    def required(self) -> tuple[str, ...]:
        """Names of properties that must be given."""
        return tuple(self._get("required", ()))

    @property
    def properties(self) -> Mapping[str, Schema]:
        """Fields of an object by name; empty for maps and scalars."""
        if self._properties is None:
            if self._target is not None:
                self._properties = dict(self._target.properties)
            else:
                listed = self.raw.get("properties", {})
                self._properties = {name: Schema(sub) for name, sub in listed.items()}
        return self._properties

    @property
    def items(self) -> Schema | None:
        """Schema of a list's items, None when this is no list."""
        if self._items is None:
            if self._target is not None:
                return self._target.items
            raw = self.raw.get("items")
            self._items = Schema(raw) if raw is not None else None
        return self._items

    @property
    def additional(self) -> Schema | None:
        """Schema of a map's values, None when this is no map."""
        if self._additional is None:
            if self._target is not None:
                return self._target.additional
            raw = self.raw.get("additionalProperties")
            self._additional = Schema(raw) if isinstance(raw, dict) else None
        return self._additional

    @property
    def patch_strategy(self) -> tuple[str, ...]:
        """How strategic merge patch treats the field: any of "merge", "replace", "retainKeys"."""
        text = str(self._get("x-kubernetes-patch-strategy", ""))
        return tuple(text.split(",")) if text else ()

    @property
    def patch_merge_key(self) -> str:
        """The item field by which strategic merge patch matches list items, or ""."""
        return str(self._get("x-kubernetes-patch-merge-key", ""))

    @property
    def list_type(self) -> str:
        """ "atomic", "set", "map" or "" (treated as atomic)."""
        return str(self._get("x-kubernetes-list-type", ""))

    @property
    def list_map_keys(self) -> tuple[str, ...]:
        """The item fields that identify an item of a list of type "map"."""
        return tuple(self._get("x-kubernetes-list-map-keys", ()))

    @property
    def map_type(self) -> str:
        """ "atomic" or "" (granular)."""
        return str(self._get("x-kubernetes-map-type", ""))


def _data_path() -> Path:
    spec = find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise SchemaNotFoundError("the package kubernetes-validate is not installed")
    root = Path(spec.submodule_search_locations[0])
    return root / "kubernetes-json-schema" / f"v{KUBERNETES_VERSION}-local" / "_definitions.json"


@functools.cache
def definitions() -> Mapping[str, Mapping[str, Any]]:
    """Every definition as stored, by name, e.g. "io.k8s.api.core.v1.Pod"; about 10 ms on first use."""
    loaded: dict[str, dict[str, dict[str, Any]]] = orjson.loads(_data_path().read_bytes())
    return loaded["$defs"]


@functools.cache
def definition(name: str) -> Schema:
    """The definition `name`; raises SchemaNotFoundError when there is none."""
    raw = definitions().get(name)
    if raw is None:
        raise SchemaNotFoundError(f"no schema definition {name!r}")
    return Schema(raw)


@functools.cache
def kinds() -> Mapping[tuple[str, str, str], str]:
    """Definition name of every (group, version, kind); options kinds belong to many groups."""
    found: dict[tuple[str, str, str], str] = {}
    for name, raw in definitions().items():
        for gvk in raw.get("x-kubernetes-group-version-kind", ()):
            found[gvk["group"], gvk["version"], gvk["kind"]] = name
    return found


def schema_for_kind(group: str, version: str, kind: str) -> Schema:
    """The schema of a kind; raises SchemaNotFoundError when 1.36 has no such kind."""
    name = kinds().get((group, version, kind))
    if name is None:
        raise SchemaNotFoundError(f"no schema for kind {kind!r} in {group or 'core'}/{version}")
    return definition(name)


def schema_for(resource: Resource) -> Schema:
    """The schema of a served resource's kind."""
    return schema_for_kind(resource.group, resource.version, resource.kind)
