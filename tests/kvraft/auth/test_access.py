"""Who may do what: each kind of command when applied, and each request before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvraft.auth.access import INTERNAL
from kvraft.auth.gates import CHECKED_LATER, FOR_ROOT, FOR_USERS, check_gate
from kvraft.auth.identity import NOBODY, Identity
from kvraft.errors import AuthOldRevision, KvraftError, PermissionDenied, UserEmpty, UserNotFound
from kvraft.types import (
    AlarmAction,
    AlarmRequest,
    AuthDisableRequest,
    Command,
    CompactRequest,
    Compare,
    DefragmentRequest,
    DeleteRangeRequest,
    DowngradeRequest,
    LeaseCommand,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
    MemberAddRequest,
    MemberListRequest,
    Operation,
    PutRequest,
    RangeRequest,
    RoleRevokePermissionRequest,
    StatusRequest,
    TxnRequest,
    UserAddRequest,
    WatchRequest,
)
from kvraft.wire.native import Bearer, Request, WatchCancel, WatchProgress
from tests.kvraft.auth.machines import READ, READWRITE, WRITE, Applied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXISTS = Compare(b"r/x", 1, 1, 0)
LEASES = {1: [b"w/1", b"w/2"], 2: [b"w/1", b"r/1"], 3: []}


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    """alice reads r/ and b/, writes w/ and b/."""
    applied = Applied(tmp_path_factory.mktemp("state"))
    applied.add("alice", (READ, b"r/", b"r0"), (WRITE, b"w/", b"w0"), (READWRITE, b"b/", b"b0"))
    applied.add("nothing")
    applied.enable()
    applied.machine.access.lease_keys = lambda lease: LEASES.get(lease, [])
    yield applied
    applied.machine.close()


ALLOWED = [
    PutRequest(b"w/1", b""),
    PutRequest(b"b/1", b"", prev_kv=True),
    PutRequest(b"w/1", b"", lease=1),
    PutRequest(b"w/1", b"", lease=3),
    PutRequest(b"w/1", b"", lease=9),
    DeleteRangeRequest(b"w/", b"w0"),
    DeleteRangeRequest(b"b/", b"b0", prev_kv=True),
    RangeRequest(b"r/", b"r0"),
    RangeRequest(b"b/7"),
    TxnRequest((EXISTS,), (PutRequest(b"w/1", b""), RangeRequest(b"r/1")), (DeleteRangeRequest(b"b/1"),)),
    TxnRequest((), (TxnRequest((EXISTS,), (PutRequest(b"w/1", b"", lease=1),)),)),
    LeaseGrantRequest(60),
    LeaseRevokeRequest(1),
    LeaseRevokeRequest(9),
]
DENIED = [
    PutRequest(b"r/1", b""),
    PutRequest(b"w0", b""),
    PutRequest(b"w/1", b"", prev_kv=True),
    PutRequest(b"w/1", b"", lease=2),
    DeleteRangeRequest(b"w/", b"w1"),
    DeleteRangeRequest(b"w/", b"\0"),
    DeleteRangeRequest(b"w/", b"w0", prev_kv=True),
    RangeRequest(b"w/1"),
    RangeRequest(b"r/", b"\0"),
    RangeRequest(b"\0", b"\0"),
    TxnRequest((Compare(b"w/1", 1, 1, 0),)),
    TxnRequest((Compare(b"r/", 1, 1, 0, b"r1"),)),
    TxnRequest((), (PutRequest(b"r/1", b""),)),
    TxnRequest((), (), (PutRequest(b"r/1", b""),)),
    TxnRequest((), (RangeRequest(b"w/1"),)),
    TxnRequest((), (DeleteRangeRequest(b"r/1"),)),
    TxnRequest((), (DeleteRangeRequest(b"w/1", prev_kv=True),)),
    TxnRequest((), (PutRequest(b"w/1", b"", prev_kv=True),)),
    TxnRequest((), (PutRequest(b"w/1", b"", lease=2),)),
    TxnRequest((), (TxnRequest((Compare(b"w/1", 1, 1, 0),)),)),
    TxnRequest((), (), (TxnRequest((), (), (PutRequest(b"r/1", b""),)),)),
    CompactRequest(1),
    LeaseRevokeRequest(2),
    AuthDisableRequest(),
    UserAddRequest("eve"),
]


def as_user(applied: Applied, user: str) -> Identity:
    return Identity(user, applied.machine.auth.revision)


@pytest.mark.parametrize("command", ALLOWED, ids=repr)
def test_what_alice_may(applied: Applied, command: Any) -> None:
    applied.machine.access.check(as_user(applied, "alice"), command)
    applied.machine.access.check(as_user(applied, "root"), command)
    if not isinstance(command, LeaseGrantRequest) and command != LeaseRevokeRequest(9):
        with pytest.raises(PermissionDenied):
            applied.machine.access.check(as_user(applied, "nothing"), command)


@pytest.mark.parametrize("command", DENIED, ids=repr)
def test_what_alice_may_not(applied: Applied, command: Any) -> None:
    access = applied.machine.access
    with pytest.raises(PermissionDenied):
        access.check(as_user(applied, "alice"), command)
    access.check(as_user(applied, "root"), command)


@pytest.mark.parametrize("command", [*ALLOWED, *DENIED], ids=repr)
def test_nobody_may_nothing_and_a_stale_identity_has_to_be_renewed(applied: Applied, command: Any) -> None:
    access, revision = applied.machine.access, applied.machine.auth.revision
    if command != TxnRequest():
        with pytest.raises(UserEmpty):
            access.check(NOBODY, command)
        for user in ("alice", "root"):
            with pytest.raises(AuthOldRevision):
                access.check(Identity(user, revision - 1), command)
        with pytest.raises((PermissionDenied, UserNotFound)):
            access.check(Identity("gone", revision), command)


def test_every_command_has_its_rule(applied: Applied) -> None:
    """A kind without a rule is denied to everybody; none of those that are applied is forgotten."""
    kinds = {*get_args(Command), *get_args(LeaseCommand)}
    assert kinds <= {*applied.machine.access._checks, *INTERNAL}
    assert {*get_args(Operation)} <= {*applied.machine.access._checks}
    with pytest.raises(PermissionDenied):
        applied.machine.access.check(as_user(applied, "root"), StatusRequest())


def test_an_expired_lease_is_revoked_by_the_leader_itself(applied: Applied) -> None:
    applied.machine.access.check(NOBODY, LeaseRevokeRequest(2, term=5))
    with pytest.raises(PermissionDenied):
        applied.machine.access.check(as_user(applied, "alice"), LeaseRevokeRequest(2, term=5))


@pytest.mark.parametrize(
    ("request_", "for_alice", "for_root"),
    [
        (StatusRequest(), True, True),
        (MemberListRequest(), True, True),
        (AlarmRequest(AlarmAction.GET), True, True),
        (AlarmRequest(AlarmAction.ACTIVATE), False, True),
        (AlarmRequest(AlarmAction.DEACTIVATE), False, True),
        (MemberAddRequest(("http://127.0.0.1:1",)), False, True),
        (DefragmentRequest(), False, True),
        (LeaseTimeToLiveRequest(2), True, True),
        (LeaseTimeToLiveRequest(2, keys=True), False, True),
        (LeaseTimeToLiveRequest(3, keys=True), True, True),
    ],
    ids=repr,
)
def test_what_must_hold_to_begin(applied: Applied, request_: Any, for_alice: bool, for_root: bool) -> None:
    def passes(identity: Identity) -> bool:
        try:
            check_gate(applied.machine.access, request_, lambda: identity)
        except KvraftError:
            return False
        return True

    assert (passes(as_user(applied, "alice")), passes(as_user(applied, "root"))) == (for_alice, for_root)
    assert not passes(NOBODY)
    assert not passes(as_user(applied, "gone"))


def test_every_request_stands_in_one_list() -> None:
    lists = (FOR_ROOT, FOR_USERS, CHECKED_LATER)
    assert sum(map(len, lists)) == len(frozenset().union(*lists))
    of_the_stream = {WatchRequest, WatchCancel, WatchProgress, Bearer}  # a watch is checked when it is made
    by_kind = {AlarmRequest}
    assert set(get_args(Request)) - of_the_stream - by_kind == frozenset().union(*lists) - {DowngradeRequest}


class Unheard(msgspec.Struct):
    pass


def test_a_request_that_nobody_has_thought_of_is_refused_even_to_root(applied: Applied) -> None:
    with pytest.raises(PermissionDenied):
        check_gate(applied.machine.access, Unheard(), lambda: as_user(applied, "root"))


def test_users_and_roles_may_be_looked_at_by_those_whose_they_are(applied: Applied) -> None:
    access, alice = applied.machine.access, as_user(applied, "alice")
    access.check_user_get(alice, "alice")
    access.check_role_get(alice, "alice")
    for look in (access.check_user_get, access.check_role_get):
        look(as_user(applied, "root"), "nothing")
        with pytest.raises(PermissionDenied):
            look(alice, "nothing")
        with pytest.raises(UserEmpty):
            look(NOBODY, "alice")


def test_all_is_allowed_while_authentication_is_off(tmp_path: Path) -> None:
    applied = Applied(tmp_path)
    applied.do(PutRequest(b"k", b"v"))
    applied.do(PutRequest(b"k", b"v"), user="left-over", auth_revision=1)
    assert applied.do(CompactRequest(2)).revision == 3
    applied.machine.close()


def test_what_was_proposed_before_authentication_came_on_is_refused(tmp_path: Path) -> None:
    applied = Applied(tmp_path)
    applied.enable()
    with pytest.raises(UserEmpty):
        applied.do(PutRequest(b"k", b"v"))
    assert applied.machine.revision == 1
    applied.machine.close()


def test_a_permission_is_gone_with_the_very_next_command(tmp_path: Path) -> None:
    applied = Applied(tmp_path)
    applied.add("alice", (READWRITE, b"k", b""))
    applied.enable()
    applied.do(PutRequest(b"k", b"v"), user="alice")
    before = applied.machine.auth.revision
    applied.do(RoleRevokePermissionRequest("alice", b"k"), user="root")
    with pytest.raises(AuthOldRevision):
        applied.do(PutRequest(b"k", b"v"), user="alice", auth_revision=before)
    with pytest.raises(PermissionDenied):
        applied.do(PutRequest(b"k", b"v"), user="alice")
    applied.machine.close()


keys = st.sampled_from([b"r/1", b"w/1", b"b/1", b"x"])
puts = st.builds(PutRequest, keys, st.just(b""), prev_kv=st.booleans())
reads = st.builds(RangeRequest, keys, st.sampled_from([b"", b"r0", b"c", b"\0"]))
deletes = st.builds(DeleteRangeRequest, keys, st.sampled_from([b"", b"w0"]), st.booleans())
compares = st.builds(Compare, keys, st.just(1), st.just(0), st.just(0))


def txns(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[TxnRequest]:
    branch = st.lists(inner, max_size=2).map(tuple)
    return st.builds(TxnRequest, st.lists(compares, max_size=1).map(tuple), branch, branch)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(txns(st.recursive(puts | reads | deletes, txns, max_leaves=4)))
def test_a_transaction_is_allowed_exactly_when_all_of_its_parts_are(applied: Applied, txn: TxnRequest) -> None:
    def allowed(command: Any) -> bool:
        try:
            applied.machine.access.check(as_user(applied, "alice"), command)
        except PermissionDenied:
            return False
        return True

    def parts(request: TxnRequest) -> Iterator[Any]:
        yield from (RangeRequest(compare.key, compare.range_end) for compare in request.compare)
        for operation in (*request.success, *request.failure):
            yield from parts(operation) if isinstance(operation, TxnRequest) else (operation,)

    assert allowed(txn) is all(allowed(part) for part in parts(txn))
