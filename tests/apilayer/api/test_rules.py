"""Every rule of every kind, broken once: the tables in ``rules/`` say what is wrong and in which words.

A table has a block per kind: its version, its plural and an object that is valid. Below it, each line with a path
and a value breaks the object there: a new one with ``=`` (a value of ``-`` removes the field), an existing one with
``~``, its status with ``^``, through another subresource with ``^name``; a number in a path is the place in a list.
``+`` changes what the lines below start from, instead of breaking it. The lines that are indented further are the
errors, in order.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from apilayer.api import names
from apilayer.api.decode import decode_document
from apilayer.api.defaults import apply_defaults
from apilayer.api.validation import validate_create, validate_update
from tests.apilayer.valid_objects import TABLES, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.api.field import FieldError
    from apilayer.api.resources import Resource

LONG_MESSAGES = {
    "LABEL": names.LABEL_MESSAGE,
    "SUBDOMAIN": names.SUBDOMAIN_MESSAGE,
    "LABEL_1035": names.LABEL_1035_MESSAGE,
    "LABEL_VALUE": names.LABEL_VALUE_MESSAGE,
    "QUALIFIED": names.QUALIFIED_MESSAGE,
    "PERCENT": names.PERCENT_MESSAGE,
    "WILDCARD": names.WILDCARD_MESSAGE,
    "IP": names.IP_MESSAGE,
    "CIDR": names.CIDR_MESSAGE,
}
GONE = "-"


@attrs.frozen
class Case:
    """One rule that is broken: how, and what the errors say."""

    resource: Resource
    valid: dict[str, Any]
    how: str
    path: str
    value: Any
    errors: tuple[str, ...]


def cases() -> Iterator[Any]:
    for table in sorted(TABLES.glob("*.txt")):
        lines = [line for line in table.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
        for number, line in enumerate(lines):
            if not line.startswith(" "):
                resource, valid = kind_of(line)
            elif line.startswith("  +"):
                path, value = line.removeprefix("  +").strip().split(" ", 1)
                valid = changed(valid, path, json.loads(value))
            elif not line.startswith("    "):
                path, how, value = line.strip().split(" ", 2)
                errors = []
                for error in lines[number + 1 :]:
                    if not error.startswith("    "):
                        break
                    errors.append(_spelled_out(error.strip()))
                parsed = GONE if value == GONE else json.loads(value)
                case = Case(resource, valid, how, path, parsed, tuple(errors))
                yield pytest.param(case, id=f"{resource.plural}: {path} {how} {value}")


def _spelled_out(text: str) -> str:
    for name, message in LONG_MESSAGES.items():
        text = text.replace(f"{{{name}}}", message)
    return text


def changed(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with another value at the dotted path."""
    result = copy.deepcopy(obj)
    *parents, last = path.split(".")
    holder: Any = result
    for key in parents:
        holder = holder[int(key)] if isinstance(holder, list) else holder.setdefault(key, {})
    place = int(last) if isinstance(holder, list) else last
    if value == GONE:
        del holder[place]
    else:
        holder[place] = value
    return result


def ready(resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
    """The object as validation sees it: canonical, named, defaulted."""
    metadata = {"name": "a", **({"namespace": "ns"} if resource.namespaced else {}), **body.get("metadata", {})}
    obj: dict[str, Any] = decode_document({**body, "metadata": metadata}, resource).object
    apply_defaults(resource, obj)
    return obj


def texts(errors: list[FieldError]) -> list[str]:
    return [str(error) for error in errors]


@pytest.mark.parametrize("case", list(cases()))
def test_a_broken_rule_is_told(case: Case) -> None:
    valid = ready(case.resource, case.valid)
    assert texts(validate_create(case.resource, valid)) == []
    assert texts(validate_update(case.resource, valid, valid)) == []
    broken = ready(case.resource, changed(case.valid, case.path, case.value))
    if case.how == "=":
        found = validate_create(case.resource, broken)
    else:
        subresource = "" if case.how == "~" else case.how[1:] or "status"
        found = validate_update(case.resource, broken, valid, subresource)
    assert case.errors, "a case says what is wrong"
    assert tuple(texts(found)) == case.errors
