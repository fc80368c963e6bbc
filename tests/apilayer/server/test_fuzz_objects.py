"""Random objects of every kind, damaged protobuf, and bodies that are built to hurt: an answer, and soon."""

from __future__ import annotations

import json
import random
import time
from urllib.parse import quote

import orjson
import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apilayer.api import protobuf, quantity
from tests.apilayer.in_process import serving
from tests.apilayer.objects import random_object
from tests.apilayer.server.fuzzing import (
    APPLY,
    CONFIGMAPS,
    CREATED,
    JSON,
    JSON_PATCH,
    MAX_SECONDS,
    MERGE,
    PROTOBUF,
    STRATEGIC,
    YAML,
    check,
    path_of,
    sane,
)

SEEDS = st.integers(0, 2**32 - 1)
DAMAGE = st.tuples(st.integers(0, 2000), st.binary(max_size=3))
WRITES = (
    ("PUT", JSON, ""),
    ("PATCH", MERGE, ""),
    ("PATCH", STRATEGIC, ""),
    ("PATCH", APPLY, "?fieldManager=f&force=true"),
)


async def write_everything(seed: int) -> None:
    """A create, an update, each kind of patch and a status for one kind after the other."""
    rnd = random.Random(seed)
    async with serving() as server:
        for row in rnd.sample(CREATED, 10):
            path = path_of(row)
            obj = random_object(row, rnd)
            await sane(server, "POST", path, json.dumps(obj).encode())
            name = quote(obj["metadata"]["name"])
            for method, media, query in WRITES:
                changed = random_object(row, rnd)
                changed["metadata"]["name"] = obj["metadata"]["name"]
                await sane(server, method, f"{path}/{name}{query}", json.dumps(changed).encode(), content_type=media)
            if any(sub.name == "status" for sub in row.subresources):
                status = json.dumps(random_object(row, rnd)).encode()
                await sane(server, "PATCH", f"{path}/{name}/status", status, content_type=MERGE)


@settings(deadline=None, max_examples=4)
@given(SEEDS)
@example(61)  # an empty list beside a claim in a StatefulSet
@example(931)  # a name alone where a schema has a list of them
def test_random_objects_of_every_kind(seed: int) -> None:
    trio.run(write_everything, seed)


def test_owned_fields_that_are_no_set() -> None:
    """They are ignored, as everything in managedFields that cannot be read."""
    entry = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    for fields in ("x", True, [1]):
        body = {"metadata": {"name": "b", "managedFields": [{**entry, "fieldsV1": fields}]}}

        async def run(body: object = body) -> None:
            async with serving() as server:
                answer = await server.request("POST", CONFIGMAPS, body)
                assert answer.status == 201
                assert answer.json["metadata"].get("managedFields") is None

        trio.run(run)


def test_an_apply_to_lists_that_are_not_of_their_type() -> None:
    """A list of a live object without the keys of its items can be nobody's; what the apply says is kept out of it."""

    async def run() -> None:
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        body = {"metadata": {"name": "a"}, "secrets": [{"kind": "x"}]}
        config = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "secrets": [{"name": "n"}]}
        async with serving() as server:
            assert (await server.request("POST", accounts, body)).status == 201
            answer = await server.request("PATCH", f"{accounts}/a?fieldManager=f", config, content_type=APPLY)
            assert answer.status == 500
            assert "associative list with keys has an element that omits all key fields" in answer.json["message"]

    trio.run(run)


def envelope(seed: int) -> tuple[str, bytes]:
    """A path, and an object of its kind in protobuf."""
    rnd = random.Random(seed)
    while True:
        row = rnd.choice(CREATED)
        try:
            return path_of(row), protobuf.encode(random_object(row, rnd))
        except (AttributeError, TypeError, ValueError, OverflowError):
            continue  # a value that no typed client could send


@settings(deadline=None, max_examples=9)
@given(
    st.lists(st.tuples(SEEDS, st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=3)), max_size=4)), max_size=6)
)
def test_damaged_protobuf(damages: list[tuple[int, list[tuple[int, bytes]]]]) -> None:
    requests = []
    for seed, damage in damages:
        path, whole = envelope(seed)
        body = bytearray(whole)
        for position, put in damage:
            at = position % len(body)
            body[at : at + 1] = put
        requests.append(("POST", path, bytes(body), {"content_type": PROTOBUF}))
    check(requests)


# ---------------------------------------------------------------------- what is built to hurt

NINE = [", ".join([f"*a{index}"] * 9) for index in range(19)]
LAUGHS = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{nine}]" for i, nine in enumerate(NINE, 1))])
MERGES = "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{nine}]}}" for i, nine in enumerate(NINE, 1))])
START = b'{"metadata":{"name":"b"},"data":'
BOMBS = {
    "deep JSON": (JSON, START + b'{"a":' * 500_000 + b"1" + b"}" * 500_001),
    "deep lists": (JSON, b"[" * 2_000_000),
    "a huge number": (JSON, b'{"metadata":{"generation":' + b"9" * 2_000_000 + b"}}"),
    "a huge exponent": (JSON, b'{"metadata":{"generation":1e999999999}}'),
    "many members": (JSON, START + b"{" + b",".join(b'"k%d":""' % index for index in range(50_000)) + b"}}"),
    "one member many times": (JSON, START + b"{" + b",".join([b'"k":""'] * 100_000) + b"}}"),
    "aliases of aliases": (YAML, LAUGHS.encode()),
    "merges of merges": (YAML, MERGES.encode()),
    "deep YAML": (YAML, b"[" * 500_000),
    "deep YAML blocks": (YAML, b"- " * 200_000),
    "many documents": (YAML, b"---\n" * 500_000),
    "a huge YAML number": (YAML, b"a: " + b"9" * 1_000_000),
    "a huge YAML octal": (YAML, b"a: 0" + b"7" * 1_000_000),
    "protobuf in protobuf": (PROTOBUF, b"k8s\0" + b"\x12\xff\xff\x7f" * 200_000),
    "no end of a varint": (PROTOBUF, b"k8s\0" + b"\xff" * 2_000_000),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name: str) -> None:
    media, body = BOMBS[name]

    async def run() -> None:
        async with serving() as server:
            answer = await sane(server, "POST", CONFIGMAPS, body, content_type=media)
            assert answer is not None
            assert answer.status in (201, 400, 413, 415, 422), answer.body[:300]

    trio.run(run)


async def test_patches_that_grow_are_bounded() -> None:
    """Copies of copies: each operation doubles what is there."""
    operations = [{"op": "add", "path": "/data/a0", "value": "x" * 1000}]
    operations += [{"op": "copy", "from": "/data", "path": f"/data/a{index}"} for index in range(1, 60)]
    async with serving() as server:
        await server.request("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": {"a": "1"}})
        patch = orjson.dumps(operations)
        answer = await sane(server, "PATCH", f"{CONFIGMAPS}/a", patch, content_type=JSON_PATCH)
        assert answer is not None
        assert answer.status in (400, 413, 422), answer.body[:300]


@settings(deadline=None, max_examples=50)
@given(st.one_of(st.text(max_size=20), st.text("0123456789.eE+-nuµmkKMGTPi", max_size=300)))
def test_quantities(text: str) -> None:
    started = time.process_time()
    try:
        parsed = quantity.parse(text)
    except quantity.QuantityError:
        return
    finally:
        assert time.process_time() - started < MAX_SECONDS
    assert quantity.parse(str(parsed)).amount == parsed.amount
