"""The wire types of the served kinds as data (``types.txt``), and the loader for it.

JSON decoding, protobuf decoding and defaulting all read field facts from here: name, number, type, whether a
field can be absent, whether it is written even when zero. The file's head explains its format.
"""

from __future__ import annotations

import functools
from pathlib import Path

import attrs

SCALARS = frozenset({"string", "bool", "int32", "int64", "bytes"})
WRAPPERS = frozenset({"Time", "MicroTime", "Quantity", "IntOrString", "FieldsV1", "RawExtension"})
_GO_WRAPPERS = {
    "Time": "v1.Time",
    "MicroTime": "v1.MicroTime",
    "Quantity": "resource.Quantity",
    "IntOrString": "intstr.IntOrString",
    "FieldsV1": "v1.FieldsV1",
    "RawExtension": "runtime.RawExtension",
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
def messages() -> dict[str, Message]:
    """Every message of the table by qualified name."""
    found: dict[str, Message] = {}
    text = Path(__file__).with_name("types.txt").read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for block in body.split("\n\n"):
        lines = block.split("\n")
        head = next((line for line in lines if line), "")
        if head:
            package = head.rpartition(".")[0]
            fields = tuple(_parse_field(package, line) for line in lines[lines.index(head) + 1 :] if line)
            found[head] = Message(head, fields)
    return found


def message(name: str) -> Message:
    """The message of that qualified name; KeyError when the table has none."""
    return messages()[name]
