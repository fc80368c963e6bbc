"""Whatever is sent as an object of a kind is taken or refused in words: no rule falls over what it does not expect.

Objects are made from the type table: random fields of the kind, mostly of their type, some of another, some absent
where the rules expect them, some with numbers and texts at the edges.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.api import types
from apilayer.api.conversion import from_storage, to_storage
from apilayer.api.decode import DecodeError, decode_document, message_name
from apilayer.api.defaults import apply_defaults, drop_disabled
from apilayer.api.managed import FieldManager
from apilayer.api.resources import RESOURCES, Resource
from apilayer.api.validation import validate_create, validate_update
from apilayer.api.validation.warnings import create_warnings, update_warnings
from apilayer.registry.kinds import strategy_for

if TYPE_CHECKING:
    from apilayer.api.field import FieldError

KINDS = [row for row in RESOURCES if not row.virtual]
SUBRESOURCES = ("", "status", "ephemeralcontainers", "resize", "approval", "finalize", "scale")
TEXTS = ("", "a", "b", "A_b", "x.y", "a/b", "1", "*", "None", "Always", "Exists", "1.2.3.4", "::1/64", "é" * 300)
TIMES = ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05.000006Z", "x")
NUMBERS = (0, 1, 2, -1, 100, 65536, 2**31 - 1, 2**31, 2**63 - 1)
QUANTITIES = ("0", "1", "-1", "1500m", "1Gi", "1e40", "x")
OTHERS: tuple[Any, ...] = (None, [], {}, "x", 7, True, 1.5, [None], {"a": None})
BY_TYPE: dict[str, tuple[Any, ...]] = {
    "string": TEXTS,
    "bool": (True, False),
    "int32": NUMBERS,
    "int64": NUMBERS,
    "double": (0, 1.5),
    "bytes": ("", "eA==", "x"),
    "Time": TIMES,
    "MicroTime": TIMES,
    "Quantity": QUANTITIES,
    "IntOrString": (*NUMBERS, "5%", "x", ""),
    "FieldsV1": ({}, {"f:a": {}}, {"x": 1}, [1], "x"),
    "RawExtension": OTHERS,
    "JSON": OTHERS,
}


def a_value(dice: random.Random, field: types.Field, depth: int) -> Any:
    """Something for a field: one time in thirty of a type that it does not have."""
    if dice.random() < 1 / 30:
        return dice.choice(OTHERS)
    if field.repeated:
        return [an_item(dice, field, depth) for _ in range(dice.choice((0, 1, 1, 2)))]
    if field.is_map:
        return {dice.choice(TEXTS): an_item(dice, field, depth) for _ in range(dice.choice((0, 1, 2)))}
    return an_item(dice, field, depth)


def an_item(dice: random.Random, field: types.Field, depth: int) -> Any:
    if field.is_message:
        return a_message(dice, field.type, depth - 1)
    return dice.choice(BY_TYPE.get(field.type, OTHERS))


def a_message(dice: random.Random, name: str, depth: int) -> dict[str, Any]:
    if depth < 0:
        return {}
    fields = list(types.message(name).json_fields.items())
    chosen = fields if dice.random() < 0.3 else dice.sample(fields, dice.randint(0, min(6, len(fields))))
    return {key: a_value(dice, field, depth) for key, field in chosen}


def an_object(dice: random.Random, row: Resource) -> dict[str, Any] | None:
    """An object as it reaches the rules; None for one that is refused before."""
    body = a_message(dice, message_name(row), 7)
    metadata = body.get("metadata")
    body["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "name": "a"}
    if row.namespaced:
        body["metadata"]["namespace"] = "ns"
    try:
        obj = to_storage(row, decode_document(body, row).object)
    except DecodeError:
        return None
    apply_defaults(row.storage, obj)
    FieldManager(row).update(None, obj, "m", "2024-01-02T03:04:05Z")
    drop_disabled(row.storage, obj)
    obj["metadata"]["uid"] = "u"
    return obj


def judged(row: Resource, obj: dict[str, Any], old: dict[str, Any], subresource: str) -> list[FieldError]:
    """What is said of an object as a new one, and in place of another; the form for clients is made too."""
    strategy = strategy_for(row.storage)
    strategy.prepare_create(obj)
    wrong = validate_create(row, obj)
    if not wrong:
        strategy.settle(obj)
        create_warnings(row.storage, obj)
    from_storage(row, obj)
    strategy.prepare_create(old)
    strategy.prepare(obj, old, subresource)
    changes = validate_update(row, obj, old, subresource)
    if not changes and not wrong:
        update_warnings(row.storage, obj)
    return wrong + changes


def check(seed: int, row: Resource) -> None:
    dice = random.Random(seed)
    obj, old = an_object(dice, row), an_object(dice, row)
    if obj is not None and old is not None:
        subresource = dice.choice([name for name in SUBRESOURCES if not name or row.subresource(name) is not None])
        for error in judged(row, obj, old, subresource):
            assert error.path, error
            assert error.message, error


@given(st.integers(0, 2**32), st.sampled_from(KINDS))
@settings(max_examples=60, deadline=None)
def test_any_object_is_judged_in_words(seed: int, row: Resource) -> None:
    check(seed, row)


@pytest.mark.parametrize("row", KINDS, ids=lambda row: f"{row.plural}.{row.group}/{row.version}")
def test_each_kind_is_judged(row: Resource) -> None:
    check(0, row)
    check(1, row)
