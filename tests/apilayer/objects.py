"""Random objects of every kind: mostly of the right shape, often with values that nobody would write."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from apilayer.api import types

if TYPE_CHECKING:
    import random

    from apilayer.api.resources import Resource

MAX_DEPTH = 7
WRONG_SHAPE = 0.002
WORDS = """
a b a-b - A a.b/c $(A) ../.. /a a=b * 1 0 -1 100m 1Gi 1e999 5% 101% TCP 80 http 10.0.0.1 ::1 10.0.0.0/8 ::/0 None Always
Never OnFailure ClusterIP NodePort ExternalName In Exists NotIn Equal NoExecute Recreate RollingUpdate v1 apps/v1 Pod
Service pods kube-system default 2020-01-01T00:00:00Z {} object.spec true example.com example.com/a https://a.b/c
Resource Utilization Value cpu memory nvidia.com/gpu IPv4 IPv6 Localhost Delete Orphan
"""
STRINGS = (*WORDS.split(), "", "x" * 64, "x" * 254, "é", "\0", "\n", "* * * * *")
INTEGERS = (0, 1, 2, 80, 443, 30000, 65536, -1, 100, 2**31 - 1)
HUGE = (2**31, -(2**31) - 1, 2**63 - 1, -(2**63), 2**63, 2**70)
SPECIAL = {
    "Time": ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00+02:00"),
    "MicroTime": ("2020-01-01T00:00:00.000001Z",),
    "Quantity": ("0", "1", "-1", "100m", "1Gi", "1e3", "0.5", 3, 1.5),
}
WRONG = (None, True, 0, -1.5, "x", [], {}, [None], [[]], {"a": None}, [{}], 1e300)


def random_object(row: Resource, rnd: random.Random) -> dict[str, Any]:
    """An object of the row's kind with a name that is good."""
    obj = _message(f"{types.package_of(row)}.{row.kind}", rnd, 0)
    obj["apiVersion"], obj["kind"] = row.api_version, row.kind
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or rnd.random() < 0.7:
        metadata = obj["metadata"] = {}
    metadata["name"] = rnd.choice(("a", "b", "10.0.0.1", "v1.example.com", "system:a"))
    metadata.pop("namespace", None)
    metadata.pop("resourceVersion", None)
    return obj


def _message(name: str, rnd: random.Random, depth: int) -> dict[str, Any]:
    fields = types.message(name).json_fields
    wanted = rnd.random() ** 2 if depth > 1 else 1.0
    return {
        key: _value(field, rnd, depth + 1)
        for key, field in fields.items()
        if rnd.random() < wanted and (depth or key != "status") and (depth < MAX_DEPTH or not field.is_message)
    }


def _value(field: types.Field, rnd: random.Random, depth: int) -> Any:
    if rnd.random() < WRONG_SHAPE:
        return rnd.choice(WRONG)
    if field.repeated:
        return [_single(field, rnd, depth) for _ in range(rnd.choice((0, 1, 1, 2, 3)))]
    if field.is_map:
        return {rnd.choice(STRINGS): _single(field, rnd, depth) for _ in range(rnd.choice((0, 1, 2)))}
    return _single(field, rnd, depth)


def _single(field: types.Field, rnd: random.Random, depth: int) -> Any:
    kind = field.type
    if field.is_message:
        return _message(kind, rnd, depth)
    if kind in ("int32", "int64"):
        return rnd.choice(INTEGERS if rnd.random() < 0.99 else HUGE)
    if kind == "bool":
        return rnd.random() < 0.5
    if kind == "double":
        return rnd.choice((0.0, -1.5, 1e300))
    if kind == "bytes":
        return base64.b64encode(rnd.randbytes(rnd.randrange(4))).decode()
    if kind == "IntOrString":
        return rnd.choice(INTEGERS + STRINGS)
    if kind in ("FieldsV1", "RawExtension", "JSON", "SchemaOrBool", "SchemaOrArray", "SchemaOrStrings"):
        return rnd.choice(({}, {"f:a": {}}, {"a": [1]}, True, [], ["a"], {"type": "string"}, "x"))
    if kind in SPECIAL and rnd.random() < 0.98:
        return rnd.choice(SPECIAL[kind])
    if kind == "Strings":
        return [rnd.choice(STRINGS)]
    return rnd.choice(STRINGS)
