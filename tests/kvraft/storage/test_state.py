"""The state environment: what commits together, what survives, snapshots out and in, the swap."""

from __future__ import annotations

import os
import random
import threading

import lmdb
import msgspec
import pytest

from kvraft.raft.messages import Configuration, SnapshotMeta
from kvraft.storage import failpoint
from kvraft.storage import snapshot as snapshot_module
from kvraft.storage.errors import FormatTooNew, InUse, OutOfSpace, SnapshotClosed, SnapshotError, StorageError
from kvraft.storage.snapshot import CHUNK_BYTES
from kvraft.storage.state import StateEnvironment
from kvraft.storage.tables import FORMAT

VOTERS = Configuration((1, 2, 3))


def opened(path, **settings) -> StateEnvironment:
    return StateEnvironment.open(path, **settings)


def started(path, *, cluster_id: int = 7, member_id: int = 1) -> StateEnvironment:
    state = opened(path)
    state.meta.cluster_id, state.meta.member_id, state.meta.configuration = cluster_id, member_id, VOTERS
    state.commit()
    return state


def fill(state: StateEnvironment, index: int, count: int = 3, size: int = 10) -> None:
    """Something in every kind of table, and the index that covers it."""
    for number in range(count):
        state.tables.rev.put(b"%012d" % (index * 1000 + number), os.urandom(size), append=True)
        state.tables.cur.put(b"key %d %d" % (index, number), b"head")
        state.tables.cur.put(b"long" * 200 + b"%d" % number, b"head")
    state.meta.applied_index, state.meta.applied_term = index, 2


def contents(state: StateEnvironment) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    cursor = state.tables.rev
    cursor.first()
    return list(cursor.iternext()), list(state.tables.cur.walk(b"\0", None))


@pytest.fixture(autouse=True)
def _no_failpoints():
    yield
    failpoint.configure("")


@pytest.fixture
def source(tmp_path):
    state = started(tmp_path / "source")
    fill(state, 10, count=40, size=5000)
    state.commit()
    yield state
    state.close()


@pytest.fixture
def target(tmp_path):
    state = started(tmp_path / "target", member_id=2)
    fill(state, 4)
    state.commit()
    yield state
    state.close()


def test_data_and_applied_index_come_and_go_together(tmp_path):
    state = started(tmp_path)
    fill(state, 5)
    state.commit()
    committed = contents(state)
    fill(state, 6)
    assert len(contents(state)[0]) == 6
    state.close()
    state = opened(tmp_path)
    assert (state.meta.applied_index, contents(state)) == (5, committed)
    assert (state.committed_index, state.durable_index) == (5, 5)
    state.close()


def test_durable_is_one_commit_behind(tmp_path):
    state = started(tmp_path)
    for index in (1, 2, 3):
        fill(state, index)
        state.commit()
        assert (state.committed_index, state.durable_index) == (index, index - 1)
    state.close()


def test_a_failed_commit_is_the_last(tmp_path):
    state = started(tmp_path)
    failpoint.configure("state.before_commit=error@1")
    fill(state, 1)
    with pytest.raises(OutOfSpace):
        state.commit()
    with pytest.raises(StorageError, match="not written any more after a failure"):
        state.commit()
    state.close()
    state = opened(tmp_path)
    assert state.meta.applied_index == 0
    state.close()


def test_two_processes_cannot_share_a_state(tmp_path, target):
    with pytest.raises(InUse):
        opened(tmp_path / "target")


def test_a_later_format_is_refused(tmp_path):
    started(tmp_path).close()
    with lmdb.open(str(tmp_path / "state.mdb"), subdir=False, max_dbs=8) as environment:
        meta = environment.open_db(b"meta")
        with environment.begin(write=True) as txn:
            txn.put(b"format", msgspec.msgpack.encode(3), db=meta)
    for _ in range(2):
        with pytest.raises(FormatTooNew, match="format 3 was written by a later version"):
            opened(tmp_path)


def test_a_state_of_the_first_format_is_taken_over(tmp_path):
    state = started(tmp_path)
    before = msgspec.structs.astuple(state.meta)
    state.close()

    def stored(*records: tuple[bytes, object]) -> int:
        """Write ``records``; the format that is in the file."""
        with lmdb.open(str(tmp_path / "state.mdb"), subdir=False, max_dbs=8) as environment:
            meta = environment.open_db(b"meta")
            with environment.begin(write=True) as txn:
                for key, value in records:
                    txn.put(key, msgspec.msgpack.encode(value), db=meta)
                return msgspec.msgpack.decode(txn.get(b"format", db=meta), type=int)

    assert stored((b"format", 1), (b"meta", before[:-1])) == 1
    state = opened(tmp_path)
    assert state.is_whole
    assert msgspec.structs.astuple(state.meta) == before
    state.commit()
    state.close()
    assert stored() == FORMAT


def test_sizes_follow_the_data(tmp_path):
    state = started(tmp_path)
    before = state.sizes()[1]
    fill(state, 1, count=100, size=4000)
    assert state.sizes()[1] >= before + 100 * 4000
    state.commit()
    assert state.sizes()[0] >= state.sizes()[1]
    state.close()


