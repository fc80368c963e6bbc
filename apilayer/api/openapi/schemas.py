"""Definitions of types as OpenAPI shows them: version 3 (``components.schemas``) and version 2 (``definitions``).

The package that carries them wrote them for validation: it allows null everywhere, pins kind and apiVersion
and knows no defaults. This undoes the first two and adds the defaults, which follow from the Go types: a
struct that cannot be absent defaults to ``{}``, a scalar that is always written to its zero value. It also adds which
values a text may have where that is settled.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api.resources import RESOURCES
from apilayer.api.schema import definitions
from apilayer.api.types import find, package_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from apilayer.api.types import Message

Node = dict[str, Any]

STORED_REF = "#/$defs/"
V3_REF = "#/components/schemas/"
V2_REF = "#/definitions/"

_GVK = "x-kubernetes-group-version-kind"
_ZERO: dict[str, Any] = {"string": "", "integer": 0, "boolean": False, "number": 0}
# Kinds that every group version has: each group's document names only its own.
_SHARED_KINDS = frozenset(f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}" for kind in ("DeleteOptions", "WatchEvent"))
_INT_OR_STRING_TEXT = (
    "IntOrString is a type that can hold an int32 or a string. In JSON and YAML it is written as the one it holds:"
    " a field of this type accepts a name or a number."
)
_QUANTITY_TEXT = (
    "Quantity is a number with a fixed point and an optional suffix: m (a thousandth), k, M, G, T, P, E (powers of"
    " 1000), Ki, Mi, Gi, Ti, Pi, Ei (powers of 1024), or a decimal exponent such as e3 or E3. No number exceeds"
    " 2^63-1 in magnitude or has more than three decimal places; what is larger or finer is capped or rounded up."
    " It is written in the canonical form: no fraction, the largest suffix possible, the sign left out unless"
    " negative; 1.5 becomes 1500m, 1.5Gi becomes 1536Mi."
)
_UNION_TYPES: dict[str, Node] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {
        "description": _INT_OR_STRING_TEXT,
        "format": "int-or-string",
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "description": _QUANTITY_TEXT,
        "oneOf": [{"type": "string"}, {"type": "number"}],
    },
}


@functools.cache
def _explicit_defaults() -> Mapping[tuple[str, str], Any]:
    """Defaults that do not follow from the type, by definition and property."""
    text = Path(__file__).with_name("defaults.txt").read_text(encoding="utf-8")
    rows = (line.split(" ", 2) for line in text.splitlines() if line and not line.startswith("#"))
    return {(name, field): orjson.loads(value) for name, field, value in rows}


@functools.cache
def enums() -> Mapping[tuple[str, str], tuple[str, ...]]:
    """The values of properties that are one of a few texts, by definition and property."""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    text = Path(__file__).with_name("enums.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            names, fields, *values = line.split(" ")
            package, _, kinds = names.rpartition(".")
            listed = tuple(value.strip('"') for value in values)
            found.update(
                {(f"{package}.{kind}", field): listed for kind in kinds.split(",") for field in fields.split(",")}
            )
    return found


def _with_values(name: str, field: str, node: Node) -> Node:
    """The property with its values, which stand in the description too, for readers that show no more."""
    values = enums().get((name, field))
    if values is None:
        return node
    listed = "".join(f'\n - `"{value}"`' for value in values)
    return {**node, "enum": list(values), "description": f"{node['description']}\n\nPossible enum values:{listed}"}


_META_PACKAGE = "io.k8s.apimachinery.pkg.apis.meta.v1."


@functools.cache
def _packages() -> Mapping[str, str]:
    """Packages of wire types by the short form of their definitions' names: ``coordination.v1``."""
    return {f"{row.group.partition('.')[0] or 'core'}.{row.version}": package_of(row) for row in RESOURCES}


def _message(name: str) -> Message | None:
    """The wire type behind ``io.k8s.api.core.v1.Pod``, or None where the table of wire types has none."""
    head, _, kind = name.rpartition(".")
    package = "meta/v1" if name.startswith(_META_PACKAGE) else _packages().get(".".join(head.split(".")[-2:]))
    return None if package is None else find(f"{package}.{kind}")


@functools.cache
def _versions() -> Mapping[str, frozenset[str]]:
    """The served versions of every group."""
    return {row.group: frozenset(other.version for other in RESOURCES if other.group == row.group) for row in RESOURCES}


def _plain_type(kind: Any) -> Any:
    """The type without the null that the package adds."""
    return next(name for name in kind if name != "null") if isinstance(kind, list) else kind


