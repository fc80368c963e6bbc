"""A revision with very many changes: told as a whole, made in pieces."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import pytest

from kvraft.apply.command import encode_command, join_commands
from kvraft.apply.machine import StateMachine
from kvraft.mvcc import reading
from kvraft.raft.messages import Configuration, Entry
from kvraft.types import CompactRequest, DeleteRangeRequest, PutRequest, WatchRequest
from kvraft.watch.watcher import WatcherState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kvraft.types import Command, Event, WatchBatch
    from kvraft.watch.watcher import Watcher

LONG = 20
KEYS = 100
PIECE = 10
ALL = (b"\0", b"\0")
GONE = 2 + KEYS
"""The revision that deletes all keys."""


class Sink:
    """Keeps what it gets, and what it was to prepare."""

    def __init__(self) -> None:
        self.full = False
        self.batches: list[WatchBatch] = []
        self.parts: list[list[Event]] = []

    def prepare(self, part: WatchBatch, *, is_first: bool) -> None:
        if is_first:
            self.parts = []
        self.parts.append(part.events)

    def deliver(self, watcher: Watcher, batch: WatchBatch) -> bool:
        if not self.full:
            self.batches.append(batch)
        return not self.full

    @property
    def deleted(self) -> list[bytes]:
        return [event.kv.key for batch in self.batches for event in batch.events if not event.kv.version]


class Stored:
    """A state with keys that one revision has deleted, which lagging watches are to be told."""

    def __init__(self, directory: Path) -> None:
        self.machine = StateMachine.open(directory, sync=False)
        self.machine.initialise(Configuration((1,)), 1, 1)
        self.hub = self.machine.watch
        for number in range(KEYS):
            self.apply(PutRequest(b"k%03d" % number, b"v"))
        self.apply(DeleteRangeRequest(*ALL))

    def apply(self, command: Command) -> None:
        self.machine.apply([Entry(self.machine.applied_index + 1, 1, 0, join_commands([encode_command(command)]))])

    def watch(self, start: int = GONE, key: bytes = ALL[0], end: bytes = ALL[1], **options: bool) -> Sink:
        sink = Sink()
        self.hub.watch(WatchRequest(key, end, start_revision=start, **options), sink)  # type: ignore[arg-type]
        return sink

    def run(self) -> int:
        """How many pieces it took."""
        pieces = 1
        while self.hub.catch_up(PIECE):
            pieces += 1
        return pieces


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stored]:
    monkeypatch.setattr(reading, "LONG_CHANGES", LONG)
    stored = Stored(tmp_path / "state")
    yield stored
    stored.machine.close()


def test_it_is_told_as_a_whole_and_never_more_than_a_piece_is_read_at_once(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    store = stored.machine._store
    for name in ("part", "changes"):

        def counted(*arguments: int, call: object = getattr(store, name)) -> object:
            answer = call(*arguments)  # type: ignore[operator]
            read.append(len(answer[0]))
            return answer

        monkeypatch.setattr(store, name, counted)
    every, some, none = (
        stored.watch(prev_kv=True),
        stored.watch(key=b"k01", end=b"k02"),
        stored.watch(key=b"x", end=b"y"),
    )
    puts, deaf = stored.watch(GONE - 3), stored.watch(no_delete=True)
    assert stored.run() >= KEYS // PIECE
    assert max(read) == PIECE
    (batch,) = every.batches
    assert [event.kv.key for event in batch.events] == [b"k%03d" % number for number in range(KEYS)]
    assert all(event.prev_kv is not None and event.prev_kv.value == b"v" for event in batch.events)
    assert list(chain(*every.parts)) == batch.events
    assert max(map(len, every.parts)) == PIECE
    assert some.deleted == [b"k%03d" % number for number in range(10, 20)]
    assert [len(batch.events) for batch in puts.batches] == [3, KEYS]
    assert not none.batches
    assert not deaf.batches
    assert stored.hub.statistics() == {"synced": 5, "lagging": 0, "blocked": 0}


def test_whoever_comes_or_goes_meanwhile(stored: Stored) -> None:
    first, leaving = stored.watch(), stored.watch()
    for _ in range(5):
        assert stored.hub.catch_up(PIECE)
    (going,) = [each for each in stored.hub._queue if each.sink is leaving]
    stored.hub.cancel(going)
    late, other = stored.watch(), stored.watch(key=b"k00", end=b"k01")
    assert not first.batches
    stored.run()
    assert len(first.deleted) == len(late.deleted) == KEYS
    assert len(other.deleted) == 10
    assert not leaving.batches


def test_a_sink_that_is_full_at_the_end_gets_all_of_it_later(stored: Stored) -> None:
    sink = stored.watch()
    sink.full = True
    stored.run()
    assert stored.hub.statistics()["blocked"] == 1
    sink.full = False
    (watcher,) = stored.hub._blocked
    stored.hub.resume(watcher)
    stored.run()
    assert len(sink.deleted) == KEYS
    assert watcher.state is WatcherState.SYNCED


def test_what_is_compacted_meanwhile_is_never_told_in_part(stored: Stored) -> None:
    sink = stored.watch()
    for _ in range(5):
        stored.hub.catch_up(PIECE)
    stored.apply(PutRequest(b"more", b""))
    stored.apply(CompactRequest(GONE + 1))
    while stored.machine.compact_step(100):
        pass
    stored.run()
    assert [(len(batch.events), batch.compact_revision) for batch in sink.batches] == [(0, GONE + 1)]


def test_another_state_meanwhile_begins_anew(stored: Stored) -> None:
    sink = stored.watch()
    for _ in range(5):
        stored.hub.catch_up(PIECE)
    stored.hub.replaced()
    stored.run()
    assert len(sink.deleted) == KEYS
    assert sum(map(len, sink.parts)) == KEYS