def test_a_snapshot_is_the_last_commit(source, target):
    expected = contents(source)
    reader = source.snapshot()
    fill(source, 11)
    source.commit()
    writer = target.incoming()
    for chunk in reader:
        assert len(chunk) <= CHUNK_BYTES
        writer.write(chunk)
    reader.close()
    assert writer.finish() == SnapshotMeta(10, 2, VOTERS) == reader.meta
    assert target.install(writer) == reader.meta
    assert contents(target) == expected
    assert (target.meta.applied_index, target.meta.member_id, target.meta.cluster_id) == (10, 2, 7)
    assert target.durable_index == 10
    target.meta.applied_index = 11
    target.commit()


def test_chunks_may_be_cut_anywhere(source, target):
    stream = b"".join(source.snapshot())
    generator = random.Random(1)
    writer = target.incoming()
    while stream:
        size = generator.choice([1, 2, 3, 1000, 50_000])
        writer.write(stream[:size])
        stream = stream[size:]
    writer.finish()
    target.install(writer)
    assert contents(target) == contents(source)


def test_a_record_larger_than_a_chunk(tmp_path, target):
    source = started(tmp_path / "large")
    fill(source, 10, count=2, size=3 * CHUNK_BYTES)
    source.commit()
    writer = target.incoming()
    chunks = list(source.snapshot())
    assert max(map(len, chunks)) == CHUNK_BYTES
    for chunk in chunks:
        writer.write(chunk)
    writer.finish()
    target.install(writer)
    assert contents(target) == contents(source)
    source.close()


def test_a_snapshot_may_be_read_in_another_thread(source):
    here = b"".join(source.snapshot())
    reader, there = source.snapshot(), []
    thread = threading.Thread(target=lambda: there.append(b"".join(reader)))
    thread.start()
    thread.join()
    assert there == [here]


def damaged(stream: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(stream))
    kind = generator.randrange(3)
    if kind == 0:
        return stream[:at]
    if kind == 1:
        return stream[:at] + bytes([stream[at] ^ (1 << generator.randrange(8))]) + stream[at + 1 :]
    return stream + stream[at:] + b"x"


def test_damaged_streams_are_refused(source, target):
    stream = b"".join(source.snapshot())
    before = contents(target)
    for seed in range(60):
        writer = target.incoming()
        with pytest.raises(StorageError):  # noqa: PT012 - either may find it
            writer.write(damaged(stream, random.Random(seed)))
            writer.finish()
        with pytest.raises(StorageError, match="has not been received as a whole"):
            target.install(writer)
        writer.abort()
        assert contents(target) == before


def test_a_frame_has_a_bound(target):
    writer = target.incoming()
    with pytest.raises(SnapshotError, match="a frame of 67108865 bytes"):
        writer.write((snapshot_module.MAX_FRAME_BYTES + 1).to_bytes(4) + b"x")


def test_another_clusters_snapshot_is_refused(tmp_path, target):
    foreign = started(tmp_path / "foreign", cluster_id=8)
    with pytest.raises(SnapshotError, match="is of cluster 8, not of 7"):
        target.incoming().write(b"".join(foreign.snapshot()))
    foreign.close()


def test_an_older_snapshot_is_refused(source, target):
    fill(target, 30)
    writer = target.incoming()
    writer.write(b"".join(source.snapshot()))
    writer.finish()
    with pytest.raises(StorageError, match="the snapshot at 10 is older than the state"):
        target.install(writer)


def test_one_incoming_snapshot_at_a_time(source, target):
    writer = target.incoming()
    with pytest.raises(StorageError, match="another snapshot is being received"):
        target.incoming()
    writer.write(b"".join(source.snapshot()))
    writer.finish()
    with pytest.raises(StorageError, match="waits to be installed"):
        target.incoming()
    with pytest.raises(StorageError, match="no longer being received"):
        writer.write(b"more")
    target.install(writer)
    target.incoming().abort()


def test_readers_of_a_replaced_state_are_closed(source, target):
    reader = target.snapshot()
    writer = target.incoming()
    writer.write(b"".join(source.snapshot()))
    writer.finish()
    target.install(writer)
    with pytest.raises(SnapshotClosed):
        next(reader)
    reader.close()


def test_a_state_without_configuration_makes_no_snapshot(tmp_path):
    state = opened(tmp_path)
    with pytest.raises(SnapshotError, match="without a configuration"):
        state.snapshot()
    state.close()


def test_leftovers_are_removed_at_open(tmp_path, source):
    target = started(tmp_path / "left")
    writer = target.incoming()
    writer.write(b"".join(source.snapshot())[:200_000])
    target.close()
    (tmp_path / "left" / "state.incoming.mdb").write_bytes(b"half a file")
    opened(tmp_path / "left").close()
    assert sorted(os.listdir(tmp_path / "left")) == ["state.mdb", "state.mdb-lock", "state.mdb.owner"]


@pytest.mark.parametrize("point", ["install.before_rename", "install.after_rename", "install.after_open"])
def test_a_failed_swap_leaves_one_whole_state(tmp_path, source, point):
    target = started(tmp_path / "swap", member_id=2)
    fill(target, 4)
    target.commit()
    old, new = contents(target), contents(source)
    writer = target.incoming()
    writer.write(b"".join(source.snapshot()))
    writer.finish()
    failpoint.configure(f"{point}=error@1")
    with pytest.raises(OutOfSpace):
        target.install(writer)
    with pytest.raises(StorageError, match="not written any more"):
        target.commit()
    target.close()
    target = opened(tmp_path / "swap")
    assert contents(target) == (old if point == "install.before_rename" else new)
    assert target.meta.applied_index == (4 if point == "install.before_rename" else 10)
    target.close()
