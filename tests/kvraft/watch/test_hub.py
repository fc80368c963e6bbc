"""The hub's rules one by one, over a real state machine."""

from __future__ import annotations

import msgspec
import pytest

from kvraft.apply.command import encode_command, join_commands
from kvraft.apply.machine import StateMachine
from kvraft.errors import InvalidArgument
from kvraft.raft.messages import Configuration, Entry
from kvraft.types import (
    CompactRequest,
    DeleteRangeRequest,
    EventKind,
    KeyValue,
    PutRequest,
    TxnRequest,
    WatchBatch,
    WatchRequest,
)
from kvraft.watch.fragments import event_bytes, split_batch
from kvraft.watch.hub import WatchHub
from kvraft.watch.watcher import WatcherState

ALL = (b"\0", b"\0")


class Store:
    """A state machine that applies what it is told, batch by batch."""

    def __init__(self, path, member_id: int = 1) -> None:
        self.machine = StateMachine.open(path, sync=False)
        self.machine.initialise(Configuration((1,)), 1, member_id)
        self.hub = self.machine.watch

    def apply(self, *commands):
        first = self.machine.applied_index + 1
        return self.machine.apply(
            [
                Entry(first + number, 1, 0, join_commands([encode_command(command)]))
                for number, command in enumerate(commands)
            ]
        )

    def put(self, *keys: bytes) -> None:
        self.apply(*(PutRequest(key, b"v") for key in keys))


