"""The state machine: answers per entry, gaps, determinism, quota, commits, snapshots between members."""

from __future__ import annotations

import random

import msgspec
import pytest

from kvraft.apply import machine as machine_module
from kvraft.apply.command import decode_commands, encode_command, join_commands
from kvraft.apply.machine import StateMachine
from kvraft.errors import Corrupt, EmptyKey, NoSpace
from kvraft.mvcc.records import HEAD
from kvraft.raft.messages import Configuration, Entry, EntryKind, SnapshotMeta
from kvraft.storage import failpoint
from kvraft.storage.errors import OutOfSpace, StorageError
from kvraft.types import (
    AlarmAction,
    AlarmRequest,
    AlarmType,
    AuthEnableRequest,
    CompactRequest,
    Compare,
    DeleteRangeRequest,
    MemberAddRequest,
    PutRequest,
    PutResponse,
    RangeRequest,
    RoleAddRequest,
    TxnRequest,
    UserAddRequest,
    UserGrantRoleRequest,
    WatchRequest,
)
from kvraft.wire.native import encode_request_body

VOTERS = Configuration((1, 2, 3))
ALL = RangeRequest(b"\0", b"\0")


@pytest.fixture(autouse=True)
def _no_failpoints():
    yield
    failpoint.configure("")


@pytest.fixture
def machine(tmp_path):
    machine = StateMachine.open(tmp_path / "one", sync=False)
    machine.initialise(VOTERS, 7, 1)
    yield machine
    machine.close()


def entries(first: int, *commands) -> list[Entry]:
    return [
        Entry(first + number, 1, 0, join_commands([encode_command(command)])) for number, command in enumerate(commands)
    ]


def puts(first: int, count: int, size: int = 3) -> list[Entry]:
    return entries(first, *(PutRequest(b"k%d" % index, b"x" * size) for index in range(first, first + count)))


def test_one_answer_for_each_entry(machine):
    change = Entry(2, 1, EntryKind.CONFIGURATION, msgspec.msgpack.encode(MemberAddRequest(("http://h:1",), False, 4)))
    answers = machine.apply(
        [Entry(1, 1, 0, b""), change, *entries(3, PutRequest(b"a", b"1"), PutRequest(b"", b"")), Entry(5, 2, 0, b"")]
    )
    assert (answers[0], answers[1][0].member.member_id, answers[2]) == ([], 4, [PutResponse(2)])
    assert [type(answer) for answer in answers[3]] == [EmptyKey]
    assert answers[4] == []
    assert (machine.applied_index, machine.applied_term, machine.revision) == (5, 2, 2)
    assert machine.configuration == Configuration((1, 2, 3, 4), (1, 2, 3))
    assert machine.apply([]) == []


def test_a_gap_is_a_bug(machine):
    machine.apply(puts(1, 2))
    for wrong in (2, 4):
        with pytest.raises(AssertionError):
            machine.apply(puts(wrong, 1))
    machine.apply(puts(3, 1))


@pytest.mark.parametrize(
    "data",
    [
        b"\xc1",
        b"\x93\x01",
        encode_command(PutRequest(b"a", b"")),
        msgspec.msgpack.encode([RangeRequest(b"a")]),
        msgspec.msgpack.encode([PutRequest(b"a", b""), WatchRequest(b"a")]),
        msgspec.msgpack.encode([[2, "text", b""]]),
        msgspec.msgpack.encode([["x"]]),
        join_commands([encode_command(PutRequest(b"a", b""))]) + b"\0",
    ],
)
@pytest.mark.parametrize("kind", EntryKind)
def test_what_cannot_be_decoded_is_answered_alike_everywhere(machine, data, kind):
    ((answer,),) = machine.apply([Entry(1, 1, kind, data)])
    assert isinstance(answer, Corrupt)
    assert str(answer) == "etcdserver: corrupt cluster: entry 1 cannot be decoded"
    assert (machine.applied_index, machine.revision, machine.configuration) == (1, 1, VOTERS)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 1024])
def test_commands_survive_their_encoding(count):
    command = TxnRequest((Compare(b"a", 3, 0, b"v"),), (PutRequest(b"a", b""), RangeRequest(b"b")), ())
    assert decode_commands(join_commands([encode_command(command)] * count)) == [command] * count


