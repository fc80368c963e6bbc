"""The store against the model: answers, errors, old revisions, compaction in pieces, commits, changes for watchers."""

from __future__ import annotations

import contextlib
import tempfile
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from kvraft.errors import KvraftError
from kvraft.mvcc import late as late_module
from kvraft.mvcc import puts as puts_module
from kvraft.mvcc import store as store_module
from kvraft.mvcc.check import check_command
from kvraft.mvcc.store import Store
from kvraft.storage.state import StateEnvironment
from kvraft.types import RangeRequest
from tests.kvraft.mvcc.model import Model
from tests.kvraft.mvcc.strategies import KEY_THRESHOLD, commands, plain_puts, ranges

ANCHOR = 3
"""Small, so that the few changes that a run makes to a key have some."""


steps = st.sampled_from(["go on", "commit", "commit whole", "reopen"])


class StoreModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.patches = contextlib.ExitStack()
        for module in (store_module, puts_module):
            self.patches.enter_context(mock.patch.object(module, "ANCHOR", ANCHOR))
        self.patches.enter_context(mock.patch.object(late_module, "REMEMBERED_KEYS", 5))
        self.patches.enter_context(mock.patch.object(late_module, "LATE_PUTS", 3))
        self.open()
        self.model = Model()

    def open(self) -> None:
        self.environment = StateEnvironment.open(self.directory.name, sync=False, threshold=KEY_THRESHOLD)
        self.store = Store(self.environment)

    def teardown(self) -> None:
        self.environment.close()
        self.directory.cleanup()
        self.patches.close()

    @rule(data=st.data())
    def execute(self, data):
        command = data.draw(commands(self.model.revision))
        before = len(self.model.log)
        try:
            check_command(command)
            expected = self.model.execute(command)
        except KvraftError as error:
            try:
                answer = self.store.execute(command)
            except KvraftError as found:
                assert type(found) is type(error)
            else:
                raise AssertionError(f"{answer} where {error!r} was due") from error
        else:
            assert self.store.execute(command) == expected
        changes = self.store.take_changes()
        assert [change.kv for change in changes] == [kv for kv, _ in self.model.log[before:]]
        assert [self.store.previous(change) for change in changes] == [p for _, p in self.model.log[before:]]

    @rule(data=st.data(), count=st.integers(2, 12), wanted=st.booleans(), answered=st.booleans())
    def execute_together(self, data, count, wanted, answered):
        """What a log entry carries: mostly plain puts, and whatever else in between."""
        together, expected = [], []
        before = len(self.model.log)
        for _ in range(count):
            command = data.draw(plain_puts | plain_puts | commands(self.model.revision))
            together.append(command)
            try:
                check_command(command)
                expected.append(self.model.execute(command))
            except KvraftError as error:
                expected.append(type(error))
        self.store.keep_changes(wanted=wanted)
        answers = self.store.execute_all(together, answered=answered)
        if answered:
            assert [type(answer) if isinstance(answer, KvraftError) else answer for answer in answers] == expected
        changes = self.store.take_changes()
        assert [change.kv for change in changes] == ([kv for kv, _ in self.model.log[before:]] if wanted else [])
        assert self.store.revision == self.model.revision

    @rule(data=st.data())
    def read(self, data):
        self.compare_range(data.draw(ranges(self.model.revision + 1)))

    @rule(limit=st.integers(1, 5))
    def compact_some(self, limit):
        self.store.compact_step(limit)

    @rule()
    def compact_all(self):
        while self.store.compact_step(3):
            pass
        tables = self.environment.tables
        stats = {
            name: tables.txn.stat(database)["entries"] for name, database in self.environment._databases.by_name.items()
        }
        kept = needed_changes(self.model)
        assert stats[b"rev"] == len(kept)
        newest = {kv.key: place for place, kv in enumerate(kept)}  # a revision may put a key and delete it
        superseded = [kv for place, kv in enumerate(kept) if place != newest[kv.key]]
        assert stats[b"hist"] == sum(kv.version % ANCHOR == 0 for kv in superseded)
        assert len(self.model.live(b"\0", b"\0")) + len(list(tables.dead.walk(b"\0", None))) == len(newest)

    @rule(batches=st.lists(st.tuples(st.lists(plain_puts, min_size=2, max_size=5), steps), max_size=8))
    def put_again_and_again(self, batches):
        """Nobody looks in between, so the heads of keys that are put again are late."""
        for puts, step in batches:
            expected = [self.model.execute(put) for put in puts]
            assert self.store.execute_all(puts) == expected
            self.take_step(step)
        self.store.take_changes()

    @rule(step=steps)
    def take_step(self, step):
        """Committed or not, the process goes on or ends."""
        if step != "go on":
            self.store.prepare_commit(whole=step == "commit whole")
            self.environment.commit()
        if step == "reopen":
            self.environment.close()
            self.open()

    @rule(data=st.data(), limit=st.integers(1, 6))
    def read_changes(self, data, limit):
        low = data.draw(st.integers(max(1, self.model.compacted), self.model.revision + 1))
        found, covered = self.store.changes(low, limit, 1 << 20)
        assert covered >= min(low, self.model.revision)
        expected = [(kv, previous) for kv, previous in self.model.log if low <= kv.mod_revision <= covered]
        assert [change.kv for change in found] == [kv for kv, _ in expected]
        for change, (kv, previous) in zip(found, expected, strict=True):
            seen = self.store.previous(change)
            assert seen == previous or (seen is None and kv.mod_revision <= self.model.compacted)

    def compare_range(self, request: RangeRequest) -> None:
        try:
            self.model.check_revision(request)
        except KvraftError as error:
            try:
                answer = self.store.range(request)
            except KvraftError as found:
                assert type(found) is type(error)
            else:
                raise AssertionError(f"{answer} where {error!r} was due") from error
        else:
            self.model.changed = 0
            assert self.store.range(request) == self.model.range(request)

    @invariant()
    def same_revision(self):
        assert self.store.revision == self.model.revision
        assert self.store.compacted_revision == self.model.compacted

    @invariant()
    def same_at_every_revision(self):
        first, last = max(0, self.model.compacted), self.model.revision
        for revision in {first, last, *range(last, first, -max(1, (last - first) // 8))}:
            self.compare_range(RangeRequest(b"\0", b"\0", 0, revision))


def needed_changes(model: Model) -> list:
    """What a finished compaction leaves, in order: all above it, the newest of each key below, no tombstone below."""
    kept = []
    for history in model.history.values():
        below = [kv for kv in history if kv.mod_revision <= model.compacted]
        if below and (below[-1].version or below[-1].mod_revision == model.compacted):
            kept.append(below[-1])
        kept += [kv for kv in history if kv.mod_revision > model.compacted]
    return kept


StoreModel.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestStoreModel = StoreModel.TestCase
