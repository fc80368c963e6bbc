"""Watchers of a member that applies, compacts, installs snapshots and has clients that do not keep up.

Whatever happens, what a watcher has received is exactly the changes of its range from its start on, in order, whole
revisions at a time; and where it cannot be, it is told that they have been compacted.
"""

from __future__ import annotations

import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kvraft.apply.command import encode_command, join_commands
from kvraft.apply.machine import StateMachine
from kvraft.errors import KvraftError
from kvraft.mvcc.check import check_command
from kvraft.raft.messages import Configuration, Entry
from kvraft.types import Event, WatchRequest
from kvraft.watch.watcher import WatcherState
from tests.kvraft.mvcc.model import Model, inside
from tests.kvraft.mvcc.strategies import KEY_THRESHOLD, commands, keys, range_ends

ranges = st.one_of(
    st.just((b"\0", b"\0")),
    st.just((b"a", b"b")),
    st.tuples(keys, range_ends).filter(lambda pair: pair[1] in (b"", b"\0") or pair[1] > pair[0]),
)


class Sink:
    def __init__(self) -> None:
        self.full = False
        self.events: list[Event] = []
        self.complete_to = 0
        self.compacted = 0

    def deliver(self, watcher, batch) -> bool:
        if self.full:
            return False
        assert not self.compacted, "nothing follows the end"
        if batch.compact_revision:
            assert not batch.events
            self.compacted = batch.compact_revision
            return True
        assert batch.events
        assert batch.revision > self.complete_to
        assert batch.events[0].kv.mod_revision > self.complete_to, "a revision in two parts"
        assert batch.events[-1].kv.mod_revision <= batch.revision
        self.events += batch.events
        self.complete_to = batch.revision
        return True


class WatchModel(RuleBasedStateMachine):
    """``leader`` is always ahead; ``member`` follows its entries or its snapshots and serves the watchers."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.leader, self.member = (self.open(member_id) for member_id in (1, 2))
        self.entries: list[Entry] = []
        self.model = Model()
        self.watchers: list[tuple] = []

    def open(self, member_id: int) -> StateMachine:
        machine = StateMachine.open(f"{self.directory.name}/{member_id}", sync=False, key_threshold=KEY_THRESHOLD)
        machine.initialise(Configuration((1, 2)), 1, member_id)
        return machine

    def teardown(self) -> None:
        self.follow(len(self.entries))
        for watcher, sink, _ in self.watchers:
            sink.full = False
            self.member.watch.resume(watcher)
        turns = 0
        while self.member.watch.catch_up(3):
            turns += 1
            assert turns < 10_000
        for watcher, sink, request in self.watchers:
            if not sink.compacted:
                assert watcher.state is WatcherState.SYNCED
                self.check(sink, request, self.model.revision)
        self.leader.close()
        self.member.close()
        self.directory.cleanup()

    @rule(data=st.data(), count=st.integers(1, 8), follow=st.booleans(), remove=st.booleans())
    def apply(self, data, count, follow, remove):
        for _ in range(count):
            command = data.draw(commands(self.model.revision))
            self.entries.append(Entry(len(self.entries) + 1, 1, 0, join_commands([encode_command(command)])))
            try:
                check_command(command)
                expected = self.model.execute(command)
            except KvraftError as error:
                assert [type(answer) for (answer,) in self.leader.apply(self.entries[-1:])] == [type(error)]
            else:
                assert self.leader.apply(self.entries[-1:]) == [[expected]]
        if follow:
            self.follow(len(self.entries))
        if remove:
            self.compact(1000)

    @rule(behind=st.integers(0, 5))
    def follow_to(self, behind):
        self.follow(max(self.member.applied_index, len(self.entries) - behind))

    def follow(self, index: int) -> None:
        self.member.apply(self.entries[self.member.applied_index : index])

    @rule()
    def install(self):
        self.leader.commit()
        writer = self.member.incoming()
        for chunk in self.leader.snapshot():
            writer.write(chunk)
        writer.finish()
        self.member.install(writer)
        assert self.member.revision == self.model.revision

    @rule(limit=st.sampled_from([2, 1000]))
    def compact(self, limit):
        for machine in (self.leader, self.member):
            machine.compact_step(limit)

    @rule(data=st.data(), watched=ranges, options=st.tuples(*[st.booleans()] * 3), full=st.booleans())
    def watch(self, data, watched, options, full):
        start = data.draw(st.just(0) | st.integers(1, self.member.revision + 3))
        sink = Sink()
        sink.full = full
        watcher = self.member.watch.watch(WatchRequest(*watched, start, *options), sink)
        start = start or self.member.revision + 1
        sink.complete_to = start - 1
        self.watchers.append((watcher, sink, WatchRequest(*watched, start, *options)))

    @rule(data=st.data(), full=st.booleans())
    def fill_or_empty(self, data, full):
        for watcher, sink, _ in self.watchers:
            if data.draw(st.booleans()):
                sink.full = full
                if not full:
                    self.member.watch.resume(watcher)

    @rule(chunk=st.integers(1, 3), turns=st.integers(1, 3))
    def catch_up(self, chunk, turns):
        for _ in range(turns):
            self.member.watch.catch_up(chunk)

    def check(self, sink: Sink, request: WatchRequest, revision: int) -> None:
        """``sink`` has exactly the changes of the range from the start up to ``revision``."""
        expected = [
            (kv, previous)
            for kv, previous in self.model.log
            if request.start_revision <= kv.mod_revision <= revision and inside(kv.key, request.key, request.range_end)
            if not (request.no_put if kv.version else request.no_delete)
        ]
        assert [event.kv for event in sink.events] == [kv for kv, _ in expected]
        for event, (kv, previous) in zip(sink.events, expected, strict=True):
            assert event.kind == (kv.version == 0)
            if not request.prev_kv:
                assert event.prev_kv is None
            else:
                assert event.prev_kv in (previous, None)
                assert event.prev_kv == previous or kv.mod_revision <= self.model.compacted

    @invariant()
    def exactly_what_was_asked_for(self):
        for watcher, sink, request in self.watchers:
            if sink.compacted:
                assert watcher.state is WatcherState.OVER
                assert max(request.start_revision, sink.complete_to) < sink.compacted <= self.model.compacted
            self.check(sink, request, sink.complete_to)
            progress = self.member.watch.progress(watcher)
            if progress is not None:
                self.check(sink, request, progress)
                sink.complete_to = max(sink.complete_to, progress)


WatchModel.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestWatchModel = WatchModel.TestCase
