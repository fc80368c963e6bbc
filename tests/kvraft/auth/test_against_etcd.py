"""The same operations on users, roles and keys, here and on a real etcd: every answer and every error is the same.

Debian's etcd is asked through its JSON gateway, while authentication is off and while it is on.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvraft.auth.identity import NOBODY, Identity
from kvraft.auth.passwords import hash_password
from kvraft.errors import KvraftError
from kvraft.types import (
    AuthDisableRequest,
    AuthEnableRequest,
    Compare,
    DeleteRangeRequest,
    Permission,
    PermissionType,
    PutRequest,
    RangeRequest,
    RoleAddRequest,
    RoleDeleteRequest,
    RoleGrantPermissionRequest,
    RoleRevokePermissionRequest,
    TxnRequest,
    UserAddRequest,
    UserChangePasswordRequest,
    UserDeleteRequest,
    UserGrantRoleRequest,
    UserRevokeRoleRequest,
)
from tests.bench.clusters import store_cluster
from tests.kvraft.auth.machines import Applied

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (Debian: etcd-server)"),
]

CODES = {"InvalidArgument": 3, "PermissionDenied": 7, "FailedPrecondition": 9, "OutOfRange": 11, "Unauthenticated": 16}
ROOTS = [(PermissionType.READWRITE, b"", b"\0")]
"""What the role root may do, as etcd's later versions say it; 3.4 says nothing."""
PASSWORDS = {"one": hash_password("one", 4), "two": hash_password("two", 4)}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Refused(Exception):
    """What etcd answered instead: code and message."""


