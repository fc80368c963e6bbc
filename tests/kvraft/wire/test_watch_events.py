"""A batch's events, encoded in parts or in a way of our own: the same as whole, and in protobuf's way."""

import json
from itertools import pairwise

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.types import Event, EventKind, KeyValue, WatchBatch
from kvraft.wire import native
from kvraft.wire.etcd.event_json import events_as_json
from kvraft.wire.etcd.responses import from_events

numbers = st.integers(1, 2**63 - 1)
texts = st.binary(min_size=1, max_size=20)
kvs = st.builds(KeyValue, texts, st.binary(max_size=20), numbers, numbers, numbers, st.integers(0, 2**63 - 1))
gone = st.builds(lambda key, revision: KeyValue(key, b"", 0, revision, 0), texts, numbers)
previous = st.none() | kvs
events = st.lists(st.builds(Event, st.just(EventKind.PUT), kvs, previous)
                  | st.builds(Event, st.just(EventKind.DELETE), gone, previous), max_size=6)  # fmt: skip


@settings(max_examples=25)
@given(events, numbers, st.integers(0, 9), st.lists(st.integers(0, 6), max_size=3))
def test_a_batch_in_parts_is_the_batch(found: list[Event], revision: int, compact: int, cuts: list[int]) -> None:
    batch = WatchBatch(revision, found, compact)
    borders = sorted({0, len(found), *(cut for cut in cuts if cut < len(found))})
    parts = [native.encode_events(WatchBatch(revision, found[low:high])) for low, high in pairwise(borders)]
    assert b"".join(native.batch_frame(b"\0\0\0\1", batch, parts)) == native.encode_answer(b"\0\0\0\1", batch)


@pytest.mark.parametrize("count", [15, 16, 65_535, 65_536])
def test_however_many_they_are(count: int) -> None:
    batch = WatchBatch(7, [Event(EventKind.DELETE, KeyValue(b"k", b"", 0, 7, 0))] * count)
    parts = [native.encode_events(batch)]
    assert b"".join(native.batch_frame(b"\0\0\0\1", batch, parts)) == native.encode_answer(b"\0\0\0\1", batch)


@settings(max_examples=25)
@given(events)
def test_json_is_as_protobuf_has_it(found: list[Event]) -> None:
    message = json_format.MessageToDict(from_events(found), preserving_proto_field_name=True)
    assert json.loads(b"[" + events_as_json(found) + b"]") == message.get("events", [])
