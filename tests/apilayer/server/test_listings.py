"""Long answers: made and sent in pieces, the same as at once, while others are served; seats are kept meanwhile."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.api.selectors import parse_field_selector, parse_label_selector
from apilayer.pipeline.request import PIECE_BYTES, Parts, Response
from apilayer.pipeline.turns import FLOW, turn
from apilayer.registry.listing import MATCHED_AT_ONCE, matching
from apilayer.server.compression import gzip
from apilayer.storage.watcher import Selection
from tests.apilayer.in_process import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.apilayer.in_process import Server

PATH = "/api/v1/namespaces/default/configmaps"
OBJECTS = 130
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PROTOBUF = "application/vnd.kubernetes.protobuf"


@pytest.fixture
async def full() -> AsyncIterator[Server]:
    async with serving() as server:
        for number in range(OBJECTS):
            body = {"metadata": {"name": f"c{number:04}", "labels": {"odd": str(number % 2)}}, "data": {"x": "y" * 900}}
            await server.request("POST", PATH, body)
        await server.registry.refresh()
        yield server


async def test_lists_are_the_same_in_pieces_as_at_once(full: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    events = "/apis/events.k8s.io/v1/events"
    for number in range(30):
        event = {
            "metadata": {"name": f"e{number}"},
            "involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"},
            "reason": "R",
        }
        assert (await full.request("POST", "/api/v1/namespaces/default/events", event)).status == 201
    for path, accept in (
        *((PATH, media) for media in ("application/json", METADATA, PROTOBUF)),
        *((f"{PATH}?{query}", "application/json") for query in ("limit=100", "labelSelector=odd%3D1", "pretty=true")),
        *((f"{PATH}?includeObject={what}", TABLE) for what in ("None", "Object", "Metadata")),
        *((events, media) for media in ("application/json", PROTOBUF)),
        (f"{PATH}?resourceVersion=0", f"{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"),
    ):
        response = await full.send("GET", path, accept=accept)
        assert response.status == 200, path
        monkeypatch.setattr("apilayer.server.listings.MAX_OBJECTS_AT_ONCE", 10**6)
        whole = await full.send("GET", path, accept=accept)
        monkeypatch.undo()
        assert response.body == whole.body, path
        assert response.size == len(response.body)
        assert response.content_type == whole.content_type


async def test_choosing_goes_through_everything_in_order(full: Server) -> None:
    resource = full.registry.of("configmaps").resource
    entries = full.registry.cache.of(resource).entries()
    odd = Selection(parse_label_selector("odd=1"), parse_field_selector("", resource))
    expected = [entry for entry in entries if odd.matches(entry)]
    assert len(expected) == OBJECTS // 2 > MATCHED_AT_ONCE
    for limit in (0, 1, MATCHED_AT_ONCE, OBJECTS):
        assert await matching(entries, odd, limit) == expected[: limit or None]


async def test_pages_with_a_selector(full: Server) -> None:
    names: list[str] = []
    token = ""
    while True:
        page = (await full.request("GET", f"{PATH}?labelSelector=odd%3D0&limit=30&continue={token}")).json
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        assert "remainingItemCount" not in page["metadata"]
        if not token:
            break
        assert len(page["items"]) == 30
    assert names == [f"c{number:04}" for number in range(0, OBJECTS, 2)]


async def test_of_all_long_work_one_piece_is_done_in_each_pass() -> None:
    order: list[tuple[str, int]] = []
    passes = 0

    async def work(name: str) -> None:
        for _ in range(5):
            await turn()
            order.append((name, passes))
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(work, name)
        while len(order) < 20:
            before = len(order)
            await trio.lowlevel.checkpoint()
            passes += 1
            assert len(order) - before <= 2  # the pass of this task may see the end of one and the start of the next
    assert len({at for _, at in order}) > 10
    for start in range(4, 16, 4):
        assert len({name for name, _ in order[start : start + 4]}) == 4


async def test_flows_take_turns_whatever_each_has_to_do() -> None:
    done: list[str] = []

    async def work(flow: str) -> None:
        FLOW.set(flow)
        await turn()
        done.append(flow)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(work, "greedy")
        for _ in range(3):
            nursery.start_soon(work, "good")
    assert max(place for place, flow in enumerate(done) if flow == "good") < 10


async def test_who_is_cancelled_while_waiting_for_a_turn_stops_nobody() -> None:
    done: list[int] = []

    async def work(number: int, scope: trio.CancelScope) -> None:
        with scope:
            await turn()
            done.append(number)

    scopes = [trio.CancelScope() for _ in range(5)]
    async with trio.open_nursery() as nursery:
        for number, scope in enumerate(scopes):
            nursery.start_soon(work, number, scope)
        await trio.lowlevel.checkpoint()
        scopes[1].cancel()
        scopes[2].cancel()
    assert {3, 4} <= set(done)
    await turn()


@pytest.mark.parametrize("count", [1, 2, 50, 400])
def test_pieces_make_the_whole(count: int) -> None:
    items = [b"%d" % number * (number % 700) for number in range(count)]
    pieces = Parts(b"head[", items, b",", b"]", sum(map(len, items)))
    whole = b"head[" + b",".join(items) + b"]"
    assert b"".join(pieces) == whole
    assert pieces.size == len(whole)
    sizes = [len(piece) for piece in pieces]
    assert all(size >= PIECE_BYTES for size in sizes[:-1])
    assert all(size < 2 * PIECE_BYTES for size in sizes)


def test_a_large_body_goes_out_in_pieces() -> None:
    response = Response(200, bytes(range(256)) * 1000)
    pieces = list(response.in_pieces())
    assert len(pieces) == 4
    assert b"".join(pieces) == response.body
    assert zlib.decompress(gzip(pieces), 31) == response.body