class Etcd:
    """One etcd, and the tokens of those who use it."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"))
        self._tokens: dict[str, str] = {}

    def call(self, path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
        headers = {"Authorization": token} if token else {}
        self.connection.request("POST", f"/v3/{path}", json.dumps(body), headers)
        answer = json.loads(self.connection.getresponse().read())
        if "error" in answer:
            raise Refused(answer["code"], answer["message"])
        return answer

    def as_user(self, user: str, password: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        for _ in range(2):
            if user and user not in self._tokens:
                found = self.call("auth/authenticate", {"name": user, "password": password})
                self._tokens[user] = found["token"]
            try:
                return self.call(path, body, self._tokens.get(user, ""))
            except Refused as error:
                if error.args[1] != "etcdserver: invalid auth token":
                    raise
                del self._tokens[user]
        raise AssertionError("a new token is no good")

    def clean(self) -> None:
        """Nobody, nothing, and authentication is off."""
        self._tokens.clear()
        for user in self.call("auth/user/list", {}).get("users", []):
            self.call("auth/user/delete", {"name": user})
        for role in self.call("auth/role/list", {}).get("roles", []):
            self.call("auth/role/delete", {"role": role})
        self.call("kv/deleterange", {"key": b64(b"\0"), "range_end": b64(b"\0")})


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    with store_cluster("etcd", 1, ["--bcrypt-cost", "4"]) as cluster:
        etcd = Etcd(cluster.urls[0])
        with closing(etcd.connection):
            yield etcd


def path_and_body(command: Any) -> tuple[str, dict[str, Any]]:
    """An operation as the gateway takes it."""
    match command:
        case AuthEnableRequest():
            return "auth/enable", {}
        case AuthDisableRequest():
            return "auth/disable", {}
        case UserAddRequest(name, password):
            return "auth/user/add", {"name": name, "password": password}
        case UserChangePasswordRequest(name, password):
            return "auth/user/changepw", {"name": name, "password": password}
        case UserDeleteRequest(name):
            return "auth/user/delete", {"name": name}
        case UserGrantRoleRequest(user, role):
            return "auth/user/grant", {"user": user, "role": role}
        case UserRevokeRoleRequest(name, role):
            return "auth/user/revoke", {"name": name, "role": role}
        case RoleAddRequest(name):
            return "auth/role/add", {"name": name}
        case RoleDeleteRequest(role):
            return "auth/role/delete", {"role": role}
        case RoleGrantPermissionRequest(name, Permission(kind, key, range_end)):
            perm = {"permType": PermissionType(kind).name, "key": b64(key), "range_end": b64(range_end)}
            return "auth/role/grant", {"name": name, "perm": perm}
        case RoleRevokePermissionRequest(role, key, range_end):
            return "auth/role/revoke", {"role": role, "key": b64(key), "range_end": b64(range_end)}
        case TxnRequest(compare, success, failure):
            return "kv/txn", {
                "compare": [
                    {"key": b64(one.key), "range_end": b64(one.range_end), "target": "VERSION", "version": one.operand}
                    for one in compare
                ],
                "success": [operation(one) for one in success],
                "failure": [operation(one) for one in failure],
            }
        case _:
            ((name, body),) = operation(command).items()
            return f"kv/{name.removeprefix('request_').replace('delete_range', 'deleterange')}", body


def operation(command: Any) -> dict[str, Any]:
    match command:
        case PutRequest():
            return {
                "request_put": {"key": b64(command.key), "value": b64(command.value), "prev_kv": command.prev_kv},
            }
        case RangeRequest(key, range_end):
            return {"request_range": {"key": b64(key), "range_end": b64(range_end)}}
        case DeleteRangeRequest(key, range_end, prev_kv):
            return {"request_delete_range": {"key": b64(key), "range_end": b64(range_end), "prev_kv": prev_kv}}
        case TxnRequest():
            return {"request_txn": path_and_body(command)[1]}
    raise AssertionError(command)


@attrs.frozen
class As:
    """An operation on behalf of somebody."""

    user: str
    command: Any


class Ours(Applied):
    """The state machine, asked as a member asks it."""

    def ask(self, user: str, command: Any) -> Any:
        auth, access = self.machine.auth, self.machine.access
        identity = Identity(user, auth.revision) if user else NOBODY
        match command:
            case RangeRequest():
                access.check(identity, command)
                return self.machine.range(command)
            case UserAddRequest(name, password):
                return self.do(UserAddRequest(name, hashed_password=PASSWORDS[password]), user=user)
            case UserChangePasswordRequest(name, password):
                return self.do(UserChangePasswordRequest(name, hashed_password=PASSWORDS[password]), user=user)
            case _:
                return self.do(command, user=user)


def outcome_here(ours: Ours, step: As) -> object:
    try:
        answer = ours.ask(step.user, step.command)
    except KvraftError as error:
        return CODES[error.code], str(error)
    return getattr(answer, "count", getattr(answer, "deleted", None))


def outcome_there(etcd: Etcd, step: As, password: str) -> object:
    path, body = path_and_body(step.command)
    try:
        answer = etcd.as_user(step.user, password, path, body)
    except Refused as error:
        return error.args
    if isinstance(step.command, RangeRequest):
        return int(answer.get("count", 0))
    if isinstance(step.command, DeleteRangeRequest):
        return int(answer.get("deleted", 0))
    return None


def everything_here(ours: Ours) -> object:
    auth = ours.machine.auth
    return (
        {user: auth.roles_of(user) for user in auth.users()},
        {role: [(p.permission, p.key, p.range_end) for p in auth.permissions(role)] for role in auth.roles()},
    )


def everything_there(etcd: Etcd, user: str, password: str) -> object:
    def ask(path: str, **body: str) -> dict[str, Any]:
        return etcd.as_user(user, password, f"auth/{path}", body)

    def permissions(role: str) -> list[tuple[int, bytes, bytes]]:
        return [
            (PermissionType[p.get("permType", "READ")], *(base64.b64decode(p.get(k, "")) for k in ("key", "range_end")))
            for p in ask("role/get", role=role).get("perm", [])
        ]

    return (
        {name: ask("user/get", name=name).get("roles", []) for name in ask("user/list").get("users", [])},
        {role: permissions(role) if role != "root" else ROOTS for role in ask("role/list").get("roles", [])},
    )


names = st.sampled_from(["alice", "bob", "root"])
roles = st.sampled_from(["r1", "r2", "root"])
# One end for each start: etcd grants a range a second time where another one with its start lies before it.
spans = st.sampled_from([(b"a", b"c"), (b"b", b""), (b"c", b"e"), (b"d", b"\0"), (b"\0", b"\0")])
permissions = st.builds(lambda kind, covered: Permission(kind, *covered), st.sampled_from(PermissionType), spans)
management = st.one_of(
    st.builds(UserAddRequest, names | st.just(""), st.sampled_from(["one", "two"])),
    st.builds(UserGrantRoleRequest, names, roles),
    st.builds(UserGrantRoleRequest, names, roles),
    st.builds(UserRevokeRoleRequest, names, roles),
    st.builds(UserDeleteRequest, names),
    st.builds(RoleAddRequest, roles | st.just("")),
    st.builds(RoleAddRequest, roles),
    st.builds(RoleGrantPermissionRequest, roles, permissions),
    st.builds(RoleGrantPermissionRequest, roles, permissions),
    st.builds(lambda role, covered: RoleRevokePermissionRequest(role, *covered), roles, spans),
    st.builds(RoleDeleteRequest, roles),
    st.builds(UserChangePasswordRequest, names, st.just("one")),
)
keys = st.sampled_from([b"a", b"b", b"bb", b"d", b"z"])
ends = st.sampled_from([b"", b"", b"c", b"e", b"\0"])


def in_order(request: Any) -> bool:
    """Whether a range may have keys. Of others etcd's answer hangs on how its tree has grown."""
    return request.range_end in (b"", b"\0") or request.key < request.range_end


