"""A revision with very many changes, told to clients of the native protocol and of the JSON gateway: in one batch,
encoded in pieces between which the loop does everything else. For gRPC see ``etcd/test_watch.py``."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.types import PutRequest
from kvraft.watch.encoding import Shared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.client import Client
    from kvraft.server.member import Member
    from kvraft.types import WatchBatch

KEYS = [b"k%03d" % number for number in range(100)]
GONE = 3
"""The revision that deletes them all."""


@pytest.fixture
async def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Member]:
    monkeypatch.setattr("kvraft.mvcc.reading.LONG_CHANGES", 10)
    monkeypatch.setattr("kvraft.server.turns.CATCH_UP_EVENTS", 16)
    async with open_member(tmp_path / "data") as member:
        yield member


@pytest.fixture
async def client(member: Member) -> AsyncIterator[Client]:
    async with open_client(member.client_urls) as client:
        await client.txn((), [PutRequest(key, b"v") for key in KEYS])
        await client.delete_range(b"k", b"l")
        yield client


def counted(shared: Shared, sizes: list[int]) -> Shared:
    """``shared``, which writes down how many events it encodes at once."""

    def encode(batch: WatchBatch) -> bytes:
        sizes.append(len(batch.events))
        return shared(batch)

    return Shared(encode)


async def test_the_native_protocol(member: Member, client: Client) -> None:
    parts: list[int] = []
    wholes: list[int] = []
    member.encode_events = counted(member.encode_events, parts)
    member.encode_batch = counted(member.encode_batch, wholes)
    async with (
        client.watch(b"k", b"l", GONE, prev_kv=True) as first,
        client.watch(b"k", b"l", GONE, prev_kv=True) as second,
    ):
        for stream in (first, second):
            with trio.fail_after(30):
                batch = await anext(stream)
            assert batch.revision == GONE
            assert [event.kv.key for event in batch.events] == KEYS
            assert {event.prev_kv and event.prev_kv.value for event in batch.events} == {b"v"}
        await client.put(b"k", b"again")
        with trio.fail_after(30):
            assert [event.kv.value for event in (await anext(first)).events] == [b"again"]
    assert len(KEYS) <= sum(parts) <= 2 * len(KEYS), "watchers of one range share what is encoded"
    assert max(parts) <= 16
    assert max(wholes) <= 1


@pytest.mark.parametrize("fragment", [False, True])
@pytest.mark.parametrize("flags", [[], ["--http2-prior-knowledge"]])
async def test_the_json_gateway(member: Member, client: Client, flags: list[str], fragment: bool) -> None:
    sizes: list[int] = []
    member.etcd.json_events = counted(member.etcd.json_events, sizes)
    ask = {"key": "aw==", "range_end": "bA==", "start_revision": GONE, "fragment": fragment}
    command = ["curl", "-sSN", *flags, member.client_urls[0] + "/v3/watch", "-d", json.dumps({"create_request": ask})]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    text, answers = b"", []
    with trio.fail_after(30):
        while not answers or answers[-1].get("created") or answers[-1].get("fragment"):
            text += await process.stdout.receive_some()
            *lines, text = text.split(b"\n")
            answers += [json.loads(line)["result"] for line in lines]
    process.terminate()
    await process.wait()
    told = answers[1:]
    assert (len(told) > 1) is fragment
    assert [event["kv"]["key"] for answer in told for event in answer["events"]] == [
        base64.b64encode(key).decode() for key in KEYS
    ]
    assert {event["type"] for answer in told for event in answer["events"]} == {"DELETE"}
    assert sum(sizes) == len(KEYS) == (await client.range(b"k", b"l", revision=GONE - 1)).count
    assert max(sizes) <= 16
