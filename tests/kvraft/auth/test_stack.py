"""Authentication among the other layers of apply: alarms, leases, batches, and what members propose of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kvraft.apply.command import encode_command, join_commands, seal
from kvraft.auth.identity import Identity
from kvraft.errors import Corrupt, NoSpace, PermissionDenied, UserEmpty
from kvraft.raft.messages import Entry
from kvraft.types import (
    AlarmAction,
    AlarmRequest,
    AlarmType,
    AuthChangedResponse,
    AuthDisableRequest,
    AuthEnableRequest,
    DeleteRangeRequest,
    LeaseCheckpointRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    PutResponse,
    TxnRequest,
)
from tests.kvraft.auth.machines import READWRITE, Applied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def applied(tmp_path: Path) -> Iterator[Applied]:
    applied = Applied(tmp_path)
    applied.add("alice", (READWRITE, b"a/", b"a0"))
    applied.add("bob", (READWRITE, b"a/", b"c0"))
    applied.enable()
    yield applied
    applied.machine.close()


def batch(applied: Applied, *commands: Any) -> list[Any]:
    """One entry of these: each is a command, or a user and a command."""
    revision = applied.machine.auth.revision
    encoded = [
        seal(encode_command(one[1]), Identity(one[0], revision)) if isinstance(one, tuple) else encode_command(one)
        for one in commands
    ]
    ((*answers,),) = applied.machine.apply([Entry(applied.machine.applied_index + 1, 1, 0, join_commands(encoded))])
    return answers


def test_a_lease_is_for_those_who_may_write_all_of_its_keys(applied: Applied) -> None:
    lease = applied.do(LeaseGrantRequest(60, 7), user="alice").lease_id
    with pytest.raises(UserEmpty):
        applied.do(LeaseGrantRequest(60, 8))
    applied.do(PutRequest(b"a/1", b"x", lease=lease), user="alice")
    applied.do(PutRequest(b"b/1", b"x", lease=lease), user="bob")
    for refused in (
        PutRequest(b"a/2", b"x", lease=lease),
        TxnRequest((), (PutRequest(b"a/2", b"x", lease=lease),)),
        LeaseRevokeRequest(lease),
    ):
        with pytest.raises(PermissionDenied):
            applied.do(refused, user="alice")
    applied.do(LeaseCheckpointRequest(((lease, 30),)))  # the leader's own
    applied.do(LeaseRevokeRequest(lease), user="bob")
    applied.do(LeaseGrantRequest(60, 9), user="alice")
    applied.do(LeaseRevokeRequest(9, term=1))  # expired: the leader's own, and no user's


@pytest.mark.parametrize("user", ["alice", "root"])
def test_alarms_see_through_envelopes(applied: Applied, user: str) -> None:
    """A full store refuses writes, and still asks who it is that deletes."""
    applied.do(PutRequest(b"a/1", b"x"), user="alice")
    applied.do(AlarmRequest(AlarmAction.ACTIVATE, 1, AlarmType.NOSPACE))
    with pytest.raises(NoSpace):
        applied.do(PutRequest(b"a/1", b"x"), user=user)
    with pytest.raises(PermissionDenied):
        applied.do(DeleteRangeRequest(b"z"), user="alice")
    with pytest.raises(PermissionDenied):
        applied.do(AuthDisableRequest(), user="alice")
    with pytest.raises(UserEmpty):
        applied.do(DeleteRangeRequest(b"a/1"))
    assert applied.do(DeleteRangeRequest(b"a/1"), user=user).deleted == 1
    applied.do(AlarmRequest(AlarmAction.ACTIVATE, 1, AlarmType.CORRUPT))
    with pytest.raises(Corrupt):
        applied.do(DeleteRangeRequest(b"a/1"), user=user)


def test_a_full_store_whose_authentication_was_just_turned_off_is_full(applied: Applied) -> None:
    applied.do(AlarmRequest(AlarmAction.ACTIVATE, 1, AlarmType.NOSPACE))
    applied.do(AuthDisableRequest(), user="root")
    for user in ("", "alice"):
        with pytest.raises(NoSpace):
            applied.do(PutRequest(b"a/1", b"x"), user=user)


def test_a_change_counts_from_the_next_command_of_the_same_entry(applied: Applied) -> None:
    put = PutRequest(b"z", b"x")
    answers = batch(applied, put, ("alice", put), ("root", AuthDisableRequest()), put, put, ("alice", put))
    assert [type(answer) for answer in answers] == [
        *(UserEmpty, PermissionDenied, AuthChangedResponse, PutResponse, PutResponse, PutResponse),
    ]
    answers = batch(applied, put, put, AuthEnableRequest(), put, put, ("root", put))
    assert [type(answer) for answer in answers] == [
        *(PutResponse, PutResponse, AuthChangedResponse, UserEmpty, UserEmpty, PutResponse),
    ]


def test_one_identity_does_not_rub_off_on_the_next_command(applied: Applied) -> None:
    answers = batch(applied, ("root", PutRequest(b"z", b"x")), PutRequest(b"z", b"y"))
    assert [type(answer) for answer in answers] == [PutResponse, UserEmpty]
