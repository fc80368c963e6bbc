"""Client libraries that others wrote for etcd, as they come from PyPI: in Python over grpcio, in Rust over tonic."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from tests.bench.clusters import store_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
pyetcd = pytest.importorskip("pyetcd", reason="etcd-sdk-python is not installed")
etcd_client = pytest.importorskip("etcd_client", reason="etcd-client-py is not installed")
TIMEOUT_SECONDS = 30


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with store_cluster("kvraft", 1, ("--bcrypt-cost", "4")) as cluster:
        yield cluster.urls[0]


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)


@pytest.fixture
def etcd(url: str) -> Iterator[Any]:
    """The synchronous client."""
    with pyetcd.client(*_address(url), timeout=TIMEOUT_SECONDS) as client:
        yield client


# -------------------------------------------------------------------------------------------------- Python


def test_keys_and_transactions_in_python(etcd: Any) -> None:
    for number in range(5):
        etcd.put(f"k/{number}", str(number))
    assert etcd.get("k/1")[0] == b"1"
    assert etcd.get("none") == (None, None)
    assert [value for value, _ in etcd.get_prefix("k/", sort_order="descend")] == [b"4", b"3", b"2", b"1", b"0"]
    assert [meta.key for _, meta in etcd.get_range("k/1", "k/3")] == [b"k/1", b"k/2"]
    assert etcd.put("k/1", "x", prev_kv=True).prev_kv.value == b"1"
    assert etcd.put_if_not_exists("k/1", "y") is False
    assert etcd.replace("k/1", "x", "z") is True
    held = etcd.transactions.value("k/1") == "z"
    succeeded, answers = etcd.transaction(
        compare=[held, etcd.transactions.version("k/2") > 0],
        success=[etcd.transactions.put("k/9", "new"), etcd.transactions.get("k/9")],
        failure=[etcd.transactions.delete("k/2")],
    )
    assert succeeded
    assert [value for value, _ in answers[1]] == [b"new"]
    assert etcd.delete("k/9") is True
    assert etcd.delete_prefix("k/").deleted == 5


def test_watches_in_python(etcd: Any) -> None:
    start = etcd.put("w/0", "a").header.revision
    events, cancel = etcd.watch_prefix("w/", start_revision=start, prev_kv=True)
    others, cancel_others = etcd.watch("w/1")
    etcd.put("w/1", "b")
    etcd.delete("w/0")
    seen = [next(events) for _ in range(3)]
    assert [type(event).__name__ for event in seen] == ["PutEvent", "PutEvent", "DeleteEvent"]
    assert [event.key for event in seen] == [b"w/0", b"w/1", b"w/0"]
    assert seen[2].prev_value == b"a"
    assert next(others).value == b"b"
    cancel()
    cancel_others()
    etcd.compact(etcd.put("w/0", "c").header.revision)
    events, _ = etcd.watch("w/0", start_revision=start)
    with pytest.raises(pyetcd.exceptions.RevisionCompactedError) as caught:
        next(events)
    assert caught.value.compacted_revision > start


def test_leases_and_locks_in_python(etcd: Any) -> None:
    lease = etcd.lease(600)
    etcd.put("l/0", "a", lease=lease)
    assert (list(lease.keys), lease.granted_ttl) == ([b"l/0"], 600)
    assert lease.refresh()[0].TTL == 600
    lease.revoke()
    assert etcd.get("l/0") == (None, None)
    first, second = etcd.lock("resource", ttl=600), etcd.lock("resource", ttl=600)
    with first:
        assert first.is_acquired()
        assert second.acquire(timeout=0) is False
    assert second.acquire(timeout=TIMEOUT_SECONDS) is True
    assert second.release() is True


def test_a_cluster_in_python(etcd: Any) -> None:
    (member,) = etcd.members
    assert member.name == "m1"
    status = etcd.status()
    assert status.leader.id == member.id
    assert status.db_size > 0
    assert list(etcd.list_alarms()) == []
    etcd.defragment()
    etcd.put("s", "v")
    assert etcd.hash() == etcd.hash()
    snapshot = io.BytesIO()
    etcd.snapshot(snapshot)
    assert len(snapshot.getvalue()) > 1000


# -------------------------------------------------------------------------------------------------- Rust


async def _over_tonic(url: str) -> None:
    options = etcd_client.ConnectOptions().with_keep_alive(1.0, 10.0).with_timeout(30.0)
    async with etcd_client.Client([url], options).connect() as rust:
        ready = etcd_client.CondVar()
        watch = rust.watch_prefix(b"r/", ready_event=ready)
        events: list[tuple[str, bytes, bytes]] = []

        async def follow() -> None:
            async for event in watch:
                events.append((str(event.event), bytes(event.key), bytes(event.value)))
                if len(events) == 3:
                    return

        following = asyncio.create_task(follow())
        await ready.wait()
        await rust.put(b"r/1", b"a")
        await rust.put(b"r/2", bytes(1_000_000))
        await rust.delete(b"r/1")
        await asyncio.wait_for(following, TIMEOUT_SECONDS)
        kinds = [(kind.rpartition(".")[2], key, len(value)) for kind, key, value in events]
        assert kinds == [("PUT", b"r/1", 1), ("PUT", b"r/2", 1_000_000), ("DELETE", b"r/1", 0)]
        assert await rust.get(b"r/1") is None
        assert len(bytes(await rust.get(b"r/2"))) == 1_000_000
        equal = etcd_client.Compare.version(b"r/1", etcd_client.CompareOp.EQUAL, 0)
        txn = etcd_client.Txn().when([equal]).and_then([etcd_client.TxnOp.put(b"r/1", b"b")])
        assert (await rust.txn(txn)).succeeded()
        assert not (await rust.txn(txn)).succeeded()
        await asyncio.gather(*(rust.put(b"many/%d" % number, b"v") for number in range(200)))
        assert len(await rust.keys_prefix(b"many/")) == 200
    lock = etcd_client.EtcdLockOption(lock_name=b"lock", timeout=30.0, ttl=600)
    for _ in range(2):  # it is given back
        async with etcd_client.Client([url], options).with_lock(lock) as rust:
            assert len(await rust.keys_prefix(b"lock/")) == 1


def test_everything_in_rust(url: str) -> None:
    asyncio.run(_over_tonic(url))


def test_users_in_both(url: str, etcd: Any) -> None:
    rpc = pyetcd.etcdrpc
    etcd.authstub.UserAdd(rpc.AuthUserAddRequest(name="root", password="secret"))
    etcd.authstub.UserGrantRole(rpc.AuthUserGrantRoleRequest(user="root", role="root"))
    etcd.authstub.AuthEnable(rpc.AuthEnableRequest())

    async def in_rust() -> None:
        options = etcd_client.ConnectOptions().with_user("root", "secret")
        async with etcd_client.Client([url], options).connect() as rust:
            await rust.put(b"a", b"1")

    asyncio.run(in_rust())
    root = pyetcd.client(*_address(url), timeout=TIMEOUT_SECONDS, user="root", password="secret")
    root.call_credentials = None  # grpcio sends them over TLS only; the token is in the metadata too
    try:
        assert root.get("a")[0] == b"1"
        with pytest.raises(grpc.RpcError, match="etcdserver: user name is empty"):
            etcd.put("a", "2")
    finally:
        root.authstub.AuthDisable(rpc.AuthDisableRequest(), metadata=root.metadata)
        root.close()
