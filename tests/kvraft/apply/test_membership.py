"""The table of members: what each change does to it, what is refused, and that it follows the configuration."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.apply import membership
from kvraft.apply.alarms import Alarms
from kvraft.apply.command import join_commands
from kvraft.apply.machine import StateMachine
from kvraft.apply.membership import apply_change
from kvraft.errors import (
    InvalidArgument,
    KvraftError,
    MemberExists,
    MemberNotFound,
    MemberNotLearner,
    NoSpace,
    NotEnoughStarted,
    PeerUrlExists,
)
from kvraft.raft.messages import Configuration, Entry, EntryKind
from kvraft.storage.tables import StateMeta
from kvraft.types import (
    AlarmAction,
    AlarmRequest,
    AlarmType,
    MemberAddRequest,
    MemberInfo,
    MemberPromoteRequest,
    MemberPublishRequest,
    MemberRemoveRequest,
    MemberUpdateRequest,
    PutRequest,
    PutResponse,
)

encode = msgspec.msgpack.encode


def founded(*ids: int) -> StateMeta:
    members = tuple(MemberInfo(number, f"m{number}", (f"http://h{number}:1",)) for number in ids)
    return StateMeta(configuration=Configuration(ids), members=members, revision=7)


def change(meta: StateMeta, command: object) -> object:
    return apply_change(meta, encode(command))


def ids(meta: StateMeta) -> list[int]:
    return [member.member_id for member in meta.members]


def test_a_voter_is_added_through_a_joint_configuration():
    meta = founded(1, 3)
    answer = change(meta, MemberAddRequest(("http://h2:1",), False, 2))
    assert answer.member == MemberInfo(2, "", ("http://h2:1",))
    assert (answer.revision, [member.member_id for member in answer.members]) == (7, [1, 2, 3])
    assert meta.configuration == Configuration((1, 2, 3), (1, 3))
    assert apply_change(meta, b"") is None
    assert meta.configuration == Configuration((1, 2, 3))


def test_a_learner_is_added_at_once_and_promoted():
    meta = founded(1)
    change(meta, MemberAddRequest(("http://h2:1",), True, 2))
    assert (meta.configuration, meta.members[1].is_learner) == (Configuration((1,), (), (2,)), True)
    change(meta, MemberPromoteRequest(2))
    assert (meta.configuration, meta.members[1].is_learner) == (Configuration((1, 2), (1,)), False)


def test_who_is_removed_is_a_member_until_the_joint_configuration_is_over():
    meta = founded(1, 2, 3)
    change(meta, MemberRemoveRequest(2))
    assert (meta.configuration, ids(meta), meta.removed) == (Configuration((1, 3), (1, 2, 3)), [1, 2, 3], ())
    apply_change(meta, b"")
    assert (meta.configuration, ids(meta), meta.removed) == (Configuration((1, 3)), [1, 3], (2,))


def test_a_learner_is_removed_at_once():
    meta = founded(1)
    change(meta, MemberAddRequest(("http://h2:1",), True, 2))
    assert [m.member_id for m in change(meta, MemberRemoveRequest(2)).members] == [1]
    assert (meta.configuration, meta.removed) == (Configuration((1,)), (2,))


def test_members_get_other_urls_and_publish_their_own():
    meta = founded(1, 2)
    before = meta.configuration
    change(meta, MemberUpdateRequest(2, ("http://h2:1", "http://h9:1")))
    change(meta, MemberPublishRequest(2, "two", ("http://c:1",)))
    assert meta.members[1] == MemberInfo(2, "two", ("http://h2:1", "http://h9:1"), ("http://c:1",))
    assert meta.configuration is before


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (MemberAddRequest(("http://x:1",), False, 1), MemberExists),
        (MemberAddRequest(("http://x:1",), False, 9), MemberNotFound),
        (MemberAddRequest(("http://x:1", "http://h2:1"), False, 4), PeerUrlExists),
        (MemberRemoveRequest(4), MemberNotFound),
        (MemberUpdateRequest(4, ("http://x:1",)), MemberNotFound),
        (MemberUpdateRequest(1, ("http://h2:1",)), PeerUrlExists),
        (MemberPromoteRequest(4), MemberNotFound),
        (MemberPromoteRequest(1), MemberNotLearner),
        (MemberPublishRequest(4, "x", ()), MemberNotFound),
    ],
)
def test_refusals_change_nothing(command, error):
    meta = founded(1, 2)
    meta.removed = (9,)
    before = msgspec.structs.astuple(meta)
    with pytest.raises(error):
        change(meta, command)
    assert msgspec.structs.astuple(meta) == before


def test_the_last_voter_stays():
    meta = founded(1)
    change(meta, MemberAddRequest(("http://h2:1",), True, 2))
    with pytest.raises(NotEnoughStarted):
        change(meta, MemberRemoveRequest(1))


def test_a_change_within_a_joint_configuration_is_refused():
    meta = founded(1, 2, 3)
    change(meta, MemberRemoveRequest(2))
    with pytest.raises(InvalidArgument, match="under way"):
        change(meta, MemberRemoveRequest(3))


def test_alarms_leave_with_their_member_and_do_not_come_back():
    meta = founded(1, 2)
    meta.alarms = ((1, AlarmType.NOSPACE), (2, AlarmType.NOSPACE))
    change(meta, MemberRemoveRequest(2))
    assert len(meta.alarms) == 2  # still a member, until the joint configuration is over
    apply_change(meta, b"")
    assert meta.alarms == ((1, AlarmType.NOSPACE),)
    environment = SimpleNamespace(meta=meta)
    for member in (1, 2):
        Alarms(environment).execute(AlarmRequest(AlarmAction.ACTIVATE, member, AlarmType.CORRUPT))
    assert meta.alarms == ((1, AlarmType.NOSPACE), (1, AlarmType.CORRUPT))


def test_a_member_that_leaves_takes_its_layer_along(tmp_path):
    """While NOSPACE is raised writes are refused; the removal of the full member ends that."""
    machine = StateMachine.open(tmp_path, sync=False)
    machine.initialise(Configuration((1, 2)), 7, 1, founded(1, 2).members)
    raised = AlarmRequest(AlarmAction.ACTIVATE, 2, AlarmType.NOSPACE)
    put = join_commands([encode(PutRequest(b"k", b"v"))])
    removal = encode(MemberRemoveRequest(2))
    answers = machine.apply([Entry(1, 1, 0, join_commands([encode(raised)])), Entry(2, 1, 0, put)])
    assert [type(answer) for answer in answers[1]] == [NoSpace]
    kind = EntryKind.CONFIGURATION
    answers = machine.apply([Entry(3, 1, kind, removal), Entry(4, 1, kind, b""), Entry(5, 1, 0, put)])
    assert answers[2] == [PutResponse(2)]
    machine.close()


def test_members_and_remembered_removals_are_bounded(monkeypatch):
    monkeypatch.setattr(membership, "MAX_MEMBERS", 3)
    monkeypatch.setattr(membership, "MAX_REMOVED", 2)
    meta = founded(1)
    for number in range(2, 6):
        change(meta, MemberAddRequest((f"http://h{number}:1",), True, number))
        change(meta, MemberAddRequest((f"http://g{number}:1",), True, 100 + number))
        with pytest.raises(InvalidArgument, match="at most 3 members"):
            change(meta, MemberAddRequest(("http://x:1",), True, 50))
        change(meta, MemberRemoveRequest(number))
        change(meta, MemberRemoveRequest(100 + number))
    assert meta.removed == (5, 105)


commands = st.one_of(
    st.builds(
        MemberAddRequest,
        st.sampled_from([("http://a:1",), ("http://b:1",), ("http://h1:1",)]),
        st.booleans(),
        st.integers(1, 6),
    ),
    st.builds(MemberRemoveRequest, st.integers(1, 6)),
    st.builds(MemberPromoteRequest, st.integers(1, 6)),
    st.builds(MemberUpdateRequest, st.integers(1, 6), st.sampled_from([("http://a:1",), ("http://c:1",)])),
    st.none(),
)


@settings(deadline=None)
@given(st.lists(commands, max_size=25))
def test_the_table_and_the_configuration_always_name_the_same_members(sequence):
    meta = founded(1, 2, 3)
    for command in sequence:
        try:
            apply_change(meta, b"" if command is None else encode(command))
        except KvraftError:
            continue
        finally:
            configuration = meta.configuration
            present = {*configuration.voters, *configuration.outgoing, *configuration.learners}
            assert ids(meta) == sorted(present)
            assert {m.member_id for m in meta.members if m.is_learner} == set(configuration.learners)
            assert not present & set(meta.removed)
            urls = [url for member in meta.members for url in member.peer_urls]
            assert len(urls) == len(set(urls))
