"""Large batches in parts, for transports whose messages have a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from kvraft.types import Event, KeyValue, WatchBatch

KV_OVERHEAD_BYTES = 64
"""More than an encoding, in protobuf or msgpack, needs for a key beside its own and its value's bytes."""
EVENT_OVERHEAD_BYTES = 16


def event_bytes(event: Event) -> int:
    """At least what the encoded event takes."""
    size = EVENT_OVERHEAD_BYTES + _kv_bytes(event.kv)
    return size if event.prev_kv is None else size + _kv_bytes(event.prev_kv)


def _kv_bytes(kv: KeyValue) -> int:
    return KV_OVERHEAD_BYTES + len(kv.key) + len(kv.value)


def split_batch(batch: WatchBatch, max_bytes: int) -> list[WatchBatch]:
    """``batch`` as parts of at most ``max_bytes`` of events each, cut between events; one event is never cut.

    Only the last part completes the batch's revision: until then a receiver has an unfinished one, so on the wire all
    the others have to say that more follows. The same batch alone when it need not be cut.
    """
    parts: list[list[Event]] = [[]]
    size = 0
    for event in batch.events:
        event_size = event_bytes(event)
        if parts[-1] and size + event_size > max_bytes:
            parts.append([])
            size = 0
        parts[-1].append(event)
        size += event_size
    if len(parts) == 1:
        return [batch]
    return [msgspec.structs.replace(batch, events=events) for events in parts]