class Sink:
    """Takes ``room`` batches."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.batches: list[WatchBatch] = []

    def deliver(self, watcher, batch: WatchBatch) -> bool:
        if not self.room:
            return False
        self.room -= 1
        self.batches.append(batch)
        return True

    def seen(self) -> list[tuple[bytes, int]]:
        return [(event.kv.key, event.kv.mod_revision) for batch in self.batches for event in batch.events]


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    yield store
    store.machine.close()


@pytest.fixture
def sink():
    return Sink()


def test_a_watch_starts_with_the_next_change(store, sink):
    store.put(b"a")
    watcher = store.hub.watch(WatchRequest(b"a"), sink)
    assert not store.hub.catch_up(10)
    store.put(b"a", b"b", b"a")
    assert sink.seen() == [(b"a", 3), (b"a", 5)]
    assert [batch.revision for batch in sink.batches] == [5]
    assert store.hub.progress(watcher) == 5


def test_one_apply_is_one_batch_and_revisions_are_whole(store, sink):
    store.hub.watch(WatchRequest(*ALL), sink)
    store.apply(TxnRequest((), (PutRequest(b"b", b""), PutRequest(b"a", b""))), PutRequest(b"c", b""))
    assert [batch.revision for batch in sink.batches] == [3]
    assert sink.seen() == [(b"b", 2), (b"a", 2), (b"c", 3)]


def test_a_batch_is_shared_by_watchers_of_the_same_range_and_option(store):
    sinks = [Sink() for _ in range(4)]
    for number, sink in enumerate(sinks):
        store.hub.watch(WatchRequest(*ALL, prev_kv=number == 3), sink)
    store.put(b"a")
    assert sinks[0].batches[0] is sinks[1].batches[0] is sinks[2].batches[0]
    assert sinks[3].batches[0] is not sinks[0].batches[0]
    late = [Sink(), Sink()]
    for sink in late:
        store.hub.watch(WatchRequest(*ALL, start_revision=1), sink)
    store.hub.catch_up(10)
    assert late[0].batches[0] is late[1].batches[0]


def test_previous_values(store, sink):
    plain = Sink()
    store.hub.watch(WatchRequest(b"a", prev_kv=True), sink)
    store.hub.watch(WatchRequest(b"a"), plain)
    store.apply(PutRequest(b"a", b"1"), PutRequest(b"a", b"2"), DeleteRangeRequest(b"a"), PutRequest(b"a", b"3"))
    events = sink.batches[0].events
    assert [event.prev_kv for event in events] == [
        None,
        KeyValue(b"a", b"1", 2, 2, 1),
        KeyValue(b"a", b"2", 2, 3, 2),
        None,
    ]
    assert (events[2].kind, events[2].kv) == (EventKind.DELETE, KeyValue(b"a", b"", 0, 4, 0))
    assert all(event.prev_kv is None for event in plain.batches[0].events)


def test_a_previous_value_applied_together_with_its_compaction_is_still_sent(store, sink):
    store.put(b"a")
    store.hub.watch(WatchRequest(b"a", prev_kv=True), sink)
    store.apply(PutRequest(b"a", b"2"), PutRequest(b"a", b"3"), CompactRequest(4))
    assert [event.prev_kv.mod_revision for event in sink.batches[0].events] == [2, 3]


def test_an_empty_key_is_the_first_key(store, sink):
    store.hub.watch(WatchRequest(b"", b"\0"), sink)
    store.put(b"a")
    assert sink.seen() == [(b"a", 2)]


def test_an_empty_range_is_refused(store, sink):
    with pytest.raises(InvalidArgument, match="watcher range is empty"):
        store.hub.watch(WatchRequest(b"b", b"b"), sink)


def test_the_past_is_read_in_chunks_and_handed_over_without_a_gap(store, sink):
    store.put(*(b"k%d" % number for number in range(10)))
    store.machine.commit()
    store.put(b"uncommitted")
    watcher = store.hub.watch(WatchRequest(*ALL, start_revision=4), sink)
    assert store.hub.progress(watcher) is None
    assert store.hub.catch_up(3)
    store.put(b"meanwhile")
    while store.hub.catch_up(3):
        pass
    assert store.hub.progress(watcher) == 13
    store.put(b"after")
    assert [revision for _, revision in sink.seen()] == list(range(4, 15))
    assert len(sink.batches) == 5


def test_a_chunk_never_cuts_a_revision(store, sink):
    store.apply(TxnRequest((), tuple(PutRequest(b"%d" % number, b"") for number in range(50))), PutRequest(b"x", b""))
    store.hub.watch(WatchRequest(*ALL, start_revision=2), sink)
    assert store.hub.catch_up(10)
    assert [len(batch.events) for batch in sink.batches] == [50]
    assert not store.hub.catch_up(10)
    assert sink.seen()[-1] == (b"x", 3)


def test_the_furthest_behind_does_not_hold_up_the_others(store):
    store.put(*(b"k" for _ in range(1000)))
    far, near = Sink(), Sink()
    store.hub.watch(WatchRequest(b"k", start_revision=2), far)
    almost = store.hub.watch(WatchRequest(b"k", start_revision=999), near)
    for _ in range(2):
        store.hub.catch_up(10)
    assert store.hub.progress(almost) == 1001
    assert len(far.seen()) == 10


@pytest.mark.parametrize("starts", [(2, 20, 39), (39, 20, 2), (20, 39, 2)])
def test_lagging_watchers_at_different_places_each_get_their_own(store, starts):
    store.put(*(b"k" for _ in range(40)))
    sinks = [Sink() for _ in starts]
    for start, sink in zip(starts, sinks, strict=True):
        store.hub.watch(WatchRequest(b"k", start_revision=start), sink)
    while store.hub.catch_up(7):
        pass
    for start, sink in zip(starts, sinks, strict=True):
        assert [revision for _, revision in sink.seen()] == list(range(start, 42))


def test_a_start_in_the_future_gets_nothing_older(store, sink):
    watcher = store.hub.watch(WatchRequest(*ALL, start_revision=4), sink)
    assert not store.hub.catch_up(10)
    store.put(b"a")
    assert store.hub.progress(watcher) is None
    store.put(b"b", b"c", b"d")
    assert sink.seen() == [(b"c", 4), (b"d", 5)]
    assert store.hub.progress(watcher) == 5


def test_a_compacted_start_is_told_and_over(store, sink):
    store.put(b"a", b"b", b"c")
    store.apply(CompactRequest(3))
    watcher = store.hub.watch(WatchRequest(*ALL, start_revision=2), sink)
    assert not sink.batches, "not before watch() returns"
    assert not store.hub.catch_up(10)
    assert sink.batches == [WatchBatch(4, [], 3)]
    assert watcher.state is WatcherState.OVER
    store.put(b"d")
    store.hub.cancel(watcher)
    assert len(sink.batches) == 1


def test_a_start_at_the_compacted_revision_sees_its_events(store, sink):
    store.put(b"a")
    store.apply(DeleteRangeRequest(b"a"), PutRequest(b"b", b""), CompactRequest(3))
    while store.machine.compact_step(10):
        pass
    store.hub.watch(WatchRequest(*ALL, start_revision=3, prev_kv=True), sink)
    store.hub.catch_up(10)
    assert sink.seen() == [(b"a", 3), (b"b", 4)]
    assert sink.batches[0].events[0].prev_kv is None


def test_a_full_sink_loses_nothing_and_is_left_alone_until_resumed(store):
    sink, other = Sink(room=1), Sink()
    watcher = store.hub.watch(WatchRequest(*ALL), sink)
    store.hub.watch(WatchRequest(*ALL), other)
    for key in (b"a", b"b", b"c"):
        store.put(key)
    assert not store.hub.catch_up(10), "a blocked watcher is no work"
    assert store.hub.statistics() == {"synced": 1, "lagging": 0, "blocked": 1}
    assert (len(sink.seen()), len(other.seen())) == (1, 3)
    assert store.hub.progress(watcher) is None
    store.hub.resume(watcher)
    store.hub.catch_up(10)
    assert store.hub.statistics()["blocked"] == 1
    sink.room = 10
    store.hub.resume(watcher)
    store.hub.resume(watcher)
    store.hub.catch_up(10)
    assert sink.seen() == other.seen()


def test_a_full_sink_that_is_compacted_past_is_told(store):
    sink = Sink(room=0)
    watcher = store.hub.watch(WatchRequest(*ALL), sink)
    store.put(b"a", b"b", b"c")
    store.apply(CompactRequest(4))
    store.hub.resume(watcher)
    store.hub.catch_up(10)
    assert watcher.state is WatcherState.BLOCKED
    sink.room = 1
    store.hub.resume(watcher)
    store.hub.catch_up(10)
    assert sink.batches == [WatchBatch(4, [], 4)]


def test_a_cancelled_watcher_is_not_served(store, sink):
    watchers = [store.hub.watch(WatchRequest(*ALL, start_revision=start), sink) for start in (0, 1, 9)]
    blocked = store.hub.watch(WatchRequest(*ALL), Sink(room=0))
    store.put(b"a")
    taken = len(sink.batches)
    for watcher in (*watchers, blocked):
        store.hub.cancel(watcher)
        store.hub.cancel(watcher)
    store.hub.resume(blocked)
    store.put(b"b")
    assert not store.hub.catch_up(10)
    assert len(sink.batches) == taken
    assert store.hub.statistics() == {"synced": 0, "lagging": 0, "blocked": 0}


@pytest.mark.parametrize("start", [0, 1])
@pytest.mark.parametrize("taken", [True, False])
def test_a_sink_may_cancel_watchers_of_its_own_group(store, start, taken):
    watchers = []

    class Cancelling(Sink):
        def deliver(self, watcher, batch):
            for one in watchers:
                store.hub.cancel(one)
            return super().deliver(watcher, batch)

    sink = Cancelling(room=1 if taken else 0)
    store.put(b"before")
    watchers += [store.hub.watch(WatchRequest(*ALL, start_revision=start), sink) for _ in range(3)]
    store.put(b"a")
    store.hub.catch_up(10)
    assert len(sink.batches) == taken
    assert store.hub.statistics() == {"synced": 0, "lagging": 0, "blocked": 0}


def test_a_snapshot_never_takes_a_watcher_back(tmp_path, store, sink):
    follower = Store(tmp_path / "follower", member_id=2)
    for applied in (store, follower):
        applied.put(b"a", b"b")
    watcher = follower.hub.watch(WatchRequest(*ALL), sink)
    future = Sink()
    follower.hub.watch(WatchRequest(*ALL, start_revision=6), future)
    for applied in (store, follower):
        applied.put(b"c")
    store.put(b"d", b"e", b"f")
    store.machine.commit()
    writer = follower.machine.incoming()
    for chunk in store.machine.snapshot():
        writer.write(chunk)
    writer.finish()
    follower.machine.install(writer)
    assert follower.hub.progress(watcher) is None
    while follower.hub.catch_up(2):
        pass
    assert follower.hub.progress(watcher) == follower.machine.revision == 7
    assert sink.seen() == [(b"c", 4), (b"d", 5), (b"e", 6), (b"f", 7)]
    assert future.seen() == [(b"e", 6), (b"f", 7)]
    follower.machine.close()


def test_a_watcher_that_has_seen_everything_is_never_told_of_a_compaction(tmp_path, store):
    """Nothing in its range has changed for long; then its sink is full, or the state is replaced."""
    follower = Store(tmp_path / "follower", member_id=2)
    full, replaced = Sink(room=0), Sink()
    blocked = follower.hub.watch(WatchRequest(b"x"), full)
    follower.hub.watch(WatchRequest(b"y"), replaced)
    for _ in range(2):
        for applied in (store, follower):
            applied.put(b"a", b"b")
            applied.apply(CompactRequest(applied.machine.revision))
    for applied in (store, follower):
        applied.put(b"x", b"y")
    store.machine.commit()
    full.room = 1
    follower.hub.resume(blocked)
    assert not follower.hub.catch_up(10)
    writer = follower.machine.incoming()
    for chunk in store.machine.snapshot():
        writer.write(chunk)
    writer.finish()
    follower.machine.install(writer)
    assert not follower.hub.catch_up(10)
    assert (full.seen(), replaced.seen()) == ([(b"x", 6)], [(b"y", 7)])
    for applied in (store, follower):
        applied.put(b"a", b"b")
    store.apply(CompactRequest(9))
    store.machine.commit()
    writer = follower.machine.incoming()
    for chunk in store.machine.snapshot():
        writer.write(chunk)
    writer.finish()
    follower.machine.install(writer)
    assert not follower.hub.catch_up(10)
    assert follower.hub.statistics() == {"synced": 2, "lagging": 0, "blocked": 0}
    follower.machine.close()


def test_filters_leave_events_of_a_kind_out(store):
    sinks = {options: Sink() for options in ((False, False), (True, False), (False, True), (True, True))}
    for (no_put, no_delete), sink in sinks.items():
        store.hub.watch(WatchRequest(*ALL, no_put=no_put, no_delete=no_delete), sink)
    store.put(b"a")
    store.apply(DeleteRangeRequest(b"a"))
    late = Sink()
    store.hub.watch(WatchRequest(*ALL, start_revision=1, no_put=True), late)
    store.hub.catch_up(100)
    kinds = {options: [e.kind for batch in sink.batches for e in batch.events] for options, sink in sinks.items()}
    assert kinds == {
        (False, False): [EventKind.PUT, EventKind.DELETE],
        (True, False): [EventKind.DELETE],
        (False, True): [EventKind.PUT],
        (True, True): [],
    }
    assert sinks[True, True].batches == [], "a batch without events would be progress, which nobody asked for"
    assert late.seen() == [(b"a", 3)]


def test_a_stream_is_at_a_revision_when_all_of_its_watchers_are(store):
    assert store.hub.progress_of_all([]) is None
    store.put(b"a", b"a")
    here = store.hub.watch(WatchRequest(*ALL), Sink())
    behind = store.hub.watch(WatchRequest(*ALL, start_revision=1), Sink())
    ahead = store.hub.watch(WatchRequest(*ALL, start_revision=5), Sink())
    full = store.hub.watch(WatchRequest(*ALL), Sink(room=0))
    assert store.hub.progress_of_all([here]) == 3
    assert store.hub.progress_of_all([here, behind]) is None
    assert store.hub.progress_of_all([here, ahead]) is None
    store.hub.catch_up(100)
    assert store.hub.progress_of_all([here, behind]) == 3
    store.put(b"b", b"b")
    assert store.hub.progress_of_all([here, behind, ahead]) == 5
    assert store.hub.progress_of_all([here, full]) is None


def test_progress_is_told_now_and_then_while_nothing_happens(tmp_path):
    store = Store(tmp_path)
    chances = iter([0.0, 0.5, 1.0] + [0.0] * 100)
    hub = WatchHub(store.machine._store, 600.0, lambda: next(chances))
    hub.notify_progress(1000.0)
    sinks = [Sink() for _ in range(3)]
    watchers = [hub.watch(WatchRequest(b"k", progress_notify=True), sink) for sink in sinks]
    silent = Sink()
    hub.watch(WatchRequest(b"k"), silent)
    hub.notify_progress(1599.9)
    assert [len(sink.batches) for sink in sinks] == [0, 0, 0]
    hub.notify_progress(1600.0)
    assert [len(sink.batches) for sink in sinks] == [1, 0, 0]
    hub.notify_progress(1630.0)
    hub.notify_progress(1660.0)
    assert [sink.batches for sink in sinks] == [[WatchBatch(1, [])]] * 3
    store.put(b"k")
    hub.publish(store.machine._store.changes(2, 10, 1000)[0])
    hub.notify_progress(2260.0)
    assert [len(sink.batches) for sink in sinks] == [2, 2, 2], "an event has been progress enough"
    hub.notify_progress(2860.0)
    assert [sink.batches[-1] for sink in sinks] == [WatchBatch(2, [])] * 3
    hub.cancel(watchers[0])
    hub.notify_progress(9999.0)
    assert [len(sink.batches) for sink in sinks] == [3, 4, 4]
    assert len(silent.batches) == 1
    store.machine.close()


def test_ended_watches_are_not_kept_until_their_progress_would_be_due(store, sink):
    for _ in range(1000):
        store.hub.cancel(store.hub.watch(WatchRequest(*ALL, progress_notify=True), sink))
    kept = store.hub.watch(WatchRequest(*ALL, progress_notify=True), sink)
    assert len(store.hub._periodic) < 200
    store.hub.notify_progress(700.0)
    assert store.hub.progress(kept) == sink.batches[0].revision


def test_a_batch_is_split_between_events(store, sink):
    store.hub.watch(WatchRequest(*ALL, prev_kv=True), sink)
    store.apply(TxnRequest((), tuple(PutRequest(b"%d" % number, b"v" * 100) for number in range(10))))
    (batch,) = sink.batches
    one = event_bytes(batch.events[0])
    assert split_batch(batch, 10 * one) == [batch]
    for size, parts in ((10 * one - 1, [9, 1]), (3 * one, [3, 3, 3, 1]), (1, [1] * 10)):
        split = split_batch(batch, size)
        assert [len(part.events) for part in split] == parts
        assert [event for part in split for event in part.events] == batch.events
        assert {part.revision for part in split} == {batch.revision}
    assert all(len(msgspec.msgpack.encode(event)) <= event_bytes(event) for event in batch.events)
