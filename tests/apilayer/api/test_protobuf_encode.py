"""Protobuf written from the type tables: what is written is read back as it was, for any object of any kind."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apilayer.api import protobuf
from apilayer.api.decode import message_name
from apilayer.api.decode.convert import converter
from apilayer.api.errors import DecodeError
from apilayer.api.protobuf import encode, envelope, message_encoder, type_head
from apilayer.api.protobuf.encode import varint
from apilayer.api.protobuf.message import Reader, decode_message
from apilayer.api.resources import RESOURCES, Resource
from apilayer.api.types import Field, message

SCHEMA = "apiextensions.k8s.io/v1.JSONSchemaProps"
TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.booleans() | st.integers(-5, 5) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT,
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.integers(-1000, 1000) | st.sampled_from([0.5, -2.25, 1e20]),
    "bytes": st.sampled_from(["", "eA==", "//79"]),
    "Time": st.sampled_from(["1969-12-31T23:59:59Z", "2026-02-03T04:05:06Z"]),
    "MicroTime": st.sampled_from(["2026-02-03T04:05:06.000007Z", "1901-01-01T00:00:00.999999Z"]),
    "Quantity": st.sampled_from(["0", "1", "100m", "1Gi"]),
    "IntOrString": st.integers(-5, 70000) | TEXT,
    "FieldsV1": st.dictionaries(TEXT, JSON, max_size=2),
    "RawExtension": st.dictionaries(TEXT, JSON, max_size=2),
    "JSON": JSON,
    "Strings": st.lists(TEXT, min_size=1, max_size=2),
}


def value_of(draw: st.DrawFn, field: Field, depth: int) -> Any:
    if field.type in ("SchemaOrBool", "SchemaOrArray", "SchemaOrStrings"):
        schema = document(draw, SCHEMA, depth + 1)
        other = {"SchemaOrBool": True, "SchemaOrArray": [schema], "SchemaOrStrings": ["a", "b"]}[field.type]
        return draw(st.sampled_from([schema, other]))
    if field.is_message:
        return document(draw, field.type, depth + 1)
    return draw(VALUES[field.type])


def document(draw: st.DrawFn, name: str, depth: int = 0) -> dict[str, Any]:
    """Some fields of message `name` with some values, fewer the deeper it stands."""
    made: dict[str, Any] = {}
    fields = sorted(message(name).json_fields.items())
    if not fields:  # the CustomResourceSubresourceStatus has none
        return made
    for key, field in draw(
        st.lists(st.sampled_from(fields), max_size=max(0, 4 - depth), unique_by=lambda item: item[0])
    ):
        if field.repeated:
            made[key] = [value_of(draw, field, depth) for _ in range(draw(st.integers(1, 2)))]
        elif field.is_map:
            made[key] = {name: value_of(draw, field, depth) for name in draw(st.sets(TEXT, min_size=1, max_size=2))}
        else:
            made[key] = value_of(draw, field, depth)
    return made


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A message of some kind and a canonical document of it."""
    name = message_name(draw(st.sampled_from(RESOURCES)))
    canonical: dict[str, Any] = converter(name)(document(draw, name))
    return name, canonical


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(objects())
def test_what_is_written_is_read_back(made: tuple[str, dict[str, Any]]) -> None:
    """Zero values that mean the same as absence may be left out: the canonical forms are equal."""
    name, obj = made
    written = message_encoder(name)(obj)
    read = decode_message(written, 0, len(written), name, 0)
    assert converter(name)(read) == obj
    assert message_encoder(name)(read) == written


@given(st.integers(-(2**63), 2**63 - 1))
def test_varints(number: int) -> None:
    written = varint(number)
    reader = Reader(written, 0, len(written))
    assert reader.signed() == number
    assert not reader.more()


def test_fields_come_in_the_order_of_their_numbers_and_maps_in_that_of_their_keys() -> None:
    written = message_encoder("core/v1.ConfigMap")({"data": {"b": "2", "a": "1"}, "metadata": {"name": "n"}})
    assert written == b"\n\x03\n\x01n\x12\x06\n\x01a\x12\x011\x12\x06\n\x01b\x12\x012"


def test_absent_empty_and_zero_are_told_apart_where_it_matters() -> None:
    encoder = message_encoder("core/v1.Volume")
    assert encoder({"name": "v"}) == b"\n\x01v"
    assert encoder({"name": "v", "emptyDir": {}}) == b"\n\x01v\x12\x02\x12\x00"
    replicas = message_encoder("apps/v1.DeploymentSpec")
    assert replicas({"replicas": 0}) == b"\x08\x00"
    assert replicas({"minReadySeconds": 0}) == b""


def test_an_envelope_names_the_type() -> None:
    made = envelope(type_head("v1", "ConfigMap"), message_encoder("core/v1.ConfigMap")({"metadata": {"name": "n"}}))
    assert made.startswith(b"k8s\x00\n\x0f\n\x02v1\x12\tConfigMap\x12")
    assert protobuf.decode(made) == {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "n"}}
    assert encode({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "n"}}) == made
    with pytest.raises(KeyError):
        encode({"kind": "Nothing", "apiVersion": "v1"})


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda row: f"{row.group_resource}.{row.version}")
def test_every_kind_has_a_message(resource: Resource) -> None:
    assert message_encoder(message_name(resource))({"metadata": {"name": "n"}}).endswith(b"\n\x01n")


@given(st.binary(max_size=60), st.sampled_from(["apiextensions.k8s.io/v1.JSONSchemaProps", "core/v1.Pod"]))
def test_any_bytes_are_read_or_refused(data: bytes, name: str) -> None:
    with contextlib.suppress(DecodeError):
        decode_message(data, 0, len(data), name, 0)
