"""Lists that are sent in parts: what arrives is the list, whichever way it goes out."""

from __future__ import annotations

import gzip

import orjson
import pytest

from apilayer.api.resources import find
from apilayer.pipeline.negotiation import Accepted
from apilayer.pipeline.request import PIECE_BYTES
from apilayer.registry.listing import Listing
from apilayer.server.compression import gzip as packed
from apilayer.server.forms import Form
from apilayer.storage.codec import Codec, Entry

CONFIGMAPS = find("", "v1", "configmaps")
assert CONFIGMAPS is not None
CODEC = Codec(CONFIGMAPS)


def entries(count: int, size: int) -> list[Entry]:
    found = []
    for number in range(count):
        obj = {"metadata": {"name": f"c{number}", "namespace": "default"}, "data": {"a": "x" * size}}
        found.append(CODEC.entry(b"/registry/configmaps/default/c%d" % number, CODEC.encode(obj), number + 1))
    return found


def form() -> Form:
    assert CONFIGMAPS is not None
    return Form(CONFIGMAPS, Accepted(), pretty=False, include="")


@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 10), (3, 100_000), (64, 5000), (65, 5000), (1000, 500)])
def test_parts_are_the_list(count: int, size: int) -> None:
    listed = entries(count, size)
    response = form().listing(Listing(listed, 77))
    parts = [response.body] if response.parts is None else list(response.parts)
    body = b"".join(parts)
    assert len(body) == response.size
    assert response.body == body
    assert (response.parts is not None) == (len(body) > PIECE_BYTES)
    document = orjson.loads(body)
    assert document["metadata"] == {"resourceVersion": "77"}
    assert document["items"] == [orjson.loads(entry.item) for entry in listed]
    assert gzip.decompress(packed(parts)) == body


def test_parts_are_small() -> None:
    response = form().listing(Listing(entries(1000, 3000), 77))
    assert response.parts is not None
    assert max(map(len, response.parts)) < 4 * PIECE_BYTES


async def test_a_large_list_over_http(client) -> None:
    configmaps = "/api/v1/namespaces/default/configmaps"
    for name in ("a", "b"):
        body = {"metadata": {"name": name}, "data": {"a": name * 150_000}}
        assert (await client.request("POST", configmaps, body)).status == 201
    plain = await client.request("GET", configmaps)
    assert [item["metadata"]["name"] for item in plain.json["items"]] == ["a", "b"]
    assert int(plain.headers["content-length"]) == len(plain.body)
    small = await client.request("GET", configmaps, Accept_Encoding="gzip")
    assert gzip.decompress(small.body) == plain.body
    assert (await client.request("GET", f"{configmaps}/a")).status == 200
