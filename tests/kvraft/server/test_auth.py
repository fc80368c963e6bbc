"""Authentication on real members over real sockets: logging in, what is refused, tokens that end, certificates."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kvraft.apply.command import encode_command
from kvraft.auth.identity import Credentials
from kvraft.auth.tokens import digest, join, new_secret
from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import (
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    InvalidArgument,
    InvalidAuthManagement,
    InvalidAuthToken,
    PermissionDenied,
    UserEmpty,
    UserNotFound,
)
from kvraft.server import auth as auth_module
from kvraft.server.config import ConfigError
from kvraft.types import (
    CompactRequest,
    CompactResponse,
    Permission,
    PermissionType,
    RangeRequest,
    RangeResponse,
    TokenGrantRequest,
    WatchRequest,
    prefix_end,
)
from tests.kvraft.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.client import Client
    from kvraft.server.member import Member

CHEAP: dict[str, Any] = {"bcrypt_cost": 4}
READ, WRITE, READWRITE = PermissionType


async def enable(client: Client) -> None:
    """Users root (rootpw) and alice (alicepw), who may read and write a/."""
    auth = client.auth
    await auth.user_add("root", "rootpw")
    await auth.user_grant_role("root", "root")
    await auth.user_add("alice", "alicepw")
    await auth.role_add("a")
    await auth.role_grant_permission("a", READWRITE, b"a/", prefix_end(b"a/"))
    await auth.user_grant_role("alice", "a")
    await auth.enable()


class Store:
    """A member with authentication on, and clients of it."""

    def __init__(self, member: Member, nobody: Client, alice: Client, root: Client) -> None:
        self.member = member
        self.nobody = nobody
        self.alice = alice
        self.root = root


@asynccontextmanager
async def open_store(directory: Path, **settings: Any) -> AsyncIterator[Store]:
    async with AsyncExitStack() as stack:
        member = await stack.enter_async_context(open_member(directory, **{**CHEAP, **settings}))
        nobody, alice, root = [
            await stack.enter_async_context(open_client(member.client_urls, user=user, password=f"{user}pw"))
            for user in ("", "alice", "root")
        ]
        await enable(nobody)
        yield Store(member, nobody, alice, root)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(tmp_path / "data") as store:
        yield store


async def test_nobody_is_refused_and_users_do_what_they_may(store: Store) -> None:
    for refused in (
        store.nobody.put(b"a/1", b"x"),
        store.nobody.range(b"a/1"),
        store.nobody.range(b"a/1", serializable=True),
        store.nobody.compact(1),
        store.nobody.status(store.member.client_urls[0]),
        store.nobody.auth.user_list(),
        store.nobody.auth.user_add("eve", "x"),
        store.nobody.auth.disable(),
    ):
        with pytest.raises(UserEmpty, match=r"^etcdserver: user name is empty$"):
            await refused
    await store.alice.put(b"a/1", b"x")
    assert (await store.alice.range(b"a/", prefix_end(b"a/"))).count == 1
    assert (await store.alice.status(store.member.client_urls[0])).version
    for denied in (
        store.alice.put(b"b/1", b"x"),
        store.alice.range(b"b/1"),
        store.alice.range(b"\0", b"\0", serializable=True),
        store.alice.delete_range(b"a/", b"\0"),
        store.alice.compact(1),
        store.alice.auth.user_add("eve", "x"),
        store.alice.auth.role_list(),
        store.alice.auth.user_get("root"),
        store.alice.auth.status(),
    ):
        with pytest.raises(PermissionDenied, match=r"^etcdserver: permission denied$"):
            await denied
    await store.root.put(b"b/1", b"x")
    assert (await store.root.range(b"\0", b"\0")).count == 2


async def test_users_and_roles_over_the_wire(store: Store) -> None:
    auth = store.root.auth
    assert (await auth.user_list()).users == ["alice", "root"]
    assert (await auth.role_list()).roles == ["a"]
    assert (await auth.role_get("a")).permissions == [Permission(READWRITE, b"a/", b"a0")]
    assert (await store.alice.auth.user_get("alice")).roles == ["a"]
    assert (await store.alice.auth.role_get("a")).permissions == [Permission(READWRITE, b"a/", b"a0")]
    status = await auth.status()
    assert (status.enabled, status.auth_revision) == (True, 7)
    await auth.user_revoke_role("alice", "a")
    await auth.role_revoke_permission("a", b"a/", b"a0")
    await auth.role_delete("a")
    await auth.user_delete("alice")
    assert ((await auth.user_list()).users, (await auth.role_list()).roles) == (["root"], [])
    with pytest.raises(InvalidAuthManagement):
        await auth.user_delete("root")
    await auth.disable()
    await store.nobody.put(b"anything", b"x")
    assert not (await store.nobody.auth.status()).enabled


async def test_passwords(store: Store) -> None:
    nobody = store.nobody.auth
    await store.root.auth.user_add("cert", no_password=True)
    for user, password in (("alice", "wrong"), ("nobody", "x"), ("cert", ""), ("alice", "x" * 73), ("alice", "")):
        with pytest.raises(AuthFailed, match=r"^etcdserver: authentication failed, invalid user ID or password$"):
            await nobody.authenticate(user, password)
    assert (await nobody.authenticate("alice", "alicepw")).token
    with pytest.raises(InvalidArgument, match="password is longer than 72 bytes"):
        await store.root.auth.user_add("eve", "x" * 73)
    await store.alice.put(b"a/1", b"x")
    await store.root.auth.user_change_password("alice", "new")
    with pytest.raises(AuthFailed):  # the token ended with the old password
        await store.alice.put(b"a/1", b"x")
    assert (await nobody.authenticate("alice", "new")).token
    with pytest.raises(UserNotFound):
        await store.root.auth.user_change_password("nobody", "x")


async def test_authentication_that_is_off_has_no_tokens(tmp_path: Path) -> None:
    async with (
        open_member(tmp_path, **CHEAP) as member,
        open_client(member.client_urls, user="alice", password="pw") as client,
    ):
        with pytest.raises(AuthNotEnabled):
            await client.auth.authenticate("alice", "pw")
        await client.put(b"k", b"v")
        with pytest.raises(UserEmpty):  # which is not about the client's own user here
            await client.auth.user_add("", "x")
        assert client.token == ""


async def test_a_token_that_has_ended_is_renewed(store: Store) -> None:
    tokens = store.member.auth.tokens
    assert tokens is not None
    await store.alice.put(b"a/1", b"x")
    first = store.alice.token
    tokens.clear()
    await store.alice.put(b"a/1", b"y")
    assert store.alice.token not in ("", first)
    tokens.clear()
    async with trio.open_nursery() as nursery:  # all at once: one of them logs in for all
        for number in range(20):
            nursery.start_soon(store.alice.range, b"a/%d" % number)
    assert len(tokens) == 1


async def test_a_stolen_digest_is_no_token(store: Store) -> None:
    await store.alice.put(b"a/1", b"x")
    async with open_client(store.member.client_urls) as thief:
        connection = await thief.any_connection()
        for token in ("", "x.1", "forged.99999999", store.alice.token[:-3] + "x.1"):
            connection.bear(token)
            with pytest.raises(InvalidAuthToken if token else UserEmpty):
                await thief.put(b"a/1", b"x")
        connection.bear(store.alice.token)
        await thief.put(b"a/1", b"x")


class Asking:
    """A caller of the service, as every protocol has one."""

    congested = False
    forwards = False

    def __init__(self, token: str) -> None:
        self.credentials = Credentials(token)
        self.answers: list[Any] = []
        self.answered = trio.Event()

    def answer(self, answer: Any) -> None:
        self.answers.append(answer)
        self.answered.set()

    def hold(self, retry: Any) -> None:
        raise AssertionError("never congested")


async def test_a_token_that_is_on_its_way_is_waited_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody got a token from another member, and comes here before its entry has come here."""
    member, secret = store.member, new_secret()
    index = member.machine.applied_index + 1
    known, forged, watching = (Asking(join(text, index)) for text in (secret, "x", secret))
    watchers: list[Any] = []
    confirmations: list[Any] = []
    monkeypatch.setattr(member.driver, "read", lambda waiter, **_: confirmations.append(waiter))  # what the leader says
    for caller in (known, forged):
        member.service.start(RangeRequest(b"a/1", serializable=True), b"", caller, caller.answer)
    member.auth.when_known(
        watching.credentials,
        watching.answer,
        lambda: watchers.append(member.service.watch(WatchRequest(b"a/"), NoSink(), watching)),
    )
    await trio.testing.wait_all_tasks_blocked()
    assert [*known.answers, *forged.answers, *watchers] == []
    grant = TokenGrantRequest("alice", digest(secret), member.machine.auth.revision)
    granted = Asking("")
    member.driver.propose(encode_command(grant), granted.answer)
    member.wake.set()
    with trio.fail_after(10):
        await granted.answered.wait()
        assert member.machine.applied_index == index
        for confirm in confirmations:
            confirm(None)
        await known.answered.wait()
        await forged.answered.wait()
        await trio.testing.wait_all_tasks_blocked()
    assert [type(answer) for answer in (*known.answers, *forged.answers)] == [RangeResponse, InvalidAuthToken]
    assert (len(watchers), watching.answers) == (1, [])
    member.machine.watch.cancel(watchers[0])


