"""Users and roles: what each command does, each error, and what a snapshot and a restart keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kvraft.auth import store as store_module
from kvraft.auth.store import User
from kvraft.auth.tokens import SimpleTokens
from kvraft.errors import (
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    InvalidArgument,
    InvalidAuthManagement,
    PermissionNotGiven,
    PermissionNotGranted,
    RoleAlreadyExist,
    RoleEmpty,
    RoleNotFound,
    RoleNotGranted,
    RootRoleNotExist,
    RootUserNotExist,
    UserAlreadyExist,
    UserEmpty,
    UserNotFound,
)
from kvraft.types import (
    AuthDisableRequest,
    AuthEnableRequest,
    Permission,
    PutRequest,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGrantPermissionRequest,
    RoleRevokePermissionRequest,
    TokenGrantRequest,
    UserAddRequest,
    UserChangePasswordRequest,
    UserDeleteRequest,
    UserGrantRoleRequest,
    UserRevokeRoleRequest,
)
from tests.kvraft.auth.machines import READ, READWRITE, WRITE, Applied

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def applied(tmp_path: Path) -> Iterator[Applied]:
    applied = Applied(tmp_path / "one")
    yield applied
    applied.machine.close()


def grant(role: str, kind: int, key: bytes, range_end: bytes = b"") -> RoleGrantPermissionRequest:
    return RoleGrantPermissionRequest(role, Permission(kind, key, range_end))


def test_users_and_roles_are_listed_in_order(applied: Applied) -> None:
    for name in ("zoe", "alice", "root"):
        applied.do(UserAddRequest(name))
        applied.do(RoleAddRequest(f"{name}-role"))
    assert applied.machine.auth.users() == ["alice", "root", "zoe"]
    assert applied.machine.auth.roles() == ["alice-role", "root-role", "zoe-role"]
    for role in ("zoe-role", "alice-role", "root", "alice-role"):
        applied.do(UserGrantRoleRequest("alice", role))
    assert applied.machine.auth.roles_of("alice") == ["alice-role", "root", "zoe-role"]


def test_permissions_are_replaced_by_range_and_in_order(applied: Applied) -> None:
    applied.do(RoleAddRequest("r"))
    for command in (
        grant("r", READ, b"k", b"z"),
        grant("r", READ, b"k"),
        grant("r", WRITE, b"a", b"\0"),
        grant("r", READWRITE, b"k", b"z"),
    ):
        applied.do(command)
    expected = [Permission(WRITE, b"a", b"\0"), Permission(READ, b"k"), Permission(READWRITE, b"k", b"z")]
    assert applied.machine.auth.permissions("r") == expected
    applied.do(RoleRevokePermissionRequest("r", b"k"))
    assert applied.machine.auth.permissions("r") == [expected[0], expected[2]]


def test_the_role_root_may_do_everything(applied: Applied) -> None:
    with pytest.raises(RoleNotFound):
        applied.machine.auth.permissions("root")
    applied.do(RoleAddRequest("root"))
    assert applied.machine.auth.permissions("root") == [Permission(READWRITE, b"", b"\0")]


def test_a_deleted_role_is_taken_from_its_users(applied: Applied) -> None:
    applied.add("alice", (READ, b"a", b""))
    applied.do(RoleAddRequest("other"))
    applied.do(UserGrantRoleRequest("alice", "other"))
    applied.do(RoleDeleteRequest("alice"))
    assert applied.machine.auth.user("alice") == User("$2b$04$hash", False, ("other",))


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (AuthEnableRequest(), RootUserNotExist),
        (UserAddRequest(""), UserEmpty),
        (UserAddRequest("alice"), UserAlreadyExist),
        (UserAddRequest("x" * 501), InvalidArgument),
        (UserDeleteRequest("nobody"), UserNotFound),
        (UserDeleteRequest("x" * 501), UserNotFound),
        (UserChangePasswordRequest("nobody", hashed_password="x"), UserNotFound),
        (UserGrantRoleRequest("nobody", "alice"), UserNotFound),
        (UserGrantRoleRequest("alice", "nothing"), RoleNotFound),
        (UserRevokeRoleRequest("nobody", "alice"), UserNotFound),
        (UserRevokeRoleRequest("alice", "nothing"), RoleNotGranted),
        (RoleAddRequest(""), RoleEmpty),
        (RoleAddRequest("alice"), RoleAlreadyExist),
        (RoleDeleteRequest("nothing"), RoleNotFound),
        (RoleGrantPermissionRequest("alice", None), PermissionNotGiven),
        (grant("nothing", READ, b"a"), RoleNotFound),
        (grant("alice", READ, b""), InvalidAuthManagement),
        (grant("alice", READ, b"b", b"a"), InvalidAuthManagement),
        (grant("alice", 3, b"a"), InvalidAuthManagement),
        (RoleRevokePermissionRequest("nothing", b"a"), RoleNotFound),
        (RoleRevokePermissionRequest("alice", b"a", b"z"), PermissionNotGranted),
        (TokenGrantRequest("alice", b"digest", 5), AuthNotEnabled),
    ],
)
def test_what_is_refused_changes_nothing(applied: Applied, command: Any, error: type[Exception]) -> None:
    applied.add("alice", (READ, b"a", b""))
    revision = applied.machine.auth.revision
    with pytest.raises(error) as raised:
        applied.do(command)
    assert type(raised.value) is error
    assert applied.machine.auth.revision == revision


def test_the_revision_counts_changes(applied: Applied) -> None:
    auth = applied.machine.auth
    assert auth.revision == 1
    applied.add("alice", (READ, b"a", b""))
    assert auth.revision == 5
    applied.do(UserGrantRoleRequest("alice", "alice"))  # has it already
    applied.do(AuthDisableRequest())  # is off already
    assert auth.revision == 5
    applied.enable()
    assert auth.revision == 7  # to enable is no change of users and roles
    applied.do(AuthEnableRequest(), user="root")
    applied.do(AuthDisableRequest(), user="root")
    assert (auth.enabled, auth.revision) == (False, 8)


def test_root_is_kept_while_authentication_is_on(applied: Applied) -> None:
    applied.do(UserAddRequest("root"))
    with pytest.raises(RootRoleNotExist):
        applied.do(AuthEnableRequest())
    applied.do(RoleAddRequest("root"))
    applied.do(UserGrantRoleRequest("root", "root"))
    applied.do(AuthEnableRequest())
    for command in (UserDeleteRequest("root"), UserRevokeRoleRequest("root", "root"), RoleDeleteRequest("root")):
        with pytest.raises(InvalidAuthManagement):
            applied.do(command, user="root")
    applied.do(AuthDisableRequest(), user="root")
    for command in (RoleDeleteRequest("root"), UserDeleteRequest("root")):
        applied.do(command)
    assert applied.machine.auth.users() == []


def test_passwords_and_users_without_one(applied: Applied) -> None:
    applied.do(UserAddRequest("cert", no_password=True, hashed_password="ignored"))
    applied.do(UserChangePasswordRequest("cert", hashed_password="ignored"))
    assert applied.machine.auth.user("cert") == User("", True)
    applied.do(UserAddRequest("alice", hashed_password="first"))
    applied.do(UserChangePasswordRequest("alice", hashed_password="second"))
    assert applied.machine.auth.user("alice") == User("second", False)


def test_what_ends_tokens(applied: Applied) -> None:
    tokens = applied.machine.auth.tokens = SimpleTokens(300, lambda: 0.0)
    for name in ("alice", "bob", "carol"):
        applied.add(name)
    applied.do(UserAddRequest("cert", no_password=True))
    applied.enable()

    def give(user: str) -> int:
        answer = applied.do(TokenGrantRequest(user, user.encode(), applied.machine.auth.revision))
        return int(answer.index)

    assert give("alice") == applied.machine.applied_index
    give("bob")
    give("carol")
    for nobody in ("cert", "nobody"):
        with pytest.raises(AuthFailed):
            give(nobody)
    with pytest.raises(AuthOldRevision):
        applied.do(TokenGrantRequest("alice", b"x", applied.machine.auth.revision - 1))
    applied.do(UserRevokeRoleRequest("alice", "alice"), user="root")
    assert len(tokens) == 3  # what alice may is looked up anew each time
    applied.do(UserChangePasswordRequest("alice", hashed_password="x"), user="root")
    applied.do(UserDeleteRequest("bob"), user="root")
    assert len(tokens) == 1
    applied.do(AuthDisableRequest(), user="root")
    assert len(tokens) == 0


def test_there_are_bounds(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_NAMES", 3)
    monkeypatch.setattr(store_module, "MAX_ROLES", 1)
    monkeypatch.setattr(store_module, "MAX_PERMISSIONS", 1)
    applied.add("alice", (READ, b"a", b""))
    applied.do(grant("alice", WRITE, b"a"))  # in its own place
    with pytest.raises(InvalidArgument, match="at most 1 permissions"):
        applied.do(grant("alice", WRITE, b"b"))
    applied.do(RoleAddRequest("other"))
    with pytest.raises(InvalidArgument, match="at most 3 users and roles"):
        applied.do(UserAddRequest("one-too-many"))
    with pytest.raises(InvalidArgument, match="at most 1 roles"):
        applied.do(UserGrantRoleRequest("alice", "other"))


def test_a_snapshot_carries_it_and_what_was_derived_before_is_gone(applied: Applied, tmp_path: Path) -> None:
    other = Applied(tmp_path / "two", member_id=2)
    for one in (applied, other):
        one.add("alice", (READWRITE, b"a", b""))
        one.enable()
        one.do(PutRequest(b"a", b"1"), user="alice")
    applied.do(RoleRevokePermissionRequest("alice", b"a"), user="root")
    applied.do(AuthDisableRequest(), user="root")
    applied.do(AuthEnableRequest())
    applied.machine.commit()
    with_snapshot = applied.machine.snapshot()
    writer = other.machine.incoming()
    for chunk in with_snapshot:
        writer.write(chunk)
    writer.finish()
    with_snapshot.close()
    other.machine.install(writer)
    for one in (applied, other):
        auth = one.machine.auth
        assert (auth.users(), auth.roles(), auth.permissions("alice")) == (["alice", "root"], ["alice"], [])
        assert (auth.enabled, auth.revision) == (True, applied.machine.auth.revision)
        user = auth.user("alice")
        assert user is not None
        assert not auth.ranges("alice", user).write.covers(b"a", b"a\0")
    other.machine.close()


def test_a_restart_keeps_it(tmp_path: Path) -> None:
    applied = Applied(tmp_path)
    applied.enable()
    applied.machine.commit()
    applied.machine.close()
    machine = type(applied.machine).open(tmp_path, sync=False)
    assert (machine.auth.enabled, machine.auth.revision, machine.auth.users()) == (True, 3, ["root"])
    machine.close()