def test_fuzzed_entries_never_raise(machine):
    generator = random.Random(5)
    template = encode_command(TxnRequest((Compare(b"a", 0, 0, 1),), (PutRequest(b"a", b"v"),), (RangeRequest(b"c"),)))
    for index in range(1, 3000):
        data = bytearray(template)
        for _ in range(generator.randrange(1, 4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        assert len(machine.apply([Entry(index, 1, 0, bytes(data))])) == 1


def test_reads_see_what_is_applied_and_a_restart_what_is_committed(tmp_path):
    machine = StateMachine.open(tmp_path, sync=False)
    machine.initialise(VOTERS, 7, 1)
    machine.apply(puts(1, 3))
    assert (machine.uncommitted, machine.range(ALL).count) == (3, 3)
    machine.commit()
    machine.apply(puts(4, 2))
    assert (machine.uncommitted, machine.committed_index, machine.range(ALL).count) == (2, 3, 5)
    machine.close()
    machine = StateMachine.open(tmp_path, sync=False)
    assert (machine.applied_index, machine.revision, machine.range(ALL).count) == (3, 4, 3)
    assert (machine.configuration, machine.cluster_id, machine.member_id) == (VOTERS, 7, 1)
    machine.apply(puts(4, 2))
    assert machine.range(ALL).count == 5
    with pytest.raises(StorageError, match="is the state of member 1 already"):
        machine.initialise(VOTERS, 7, 1)
    machine.close()


def plain_puts(first: int, *sizes: int) -> list[Entry]:
    """Entries that put so many keys each, again and again the same few, as native clients have them encoded."""
    bodies = [encode_request_body(PutRequest(b"k%d" % number, b"v")) for number in range(7)]
    return [
        Entry(index, 1, 0, join_commands([bodies[place % 7] for place in range(size)]))
        for index, size in enumerate(sizes, first)
    ]


def test_what_plain_puts_answer_is_certain_before_they_are_applied(machine):
    revision = machine.revision
    for given in (plain_puts(1, 1), plain_puts(2, 3, 1, 20, 300), plain_puts(6, 40)):
        foreseen = machine.foresee(given)
        assert machine.revision == revision
        assert machine.apply(given) == foreseen
        assert [answer.revision for answers in foreseen for answer in answers] == [
            *range(revision + 1, machine.revision + 1)
        ]
        revision = machine.revision
    assert revision == 1 + 365


def test_what_has_been_foreseen_is_applied_as_if_it_had_not_been(tmp_path, machine):
    other = StateMachine.open(tmp_path / "other", sync=False)
    other.initialise(VOTERS, 7, 1)
    given = plain_puts(1, 5, 64, 1)
    machine.foresee(given)
    assert machine.apply(given, answered=False) == [[], [], []]
    other.apply(given)
    for revision in (0, 20, 60):
        at = RangeRequest(b"\0", b"\0", revision=revision)
        assert machine.range(at) == other.range(at)
    other.close()


@pytest.mark.parametrize(
    "last",
    [
        Entry(3, 1, 0, b""),
        Entry(3, 1, EntryKind.CONFIGURATION, plain_puts(3, 1)[0].data),
        entries(3, DeleteRangeRequest(b"k"))[0],
        entries(3, PutRequest(b"k", b"v", lease=5))[0],
        entries(3, PutRequest(b"", b""))[0],
        Entry(3, 1, 0, b"\xc1"),
    ],
    ids=["nothing", "configuration", "delete", "lease", "no key", "unreadable"],
)
def test_nothing_is_certain_when_one_entry_is_not(machine, last):
    machine.apply(plain_puts(1, 1))
    given = [*plain_puts(2, 2), last]
    assert machine.foresee(given) is None
    assert machine.foresee(given[:1]) is not None


@pytest.mark.parametrize("around", ["alarm", "auth"])
def test_nothing_is_certain_that_may_be_refused(machine, around):
    commands = {
        "alarm": [AlarmRequest(AlarmAction.ACTIVATE, 1, AlarmType.NOSPACE)],
        "auth": [
            RoleAddRequest("root"),
            UserAddRequest("root", no_password=True),
            UserGrantRoleRequest("root", "root"),
            AuthEnableRequest(),
        ],
    }[around]
    machine.apply(entries(1, *commands))
    assert machine.foresee(plain_puts(1 + len(commands), 1)) is None


def test_long_applies_commit_in_between(machine, monkeypatch):
    monkeypatch.setattr(machine_module, "MAX_UNCOMMITTED_BYTES", 10_000)
    machine.apply(puts(1, 30, size=1000))
    assert machine.committed_index > 0
    assert machine.uncommitted < 30


def test_quota_stops_puts_until_there_is_room_again(tmp_path):
    machine = StateMachine.open(tmp_path, sync=False, quota_bytes=400_000)
    machine.initialise(VOTERS, 7, 1)
    put = PutRequest(b"k", b"x" * 10_000)
    index, guarded = 0, TxnRequest((), (), (put,))
    with pytest.raises(NoSpace, match="etcdserver: mvcc: database space exceeded"):  # noqa: PT012 - the one of many
        while True:
            machine.admit(put)
            assert machine.has_room
            machine.apply(entries(index := index + 1, put))
    assert 25 <= index <= 40
    assert not machine.has_room
    with pytest.raises(NoSpace):
        machine.admit(guarded)
    machine.commit()
    with pytest.raises(NoSpace):
        machine.admit(put)
    for allowed in (DeleteRangeRequest(b"k"), CompactRequest(index), TxnRequest((), (DeleteRangeRequest(b"k"),))):
        machine.admit(allowed)
    with pytest.raises(EmptyKey):
        machine.admit(PutRequest(b"", b""))
    assert machine.apply(entries(index + 1, put))[0][0].revision == index + 2, "what others admitted is applied"
    machine.apply(entries(index + 2, CompactRequest(machine.revision)))
    while machine.compact_step(10):
        pass
    machine.commit()
    machine.admit(put)
    assert machine.has_room
    assert machine.db_size_in_use < 100_000 < machine.db_size
    machine.close()


@pytest.mark.parametrize("reader", ["view", "snapshot", "begin_defragmentation"])
def test_whoever_reads_a_commit_finds_every_head(machine, reader):
    again = encode_request_body(PutRequest(b"k", b""))
    machine.apply([Entry(1, 1, 0, join_commands([again, again]))])
    machine.commit(whole=False)
    assert not machine._environment.is_whole
    opened = getattr(machine, reader)()
    assert machine._environment.is_whole
    with machine._environment._environment.begin() as txn:
        head = txn.get(b"k", db=machine._environment._databases.cur)
    assert HEAD.unpack(head)[0] == machine.revision
    opened.abort() if reader == "begin_defragmentation" else opened.close()


def test_a_failure_while_applying_is_final_and_keeps_the_last_commit(tmp_path):
    machine = StateMachine.open(tmp_path, sync=False)
    machine.initialise(VOTERS, 7, 1)
    machine.apply(puts(1, 3))
    machine.commit()
    failpoint.configure("state.between_entries=error@2")
    with pytest.raises(OutOfSpace):
        machine.apply(puts(4, 3))
    with pytest.raises(StorageError, match="not written any more after a failure"):
        machine.commit()
    machine.close()
    machine = StateMachine.open(tmp_path, sync=False)
    assert (machine.applied_index, machine.range(ALL).count) == (3, 3)
    machine.close()


def test_a_full_state_file_is_named(tmp_path):
    machine = StateMachine.open(tmp_path, sync=False, map_bytes=1 << 20)
    machine.initialise(VOTERS, 7, 1)
    with pytest.raises(OutOfSpace, match="size limit"):
        machine.apply(puts(1, 3, size=1 << 20))
    machine.close()


def test_a_member_that_installs_a_snapshot_goes_on_like_the_others(tmp_path, machine):
    other = StateMachine.open(tmp_path / "two", sync=False)
    other.initialise(VOTERS, 7, 2)
    early = puts(1, 3)
    later = entries(4, PutRequest(b"k1", b"new"), DeleteRangeRequest(b"k2"), CompactRequest(4), PutRequest(b"k", b""))
    machine.apply(early)
    other.apply(early)
    assert other.range(RangeRequest(b"k", b"l", 1)).count == 3
    machine.apply(later)
    machine.commit()
    reader, writer = machine.snapshot(), other.incoming()
    assert reader.meta == SnapshotMeta(7, 1, VOTERS)
    for chunk in reader:
        writer.write(chunk)
    reader.close()
    assert writer.finish() == reader.meta
    assert other.install(writer) == reader.meta
    assert (other.applied_index, other.revision, other.compacted_revision) == (7, machine.revision, 4)
    assert (other.member_id, other.durable_index, other.uncommitted) == (2, 7, 0)
    for request in (ALL, RangeRequest(b"k", b"l", 1), RangeRequest(b"\0", b"\0", 0, 5)):
        assert other.range(request) == machine.range(request)
    assert other.compact_step(100) == machine.compact_step(100)
    more = puts(8, 5)
    assert other.apply(more) == machine.apply(more)
    other.close()


def test_a_key_of_many_kilobytes(machine):
    long = b"long" * 50_000
    machine.apply(entries(1, PutRequest(long, b"1"), PutRequest(long + b"x", b"2"), PutRequest(long, b"3")))
    assert [kv.value for kv in machine.range(ALL).kvs] == [b"3", b"2"]
    assert machine.range(RangeRequest(long, revision=2)).kvs[0].value == b"1"
    machine.apply(entries(4, DeleteRangeRequest(b"l", b"m")))
    assert machine.range(ALL).count == 0
    assert machine.range(RangeRequest(b"\0", b"\0", revision=4)).count == 2