def _v3_node(raw: Mapping[str, Any]) -> Node:
    """An items or additionalProperties node, or the inside of a property."""
    node: Node = {}
    for key, value in raw.items():
        if key == "type":
            node[key] = _plain_type(value)
        elif key == "$ref":
            node[key] = V3_REF + value.removeprefix(STORED_REF)
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            node[key] = _v3_node(value)
        else:
            node[key] = value
    return node


def _v3_property(raw: Mapping[str, Any]) -> Node:
    """A property: a reference with other keys stands inside allOf, because they would be ignored beside it."""
    node = _v3_node(raw)
    if "$ref" in node and len(node) > 1:
        node["allOf"] = [{"$ref": node.pop("$ref")}]
    return node


def _default(name: str, field: str, node: Node, required: bool, message: Message | None) -> Any:
    """The default of a property, or None."""
    explicit = _explicit_defaults()
    if (name, field) in explicit:
        return explicit[name, field]
    known = message.json_fields.get(field) if message is not None else None
    if "allOf" in node or "$ref" in node:
        by_value = known.is_message and not known.pointer if known is not None else message is None
        return {} if by_value else None
    always = known.always and not known.pointer if known is not None else required
    return _ZERO.get(node.get("type", "")) if always else None


def v3_schema(name: str, groups: Iterable[str], version: str = "v1") -> Node:
    """Definition `name` as it stands in the version 3 document of `groups` (["apps"] for apps) in `version`."""
    raw = definitions()[name]
    node: Node = {key: value for key, value in _v3_node(raw).items() if key not in ("properties", _GVK)}
    if name in _UNION_TYPES:
        node.pop("type", None)
        node.update(_UNION_TYPES[name])
    gvks = _kinds_of(name, raw, groups, version)
    if gvks:
        node[_GVK] = gvks
    if "properties" in raw:
        required = frozenset(raw.get("required", ()))
        message = _message(name)
        properties: Node = {}
        for field, sub in raw["properties"].items():
            shown = _v3_property(sub)
            if _GVK in raw and field in ("apiVersion", "kind"):
                shown.pop("enum", None)
            default = _default(name, field, shown, field in required, message)
            if default is not None:
                if "$ref" in shown:
                    shown = {"allOf": [shown]}
                shown["default"] = default
            properties[field] = _with_values(name, field, shown)
        node["properties"] = properties
    return node


def _kinds_of(name: str, raw: Mapping[str, Any], groups: Iterable[str], version: str = "") -> list[Any]:
    """The kinds that a definition stands for; of those that every group version has, the document's own."""
    gvks: list[Any] = raw.get(_GVK, [])
    if name in _SHARED_KINDS:
        wanted = {("", "v1"), *((group, version or row) for group in groups for row in _versions().get(group, ()))}
        return [gvk for gvk in gvks if (gvk["group"], gvk["version"]) in wanted]
    return gvks


def v2_schema(name: str, groups: Iterable[str]) -> Node:
    """Definition `name` as it stands in the version 2 document: plain references, no defaults."""
    node = _v2_node(definitions()[name])
    for field, shown in node.get("properties", {}).items():
        node["properties"][field] = _with_values(name, field, shown)
    if name in _UNION_TYPES:
        node.update({**_UNION_TYPES[name], "type": "string"})
        del node["oneOf"]
    gvks = _kinds_of(name, definitions()[name], groups)
    if gvks:
        node[_GVK] = gvks
    return node


def _v2_node(raw: Mapping[str, Any]) -> Node:
    node: Node = {}
    for key, value in raw.items():
        if key == "type":
            node[key] = _plain_type(value)
        elif key == "$ref":
            node[key] = V2_REF + value.removeprefix(STORED_REF)
        elif key == "properties":
            node[key] = {field: _v2_property(field, sub, raw) for field, sub in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            node[key] = _v2_node(value)
        else:
            node[key] = value
    return node


def _v2_property(field: str, raw: Mapping[str, Any], parent: Mapping[str, Any]) -> Node:
    node = _v2_node(raw)
    if _GVK in parent and field in ("apiVersion", "kind"):
        node.pop("enum", None)
    return node


def closure(names: Iterable[str]) -> list[str]:
    """`names` and every definition that they refer to, sorted."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(_references(name))
    return sorted(found)


@functools.cache
def _references(name: str) -> frozenset[str]:
    found: set[str] = set()
    waiting: list[Any] = [definitions()[name]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                found.add(reference.removeprefix(STORED_REF))
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return frozenset(found)