class NoSink:
    """Nobody looks."""

    def deliver(self, watcher: Any, batch: Any) -> bool:
        return True


async def test_a_password_that_changes_while_it_is_checked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check was right at the old revision: it is made again, and fails (etcd's race of CheckPassword)."""
    checks: list[bool] = []
    checking, changed = trio.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def slow(password: str, hashed: str, cost: int) -> bool:
        checks.append(verify(password, hashed, cost))
        if len(checks) == 1:
            trio.from_thread.run_sync(checking.set, trio_token=token)
            trio.from_thread.run(changed.wait, trio_token=token)
        return checks[-1]

    async def authenticate() -> None:
        with pytest.raises(AuthFailed):
            await store.nobody.auth.authenticate("alice", "alicepw")

    verify = auth_module.verify
    await store.root.auth.user_list()  # root has logged in
    monkeypatch.setattr(auth_module, "verify", slow)
    store.member.auth._threads.total_tokens = 2  # one stands still, one hashes
    async with trio.open_nursery() as nursery:
        nursery.start_soon(authenticate)
        await checking.wait()
        await store.root.auth.user_change_password("alice", "new")
        changed.set()
    assert checks == [True, False]


async def test_a_command_that_a_change_of_users_overtook_is_asked_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between proposing and applying the revision rises: the identity is established anew, nothing is lost."""
    await store.alice.put(b"a/1", b"x")
    token = store.alice.token
    who = store.member.auth.who
    seen: list[int] = []

    def late(credentials: Any) -> Any:
        identity = who(credentials)
        seen.append(identity.auth_revision)
        if len(seen) == 1:
            return type(identity)("alice", identity.auth_revision - 1)
        return identity

    monkeypatch.setattr(store.member.auth, "who", late)
    await store.alice.put(b"a/1", b"y")
    assert len(seen) == 3  # proposed at the old revision; asked again who it is; proposed
    assert store.alice.token == token  # the client has noticed nothing
    assert (await store.alice.range(b"a/1")).kvs[0].version == 2


async def test_watches_are_checked_when_they_begin(store: Store) -> None:
    async with store.alice.watch(b"a/", b"a0") as stream:
        await store.root.put(b"a/1", b"x")
        with trio.fail_after(5):
            assert [event.kv.key for event in (await anext(stream)).events or (await anext(stream)).events] == [b"a/1"]
    for key, range_end in ((b"b/", b"b0"), (b"a/", b"\0"), (b"\0", b"\0")):
        with pytest.raises(PermissionDenied):
            async with store.alice.watch(key, range_end):
                pass
    with pytest.raises(UserEmpty):
        async with store.nobody.watch(b"a/"):
            pass
    tokens = store.member.auth.tokens
    assert tokens is not None
    tokens.clear()
    async with store.alice.watch(b"a/", b"a0"):  # logs in by itself
        pass


def tls_client(authority: Authority, subject: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    context.load_cert_chain(*authority.issue(subject))
    return context


async def test_leases_and_compaction_by_itself(tmp_path: Path) -> None:
    async with open_store(tmp_path / "data", auto_compaction_mode="revision", auto_compaction_retention="5") as store:
        lease = await store.alice.lease_grant(60)
        await store.alice.put(b"a/1", b"x", lease=lease.lease_id)
        assert (await store.alice.lease_time_to_live(lease.lease_id, keys=True)).keys == [b"a/1"]
        with pytest.raises(UserEmpty):
            await store.nobody.lease_grant(60)
        with pytest.raises(UserEmpty):
            await store.nobody.lease_revoke(lease.lease_id)
        await store.root.put(b"b/1", b"x", lease=lease.lease_id)
        for refused in (
            store.alice.lease_revoke(lease.lease_id),
            store.alice.lease_time_to_live(lease.lease_id, keys=True),
        ):
            with pytest.raises(PermissionDenied):
                await refused
        await store.root.lease_revoke(lease.lease_id)
        body = store.member.auth.as_root(encode_command(CompactRequest(store.member.machine.revision)))
        compacted = Asking("")
        store.member.driver.propose(body, compacted.answer)
        store.member.wake.set()
        await compacted.answered.wait()
        assert isinstance(compacted.answers[0], CompactResponse)


async def test_a_certificate_names_its_owner(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    async with (
        open_member(
            tmp_path / "data", client_url="https://127.0.0.1:0", client_tls=authority.tls("server"), **CHEAP
        ) as member,
        open_client(member.client_urls, ssl_context=tls_client(authority, "alice")) as alice,
        open_client(member.client_urls, ssl_context=tls_client(authority, "stranger")) as stranger,
        open_client(
            member.client_urls, ssl_context=tls_client(authority, "alice"), user="root", password="rootpw"
        ) as root,
    ):
        await enable(alice)
        await alice.put(b"a/1", b"x")
        for client in (alice, stranger):
            with pytest.raises(PermissionDenied):
                await client.put(b"b/1", b"x")
        with pytest.raises(UserNotFound):
            await stranger.auth.status()
        connection = await root.any_connection()
        connection.bear((await root.auth.authenticate("root", "rootpw")).token)
        await root.put(b"b/1", b"x")  # a token says more than the certificate


async def test_without_client_cert_auth_a_certificate_names_nobody(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    tls = type(authority.tls("server"))(*authority.issue("server"), str(authority.ca_file), client_cert_auth=False)
    async with (
        open_member(tmp_path / "data", client_url="https://127.0.0.1:0", client_tls=tls, **CHEAP) as member,
        open_client(member.client_urls, ssl_context=tls_client(authority, "alice")) as alice,
    ):
        await enable(alice)
        with pytest.raises(UserEmpty):
            await alice.put(b"a/1", b"x")


def jwt_setting(directory: Path, **others: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    path = directory / "jwt.key"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return ",".join(["jwt", "sign-method=ES256", f"priv-key={path}", *(f"{k}={v}" for k, v in others.items())])


async def test_signed_tokens(tmp_path: Path) -> None:
    async with open_store(tmp_path / "data", auth_token=jwt_setting(tmp_path, ttl="5m")) as store:
        await store.alice.put(b"a/1", b"x")
        assert store.alice.token.count(".") == 2
        old = store.alice.token
        await store.root.auth.user_add("bob", "pw")  # the token's revision is old now
        await store.alice.put(b"a/1", b"y")  # which the client takes care of
        async with open_client(store.member.client_urls) as other:
            (await other.any_connection()).bear(old)
            with pytest.raises(AuthOldRevision, match=r"^etcdserver: revision of auth store is old$"):
                await other.put(b"a/1", b"x")
            with pytest.raises(AuthOldRevision):
                await other.range(b"a/1")
            (await other.any_connection()).bear(old + "x")
            with pytest.raises(InvalidAuthToken, match=r"^etcdserver: invalid auth token$"):
                await other.put(b"a/1", b"x")
        await store.root.auth.user_delete("bob")
        assert (await store.root.auth.user_list()).users == ["alice", "root"]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"auth_token": "saml"}, '--auth-token: "saml" is unknown'),
        ({"auth_token": "simple,ttl=5m"}, "--auth-token"),
        ({"auth_token": "jwt"}, '--auth-token: sign-method: unknown method ""'),
        ({"auth_token": "jwt,sign-method"}, "does not have the form name=value"),
        ({"auth_token": "jwt,sign-method=ES256,sign-method=ES256"}, "is there twice"),
        ({"auth_token": "jwt,sign-method=ES256,priv-key=/nowhere"}, "--auth-token: .*No such file"),
        ({"auth_token_ttl_seconds": 0}, "--auth-token-ttl must be >0"),
        ({"bcrypt_cost": 3}, "--bcrypt-cost must be 4 to 31"),
    ],
)
async def test_settings_that_cannot_be(tmp_path: Path, setting: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        async with open_member(tmp_path / "data", **setting):
            pass
    assert not (tmp_path / "data").exists()


async def test_internal_commands_are_not_for_clients(store: Store) -> None:
    """A token's grant is no request of the protocol: the connection ends, nobody got a token."""
    tokens = store.member.auth.tokens
    assert tokens is not None
    before = len(tokens)
    async with open_client(store.member.client_urls, timeout_seconds=1) as client:
        connection = await client.any_connection()
        with pytest.raises(Exception, match=r"connection lost.*malformed request"):
            await connection.call(TokenGrantRequest("root", b"x" * 32, 7), trio.current_time() + 1)  # type: ignore[arg-type]
    assert len(tokens) == before
