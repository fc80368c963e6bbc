"""The wire types of the API as data, one file per group and version, and the loader for them.

Decoding and encoding (JSON and protobuf), defaulting and patching read field facts from here: number, name, type,
whether a field can be absent, whether it is written even when zero. A file is read when its first message is
asked for, and a message is parsed when it is asked for itself.

Blocks of a file are separated by an empty line; a block is the name of a message and one line per field::

    <protobuf field number> <JSON name> <type><marks>

Types: string bool int32 int64 double bytes; the wrappers Time MicroTime Quantity IntOrString FieldsV1 RawExtension,
JSON (any value), Strings (a list that protobuf wraps in a message), SchemaOrBool, SchemaOrArray and
SchemaOrStrings (of custom resource definitions); or a message (of the same package, or package.Name). ``[]T`` is a
list, ``{}T`` a map from string; ``T:Name`` names the Go type. Marks: ``*`` may be absent even where its zero value
means something (a pointer in Go); ``!`` written even when zero; ``?`` left out when zero though a struct; ``^``
inline: its fields stand in the parent's JSON object.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from apilayer.api.resources import Resource

SCALARS = frozenset({"string", "bool", "int32", "int64", "double", "bytes"})
SCHEMA_UNIONS = frozenset({"SchemaOrBool", "SchemaOrArray", "SchemaOrStrings"})
WRAPPERS = SCHEMA_UNIONS | {
    "Time",
    "MicroTime",
    "Quantity",
    "IntOrString",
    "FieldsV1",
    "RawExtension",
    "JSON",
    "Strings",
}
_GO_WRAPPERS = {
    "Time": "v1.Time",
    "MicroTime": "v1.MicroTime",
    "Quantity": "resource.Quantity",
    "IntOrString": "intstr.IntOrString",
    "FieldsV1": "v1.FieldsV1",
    "RawExtension": "runtime.RawExtension",
    "JSON": "v1.JSON",
    "Strings": "v1.ExtraValue",
    "SchemaOrBool": "v1.JSONSchemaPropsOrBool",
    "SchemaOrArray": "v1.JSONSchemaPropsOrArray",
    "SchemaOrStrings": "v1.JSONSchemaPropsOrStringArray",
    "double": "float64",
    "bytes": "[]uint8",
}


@attrs.frozen
class Field:
    """One field of a message.

    `type` is a scalar, a wrapper type or the qualified name of a message ("core/v1.Container"). `pointer`
    tells absent from zero, `always` fields are written even when zero, `omit_zero` ones never when zero,
    and the fields of an `inline` message stand in the parent's JSON object.
    """

    number: int
    name: str
    type: str
    go_name: str = ""
    repeated: bool = False
    is_map: bool = False
    pointer: bool = False
    always: bool = False
    omit_zero: bool = False
    inline: bool = False

    @property
    def is_message(self) -> bool:
        """Whether `type` names a message of the table."""
        return self.type not in SCALARS and self.type not in WRAPPERS

    @property
    def go_type(self) -> str:
        """The Go type, as decoding errors name it: "int32", "[]v1.Container", "map[string]string"."""
        item = self.go_name or _GO_WRAPPERS.get(self.type) or go_type_name(self.type)
        if self.is_map:
            return "v1.ResourceList" if self.type == "Quantity" else f"map[string]{item}"
        return f"[]{item}" if self.repeated else item


@attrs.frozen
class Message:
    """One message: its qualified name ("core/v1.Pod") and its fields in the order of the Go struct."""

    name: str
    fields: tuple[Field, ...]

    @property
    def short_name(self) -> str:
        """The Go struct's name without package: "Pod"."""
        return self.name.rpartition(".")[2]

    @functools.cached_property
    def json_fields(self) -> dict[str, Field]:
        """Fields by JSON name, those of inline messages included."""
        found: dict[str, Field] = {}
        for field in self.fields:
            if field.inline:
                found.update(message(field.type).json_fields)
            else:
                found[field.name] = field
        return found


def go_type_name(name: str) -> str:
    """A type's name as Go prints it, with its package: "core/v1.Container" -> "v1.Container"."""
    return name.rpartition("/")[2] if "." in name else name


def _parse_field(package: str, line: str) -> Field:
    number, name, text = line.split()
    marks = text[len(text.rstrip("*!?^")) :]
    text = text[: len(text) - len(marks)]
    repeated, is_map = text.startswith("[]"), text.startswith("{}")
    if repeated or is_map:
        text = text[2:]
    text, _, go_name = text.partition(":")
    if go_name and "." not in go_name:
        go_name = f"v1.{go_name}"
    if text not in SCALARS and text not in WRAPPERS and "/" not in text:
        text = f"{package}.{text}"
    return Field(
        int(number),
        name,
        text,
        go_type_name(go_name),
        repeated,
        is_map,
        pointer="*" in marks,
        always="!" in marks,
        omit_zero="?" in marks,
        inline="^" in marks,
    )


@functools.cache
def _files() -> dict[str, Path]:
    """The file of every package: "core/v1" is in ``core.v1.txt``."""
    found = {}
    for path in Path(__file__).parent.glob("*.txt"):
        group, _, version = path.stem.rpartition(".")
        found[f"{group}/{version}"] = path
    return found


@functools.cache
def _blocks(package: str) -> dict[str, str]:
    """The text of every message of a package by qualified name; empty for an unknown package."""
    path = _files().get(package)
    if path is None:
        return {}
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    return {head: body for head, _, body in (block.partition("\n") for block in blocks)}


@functools.cache
def message(name: str) -> Message:
    """The message of that qualified name; KeyError when the table has none."""
    package = name.rpartition(".")[0]
    lines = _blocks(package)[name].splitlines()
    return Message(name, tuple(_parse_field(package, line) for line in lines))


def package_of(resource: Resource) -> str:
    """The package that a resource's kind is in: "core/v1"."""
    return f"{resource.group or 'core'}/{resource.version}"


def find(name: str) -> Message | None:
    """The message of that qualified name, or None."""
    return message(name) if name in _blocks(name.rpartition(".")[0]) else None


def all_names() -> list[str]:
    """The qualified names of all messages; reads every file."""
    return [name for package in sorted(_files()) for name in _blocks(package)]
