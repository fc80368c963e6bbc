"""How the values of a kind fall into fields: which maps and lists are taken apart and which are one field.

Derived from the schema of the kind: list types (atomic, set, map with keys), map types, and the defaults of the
fields that identify list items. Compiled once per definition.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Literal

from apilayer.api.gotext import quote
from apilayer.api.managed.fieldset import key_element, value_element
from apilayer.api.schema import definition

if TYPE_CHECKING:
    from apilayer.api.schema import Schema

Scalar = Literal["string", "numeric", "boolean", "untyped"]

_PRIMITIVES: dict[str, Scalar] = {"string": "string", "integer": "numeric", "number": "numeric", "boolean": "boolean"}
_TEXT_FORMATS = ("", "byte")
_ANY_SCALAR_DEFINITIONS = frozenset(
    {
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    }
)
_RAW = "io.k8s.apimachinery.pkg.runtime.RawExtension"
_ZERO: dict[str, Any] = {"string": "", "integer": 0, "number": 0, "boolean": False}
# Key fields with a default of their own; the others default to their zero value when they are required.
_KEY_DEFAULTS: dict[tuple[str, str], Any] = {
    ("io.k8s.api.core.v1.ContainerPort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.ServicePort", "protocol"): "TCP",
    ("io.k8s.api.core.v1.LocalObjectReference", "name"): "",
}


class ItemError(ValueError):
    """A list item that nothing identifies."""


class Type:
    """One node of a kind's shape. What is None cannot be there; a node with all three takes any value.

    `fields` are the declared fields of an object with their path elements, `element` the type of all other keys
    (None: there are none) or of list items. `atomic` maps and lists are one field. `keys` identify list items,
    with their defaults; without keys a list that is not atomic is a set.
    """

    __slots__ = ("atomic", "element", "fields", "is_list", "is_map", "keys", "scalar")

    def __init__(self, scalar: Scalar | None = None, *, is_map: bool = False, is_list: bool = False) -> None:
        self.scalar = scalar
        self.is_map = is_map
        self.is_list = is_list
        self.atomic = False
        self.fields: dict[str, tuple[str, Type]] = {}
        self.element: Type | None = None
        self.keys: tuple[tuple[str, Any], ...] = ()

    @property
    def any_value(self) -> bool:
        """Whether nothing is known about the value: its own form decides (lists are atomic then)."""
        return self.is_map and self.is_list

    def descend(self, key: str) -> tuple[str, Type | None]:
        """The path element and the type of an object's member."""
        known = self.fields.get(key)
        return known if known is not None else ("f:" + key, self.element)

    def has_items(self, value: Any) -> bool:
        """Whether `value` is a list that is taken apart into items."""
        return self.is_list and not self.atomic and not self.any_value and value.__class__ is list

    def item_element(self, item: Any) -> str:
        """The path element of a list item. Raises ItemError."""
        return self._keyed(item) if self.keys else _set_element(item)

    def _keyed(self, item: Any) -> str:
        if item is None:
            raise ItemError("associative list with keys may not have a null element")
        if not isinstance(item, dict):
            raise ItemError("associative list with keys may not have non-map elements")
        found = {}
        for name, default in self.keys:
            value = item.get(name, default)
            if value is not None or name in item:
                found[name] = value
        if not found:
            names = " ".join(quote(name) for name, _ in self.keys)
            raise ItemError(
                f"associative list with keys has an element that omits all key fields [{names}]"
                " (and doesn't have default values for any key fields)"
            )
        return key_element(found)


def _set_element(item: Any) -> str:
    if isinstance(item, dict):
        raise ItemError("associative list without keys has an element that's a map type")
    if isinstance(item, list):
        raise ItemError("not supported: associative list with lists as elements")
    if item is None:
        raise ItemError("associative list without keys has an element that's an explicit null")
    return value_element(item)


ANY = Type("untyped", is_map=True, is_list=True)
ANY.element = ANY
_OPAQUE = Type("untyped", is_map=True, is_list=True)  # any value, as one field
_OPAQUE.element, _OPAQUE.atomic = ANY, True
_SCALARS: dict[str, Type] = {name: Type(name) for name in ("string", "numeric", "boolean", "untyped")}


@functools.cache
def type_of(name: str) -> Type:
    """The shape of a definition, e.g. "io.k8s.api.core.v1.Pod"."""
    return _named({}, name)


def _named(started: dict[str, Type], name: str) -> Type:
    """The type of a definition; `started` holds those under construction, which may refer to themselves."""
    found = started.get(name)
    if found is None:
        if name in _ANY_SCALAR_DEFINITIONS:
            return _SCALARS["untyped"]
        if name == _RAW:
            return _OPAQUE
        found = started[name] = Type()
        _fill(found, definition(name), started)
    return found


def _fill(node: Type, schema: Schema, started: dict[str, Type]) -> None:
    kind = schema.type
    if kind == "array":
        node.is_list = True
        node.atomic = schema.list_type not in ("set", "map")
        items = schema.items
        node.element = _type(items, started) if items is not None else ANY
        if schema.list_type == "map":
            node.keys = tuple(sorted(_key_default(items, key) for key in schema.list_map_keys))
    elif schema.properties or schema.additional is not None:
        node.is_map = True
        node.atomic = schema.map_type == "atomic"
        node.fields = {name: (f"f:{name}", _type(sub, started)) for name, sub in schema.properties.items()}
        node.element = _type(schema.additional, started) if schema.additional is not None else None
    elif kind in _PRIMITIVES:
        node.scalar = _scalar(schema)
    else:
        node.scalar, node.is_map, node.is_list, node.element = "untyped", True, True, ANY
        node.atomic = schema.map_type == "atomic"


def _type(schema: Schema, started: dict[str, Type]) -> Type:
    reference = schema.reference
    if reference:
        named = _named(started, reference)
        if named.is_map and schema.map_type == ("granular" if named.atomic else "atomic"):
            return _other_way(named)
        return named
    if schema.type in _PRIMITIVES:
        return _SCALARS[_scalar(schema)]
    node = Type()
    _fill(node, schema, started)
    return node


def _other_way(named: Type) -> Type:
    """The same type, but one field where it is taken apart, and taken apart where it is one field."""
    node = Type(named.scalar, is_map=named.is_map, is_list=named.is_list)
    node.fields, node.element, node.atomic = named.fields, named.element, not named.atomic
    return node


def _scalar(schema: Schema) -> Scalar:
    """Texts of a special format (times, quantities) are accepted as any scalar, as Kubernetes does."""
    if schema.type == "string" and schema.format not in _TEXT_FORMATS:
        return "untyped"
    return _PRIMITIVES[schema.type]


def _key_default(items: Schema | None, key: str) -> tuple[str, Any]:
    """A key field with the value that an item has when it leaves it out: None where there is none."""
    if items is None:
        return key, None
    explicit = _KEY_DEFAULTS.get((items.reference, key))
    if explicit is not None:
        return key, explicit
    field = items.properties.get(key)
    return key, _ZERO.get(field.type) if field is not None and key in items.required else None
