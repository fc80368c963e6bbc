"""grpcio with its own clients for health and reflection, and what it does by itself: deadlines, cancels, pings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trio
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from kvraft.embed import open_member
from kvraft.wire.http2.flood import PingPolicy
from tests.kvraft.members import Members, until
from tests.kvraft.server.etcd.stubs import Stubs, in_thread, refused

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow
health = pytest.importorskip("grpc_health.v1.health_pb2", reason="grpcio-health-checking is not installed")
reflection = pytest.importorskip(
    "grpc_reflection.v1alpha.proto_reflection_descriptor_database", reason="grpcio-reflection is not installed"
)


async def test_its_health_client(tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2_grpc

    def converse(stubs: Stubs) -> None:
        stub = health_pb2_grpc.HealthStub(stubs.channel)
        assert stub.Check(health.HealthCheckRequest()).status == health.HealthCheckResponse.SERVING
        watch = stub.Watch(health.HealthCheckRequest())
        assert next(watch).status == health.HealthCheckResponse.SERVING
        watch.cancel()

    async with open_member(tmp_path) as member:
        await in_thread(member.client_urls[0], converse)


async def test_calls_made_of_nothing_but_reflection(tmp_path: Path) -> None:
    """As grpcurl does: without any description of the interface but the server's own."""

    def converse(stubs: Stubs) -> None:
        database = reflection.ProtoReflectionDescriptorDatabase(stubs.channel)
        names = database.get_services()
        assert {"etcdserverpb.KV", "etcdserverpb.Watch", "v3lockpb.Lock", "grpc.health.v1.Health"} <= set(names)
        pool = DescriptorPool(database)
        for name in names:
            assert pool.FindServiceByName(name).methods

        def call(method: str, **fields: Any) -> Any:
            described = pool.FindServiceByName("etcdserverpb.KV").methods_by_name[method]
            request, answer = (GetMessageClass(kind) for kind in (described.input_type, described.output_type))
            send = stubs.channel.unary_unary(
                f"/etcdserverpb.KV/{method}",
                request_serializer=request.SerializeToString,
                response_deserializer=answer.FromString,
            )
            return send(request(**fields))

        assert call("Put", key=b"a", value=b"1").header.revision == 2
        assert call("Range", key=b"a").kvs[0].value == b"1"

    async with open_member(tmp_path) as member:
        await in_thread(member.client_urls[0], converse)


async def test_deadlines_and_cancels_where_nothing_can_be_answered(tmp_path: Path) -> None:
    """One of three members, alone: a write waits until the client has had enough."""

    def converse(stubs: Stubs) -> None:
        with refused("DEADLINE_EXCEEDED", "Deadline Exceeded"):
            stubs.call("KV/Put", timeout=0.1, key=b"a")
        method, request = stubs._method("KV/Put")
        call = method.future(request(key=b"a"), timeout=30)
        call.cancel()
        assert call.code() == grpc.StatusCode.CANCELLED
        assert stubs.call("KV/Range", key=b"a", serializable=True).count == 0, "the connection is as good as before"

    async with trio.open_nursery() as nursery:
        members = Members(tmp_path, ["m1", "m2", "m3"], nursery)
        for name in members.client_urls:
            members.start(name)
        left = await members.leader()
        for name in list(members.running):
            if name != left:
                await members.crash(name)
        await in_thread(members.client_urls[left], converse)
        await members.stop(left)


async def test_keepalive_pings_keep_a_quiet_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """grpcio pings once a second at most; two of them go by before the watch has anything to say."""
    pings: list[bool] = []
    allow = PingPolicy.allow

    def count(policy: PingPolicy, *, idle: bool) -> bool:
        pings.append(idle)
        return allow(policy, idle=idle)

    monkeypatch.setattr(PingPolicy, "allow", count)
    options = {
        "grpc.keepalive_time_ms": 100,
        "grpc.keepalive_timeout_ms": 20_000,
        "grpc.http2.max_pings_without_data": 0,
    }
    async with open_member(tmp_path) as member:
        url = member.client_urls[0]

        def follow(stubs: Stubs) -> tuple[bytes, ...]:
            watch = stubs.open("Watch/Watch")
            assert watch.ask(create_request={"key": b"a"}).created
            keys = tuple(event.kv.key for event in watch.receive().events)
            watch.cancel()
            return keys

        async def put() -> None:
            await until(lambda: member.machine.watch.statistics()["synced"] == 1)
            before = len(pings)
            await until(lambda: len(pings) >= before + 2)
            assert not any(pings), "a stream is open all the time"
            await in_thread(url, lambda stubs: stubs.call("KV/Put", key=b"a"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put)
            assert await in_thread(url, follow, **options) == (b"a",)