puts = st.builds(PutRequest, keys, st.just(b"v"), prev_kv=st.booleans())
ranges = st.builds(RangeRequest, keys, ends).filter(in_order)
deletes = st.builds(DeleteRangeRequest, keys, ends, st.booleans()).filter(in_order)
compares = st.builds(lambda key, end: Compare(key, 0, 0, 0, end), keys, ends).filter(in_order)
# In a transaction etcd 3.4 lets a put have prev_kv without leave to read: its later versions do not.
parts = st.builds(PutRequest, keys, st.just(b"v")) | ranges
branches = st.lists(parts, max_size=2, unique_by=lambda part: part.key).map(tuple)
txns = st.builds(TxnRequest, st.lists(compares, max_size=1).map(tuple), branches, branches)
SETUP = (UserAddRequest("root", "one"), RoleAddRequest("root"), UserGrantRoleRequest("root", "root"))


@st.composite
def sessions(draw: st.DrawFn) -> tuple[list[As], list[As]]:
    """Steps while authentication is off, and steps while it is on: management is root's, keys are everybody's."""
    known = [UserAddRequest("alice", "one"), RoleAddRequest("r1"), UserGrantRoleRequest("alice", "r1")]
    known += draw(st.lists(st.builds(RoleGrantPermissionRequest, st.just("r1"), permissions), max_size=3))
    before = [As("", command) for command in (*known, *draw(st.lists(management, min_size=1, max_size=15)))]
    access = st.builds(As, st.sampled_from(["alice", "alice", "bob", "root", ""]), puts | ranges | deletes | txns)
    after = draw(st.lists(st.builds(As, st.just("root"), management) | access | access, min_size=5, max_size=25))
    return before, after


def known_password(ours: Ours, user: str) -> str:
    found = ours.machine.auth.user(user)
    return next((text for text, hashed in PASSWORDS.items() if found is not None and found.password == hashed), "")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sessions())
def test_the_same_operations_have_the_same_answers(
    etcd: Etcd, tmp_path_factory: pytest.TempPathFactory, session: tuple[list[As], list[As]]
) -> None:
    before, after = session
    ours = Ours(tmp_path_factory.mktemp("state"))
    enable = [As("", command) for command in (AuthEnableRequest(), *SETUP, AuthEnableRequest())]
    try:
        for step in [*before, *enable, *after]:
            if step.user and ours.machine.auth.user(step.user) is None:
                continue  # who is not there gets no token
            password = known_password(ours, step.user)
            there = outcome_there(etcd, step, password)
            assert outcome_here(ours, step) == there, step
            if step is before[-1]:
                assert everything_here(ours) == everything_there(etcd, "", "")
        if ours.machine.auth.enabled:
            assert everything_here(ours) == everything_there(etcd, "root", known_password(ours, "root"))
    finally:
        if ours.machine.auth.enabled:
            etcd.as_user("root", known_password(ours, "root"), "auth/disable", {})
        etcd.clean()
        ours.machine.close()


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("alice", AuthDisableRequest()),
        ("", AuthDisableRequest()),
        ("alice", UserAddRequest("eve", "one")),
        ("", RoleAddRequest("r")),
        ("alice", PutRequest(b"c", b"v")),
        ("", TxnRequest((), (RangeRequest(b"a"),))),
    ],
    ids=repr,
)
def test_what_is_for_root(etcd: Etcd, tmp_path: Any, user: str, command: Any) -> None:
    ours = Ours(tmp_path)
    setup = (*SETUP, UserAddRequest("alice", "one"), PutRequest(b"a", b"v"), PutRequest(b"a", b"v"))
    try:
        for step in [*(As("", one) for one in (*setup, AuthEnableRequest())), As(user, command)]:
            password = known_password(ours, step.user)
            assert outcome_there(etcd, step, password) == outcome_here(ours, step), step
    finally:
        if ours.machine.auth.enabled:
            etcd.as_user("root", "one", "auth/disable", {})
        etcd.clean()
        ours.machine.close()
