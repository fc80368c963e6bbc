"""Protobuf bodies: the same object as from JSON, and nothing that malformed bytes can break.

Bodies are written here by hand-made helpers, field by field, as client-go writes them.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api import protobuf
from apilayer.api.decode import decode_body, decode_options
from apilayer.api.errors import DecodeError
from apilayer.api.resources import find
from apilayer.api.status import StatusError

PROTOBUF = "application/vnd.kubernetes.protobuf"


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def num(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def sub(field: int, *parts: bytes | str) -> bytes:
    data = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(data)) + data


def envelope(api_version: str, kind: str, *parts: bytes) -> bytes:
    return b"k8s\x00" + sub(1, sub(1, api_version), sub(2, kind)) + sub(2, *parts) + sub(3) + sub(4)


def entry(key: str, value: bytes | str) -> bytes:
    return sub(1, key) + sub(2, value)


def decoded(body: bytes, plural: str, group: str = "") -> dict[str, Any]:
    row = find(group, "v1", plural)
    assert row is not None
    return decode_body(body, PROTOBUF, row).object


def from_json(value: Any, plural: str, group: str = "") -> dict[str, Any]:
    row = find(group, "v1", plural)
    assert row is not None
    return decode_body(json.dumps(value).encode(), "application/json", row, field_validation="Strict").object


# As a typed client writes metadata: zero values of plain fields present, an empty creation time.
META = sub(1, sub(1, "a"), sub(2), sub(3), sub(4), sub(5), sub(6), num(7, 0), sub(8))


def test_config_map() -> None:
    meta = sub(1, sub(1, "a"), sub(11, entry("l", "v")), sub(12, entry("n", "ä")), sub(8))
    body = envelope("v1", "ConfigMap", meta, sub(2, entry("k", "1")), sub(3, entry("b", b"\x00\x01")), num(4, 0))
    assert decoded(body, "configmaps") == from_json(
        {
            "metadata": {"name": "a", "labels": {"l": "v"}, "annotations": {"n": "ä"}},
            "data": {"k": "1"},
            "binaryData": {"b": "AAE="},
            "immutable": False,
        },
        "configmaps",
    )


def test_zero_values_of_plain_fields_are_as_if_absent() -> None:
    container = sub(1, "c") + sub(2, "i") + sub(5) + sub(8) + num(16, 0) + sub(13)
    spec = sub(2, container) + sub(3) + num(11, 0) + sub(10) + num(37, 0)
    body = envelope("v1", "Pod", META, sub(2, spec), sub(3, sub(1), sub(3)))
    assert decoded(body, "pods") == from_json(
        {"metadata": {"name": "a"}, "spec": {"hostUsers": False, "containers": [{"name": "c", "image": "i"}]}}, "pods"
    )


def test_pod_with_every_kind_of_value() -> None:
    amounts = sub(1, sub(1, "cpu"), sub(2, sub(1, "1000m")))
    int_port = sub(2, num(1, 0), num(2, 80), sub(3))
    str_port = sub(2, num(1, 1), num(2, 0), sub(3, "web"))
    probe = sub(1, sub(2, sub(1, "/"), int_port))
    hook = sub(12, sub(2, sub(2, str_port)))
    volume = sub(1, sub(1, "v"), sub(2, sub(19, sub(1, sub(1, "cm")), num(3, 420))))
    environment = sub(7, sub(1, "A"), sub(3, sub(3, sub(1, sub(1, "cm")), sub(2, "k"))))
    container = sub(1, "c") + environment + sub(8, amounts) + sub(10, probe) + hook
    context = sub(14, num(4, 1), num(4, 2), num(2, -1))
    spec = volume + sub(2, container) + context + num(25, -5)
    meta = sub(1, sub(8, num(1, 1_700_000_000), num(2, 0)), sub(17, sub(7, sub(1, '{"f:a":{}}'))))
    body = envelope("v1", "Pod", meta, sub(2, spec))
    assert decoded(body, "pods") == from_json(
        {
            "metadata": {
                "creationTimestamp": "2023-11-14T22:13:20Z",
                "managedFields": [{"fieldsV1": {"f:a": {}}}],
            },
            "spec": {
                "volumes": [{"name": "v", "configMap": {"name": "cm", "defaultMode": 420}}],
                "containers": [
                    {
                        "name": "c",
                        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "cm", "key": "k"}}}],
                        "resources": {"limits": {"cpu": "1"}},
                        "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
                        "lifecycle": {"preStop": {"httpGet": {"port": "web"}}},
                    }
                ],
                "securityContext": {"supplementalGroups": [1, 2], "runAsUser": -1},
                "priority": -5,
            },
        },
        "pods",
    )


def test_lease_times_and_packed_numbers() -> None:
    spec = sub(2, sub(1), num(2, 15), sub(4, num(1, 1_700_000_000), num(2, 250_000_000)))
    lease = decoded(envelope("coordination.k8s.io/v1", "Lease", META, spec), "leases", "coordination.k8s.io")
    assert lease["spec"] == {
        "holderIdentity": "",
        "leaseDurationSeconds": 15,
        "renewTime": "2023-11-14T22:13:20.250000Z",
    }
    groups = sub(2, sub(14, sub(4, varint(7) + varint(8))))
    assert decoded(envelope("v1", "Pod", groups), "pods")["spec"]["securityContext"] == {"supplementalGroups": [7, 8]}


def test_delete_options_of_any_group() -> None:
    body = envelope("apps/v1", "DeleteOptions", num(1, 0), sub(2, sub(1, "u")), sub(4, "Foreground"))
    assert decode_options(body, PROTOBUF) == {
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
        "propagationPolicy": "Foreground",
    }


def test_unknown_fields_are_skipped() -> None:
    extra = num(99, 5) + sub(98, "x") + varint(97 << 3 | 5) + b"\0" * 4 + varint(96 << 3 | 1) + b"\0" * 8
    assert decoded(envelope("v1", "ConfigMap", META, extra), "configmaps")["metadata"] == {"name": "a"}


def test_envelope_without_type_takes_the_resource() -> None:
    body = b"k8s\x00" + sub(2, META)
    assert decoded(body, "configmaps") == from_json({"metadata": {"name": "a"}}, "configmaps")


def test_wrong_kind() -> None:
    with pytest.raises(StatusError, match=r"converting \(v1.Secret\) to \(core.ConfigMap\)"):
        decoded(envelope("v1", "Secret", META), "configmaps")
    with pytest.raises(StatusError, match='no kind "Nope" is registered'):
        decoded(envelope("v1", "Nope", META), "configmaps")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "empty data (<empty>)"),
        (b"\n\x01a", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] (0a0161)"),
        (b"k8s\x00\n\x05a", "unexpected EOF (6b3873000a0561)"),
        (b"k8s\x00\x07", "proto: illegal tag 0 (wire type 7) (6b38730007)"),
        (b"k8s\x00\x0b", "proto: illegal wireType 3 (6b3873000b)"),
        (b"k8s\x00\x08" + b"\xff" * 10, "proto: integer overflow (6b38730008ffffffffffffffffffff)"),
    ],
)
def test_malformed_envelopes(body: bytes, problem: str) -> None:
    with pytest.raises(StatusError) as caught:
        decoded(body, "configmaps")
    assert caught.value.code == 400
    head = "the object provided is unrecognized (must be of type ConfigMap): "
    assert str(caught.value) == head + problem


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        (num(1, 5), "wrong wireType = 0 for field metadata"),
        (sub(4, "x"), "wrong wireType = 2 for field immutable"),
        (sub(1, sub(17, sub(7, sub(1, "{")))), "unexpected end of JSON input"),
        (sub(1, sub(17, sub(7, sub(1, "[" * 200 + "]" * 200)))), "exceeded max depth"),
        (sub(1, sub(8, num(1, 2**62))), "out of range"),
        (sub(1, sub(8, sub(1, "x"))), "wrong wireType"),
        (b"\x0a\x7f", "unexpected EOF"),
        (varint(99 << 3 | 5) + b"\0", "unexpected EOF"),
    ],
)
def test_malformed_messages(part: bytes, problem: str) -> None:
    with pytest.raises(DecodeError, match=problem):
        protobuf.decode(envelope("v1", "ConfigMap", part))


def test_content_encodings_are_refused() -> None:
    with pytest.raises(DecodeError, match="content encodings"):
        protobuf.decode(b"k8s\x00" + sub(3, "gzip"))


GOOD = envelope("v1", "Pod", META, sub(2, sub(2, sub(1, "c"), sub(8, sub(1, sub(1, "cpu"), sub(2, sub(1, "1")))))))


@given(st.integers(0, len(GOOD)), st.binary(max_size=4))
def test_damaged_bodies_are_decoded_or_refused(position: int, noise: bytes) -> None:
    for body in (GOOD[:position] + noise, GOOD[:position] + noise + GOOD[position:]):
        try:
            decoded(body, "pods")
        except StatusError as error:
            assert error.code == 400
