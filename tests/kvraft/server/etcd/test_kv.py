"""etcd's KV, Maintenance, health and reflection services, asked by grpcio."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import trio
from google.protobuf import descriptor_pb2

from kvraft.embed import open_member
from kvraft.wire.etcd import health_pb2, rpc_pb2
from tests.kvraft.server.etcd.stubs import METHODS, Stubs, in_thread, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data") as member:
        yield member


async def test_keys(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        put = stubs.call("KV/Put", key=b"a", value=b"1")
        assert put.header.cluster_id == member.config.cluster_id
        assert put.header.member_id == member.member_id
        assert (put.header.revision, put.header.raft_term) == (2, 2)
        again = stubs.call("KV/Put", key=b"a", value=b"2", prev_kv=True)
        assert (again.prev_kv.value, again.prev_kv.version) == (b"1", 1)
        stubs.call("KV/Put", key=b"b", value=b"3")
        found = stubs.call("KV/Range", key=b"a", range_end=b"c", limit=1)
        assert [(kv.key, kv.value) for kv in found.kvs] == [(b"a", b"2")]
        assert (found.count, found.more, found.header.revision) == (2, True, 4)
        assert stubs.call("KV/Range", key=b"a", serializable=True).kvs[0].mod_revision == 3
        txn = stubs.call(
            "KV/Txn",
            compare=[{"key": b"a", "target": "MOD", "mod_revision": 3}],
            success=[{"request_put": {"key": b"c", "value": b"4"}}, {"request_range": {"key": b"c"}}],
        )
        assert (txn.succeeded, txn.header.revision) == (True, 5)
        assert txn.responses[0].response_put.header.revision == 5
        assert txn.responses[1].response_range.kvs[0].value == b"4"
        gone = stubs.call("KV/DeleteRange", key=b"a", range_end=b"c", prev_kv=True)
        assert (gone.deleted, [kv.key for kv in gone.prev_kvs]) == (2, [b"a", b"b"])
        assert stubs.call("KV/Compact", revision=5).header.revision == 6
        with refused("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"):
            stubs.call("KV/Range", key=b"a", revision=2)

    await in_thread(member.client_urls[0], converse)


async def test_errors_are_etcd_s_to_the_letter(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        with refused("INVALID_ARGUMENT", "etcdserver: key is not provided"):
            stubs.call("KV/Put", value=b"1")
        with refused("INVALID_ARGUMENT", "etcdserver: key not found"):
            stubs.call("KV/Txn", success=[{}])
        with refused("OUT_OF_RANGE", "etcdserver: mvcc: required revision is a future revision"):
            stubs.call("KV/Range", key=b"a", revision=99)
        with refused("INVALID_ARGUMENT", "etcdserver: request is too large"):
            stubs.call("KV/Put", key=b"a", value=bytes(1_600_000))
        limit = 1_572_864 + 512 * 1024
        size = rpc_pb2.PutRequest(key=b"a", value=bytes(limit)).ByteSize()
        with refused("RESOURCE_EXHAUSTED", f"grpc: received message larger than max ({size} vs. {limit})"):
            stubs.call("KV/Put", key=b"a", value=bytes(limit))
        for path, text in (
            ("/etcdserverpb.KV/Nothing", "unknown method Nothing for service etcdserverpb.KV"),
            ("/nobody.Knows/This", "unknown service nobody.Knows"),
            ("/nothing", 'malformed method name: "/nothing"'),
        ):
            with refused("UNIMPLEMENTED", text):
                stubs.channel.unary_unary(path)(b"", timeout=30)
        with pytest.raises(grpc.RpcError, match="error unmarshalling request"):
            stubs.channel.unary_unary("/etcdserverpb.KV/Put")(b"\xff\xff", timeout=30)
        assert stubs.call("KV/Put", key=b"still", value=b"well").header.revision == 2

    await in_thread(member.client_urls[0], converse)


async def test_compressed_requests_are_read(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        value = b"again and again " * 10_000
        stubs.call("KV/Put", key=b"a", value=value, compression=grpc.Compression.Gzip)
        assert stubs.call("KV/Range", key=b"a").kvs[0].value == value

    await in_thread(member.client_urls[0], converse)


async def test_large_values_pass_flow_control_both_ways(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        value = bytes(range(256)) * 6000
        for number in range(5):
            stubs.call("KV/Put", key=b"%d" % number, value=value)
        found = stubs.call("KV/Range", key=b"\0", range_end=b"\0")
        assert [kv.value for kv in found.kvs] == [value] * 5

    await in_thread(member.client_urls[0], converse)


async def test_status(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        stubs.call("KV/Put", key=b"a")
        status = stubs.call("Maintenance/Status")
        assert status.leader == status.header.member_id == member.member_id
        assert status.raftTerm == status.header.raft_term == 2
        assert status.dbSize > 0
        assert status.raftIndex == status.raftAppliedIndex > 0

    await in_thread(member.client_urls[0], converse)


async def test_a_snapshot_is_whole_and_can_be_taken_in(member: Member) -> None:
    def converse(stubs: Stubs) -> tuple[bytes, list[int]]:
        for number in range(20):
            stubs.call("KV/Put", key=b"k%d" % number, value=bytes(100_000))
        parts = list(stubs.call("Maintenance/Snapshot"))
        return b"".join(part.blob for part in parts), [part.remaining_bytes for part in parts]

    member.machine.commit()
    blob, remaining = await in_thread(member.client_urls[0], converse)
    assert len(blob) % 512 == 32  # by which etcdctl knows that the checksum is there
    assert hashlib.sha256(blob[:-32]).digest() == blob[-32:]
    assert remaining[0] > 0
    assert remaining[-1] == 0
    assert remaining == sorted(remaining, reverse=True)
    end = 0
    while length := int.from_bytes(blob[end : end + 4]):  # frames; zeros are what the padding is made of
        end += 4 + length
    assert blob[end:-32] == bytes(-end % 512)
    writer = member.machine.incoming()
    try:
        writer.write(blob[:end])
        assert writer.finish().index > 0
    finally:
        writer.abort()


async def test_health(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        assert stubs.call("grpc.health.v1.Health/Check").status == health_pb2.HealthCheckResponse.SERVING
        with refused("NOT_FOUND", "unknown service"):
            stubs.call("grpc.health.v1.Health/Check", service="nothing")
        watch = stubs.call("grpc.health.v1.Health/Watch")
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        unknown = stubs.call("grpc.health.v1.Health/Watch", service="nothing")
        assert next(unknown).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        unknown.cancel()

    await in_thread(member.client_urls[0], converse)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_tells_everything_there_is(member: Member, version: str) -> None:
    def converse(stubs: Stubs) -> None:
        stream = stubs.open(f"grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
        listed = {service.name for service in stream.ask(list_services="").list_services_response.service}
        assert listed == {path[1:].rpartition("/")[0] for path in member.etcd.methods}
        assert {"etcdserverpb.KV", "grpc.health.v1.Health"} <= listed <= {name.partition("/")[0] for name in METHODS}
        found = stream.ask(file_containing_symbol="etcdserverpb.KV").file_descriptor_response.file_descriptor_proto
        files = [descriptor_pb2.FileDescriptorProto.FromString(file) for file in found]
        assert [file.package for file in files] == ["etcdserverpb", "authpb", "mvccpb"]
        by_name = stream.ask(file_by_filename=files[2].name).file_descriptor_response.file_descriptor_proto
        assert list(by_name) == [found[2]]
        assert stream.ask(file_by_filename="nothing").error_response.error_code == 5
        assert stream.ask(all_extension_numbers_of_type="x").all_extension_numbers_response.base_type_name == "x"
        none: dict[str, Any] = {"containing_type": "x", "extension_number": 1}
        assert stream.ask(file_containing_extension=none).error_response.error_code == 5
        assert stream.ask().error_response.error_code == 12
        stream.half_close()
        assert list(stream.call) == []

    await in_thread(member.client_urls[0], converse)


async def test_every_call_is_served(member: Member) -> None:
    """What the service does not know is told as such; nothing pretends."""
    assert {path[1:] for path in member.etcd.methods} == set(METHODS)
    waits = "v3electionpb.Election/Campaign"  # for the lock, which has the same name: none

    def converse(stubs: Stubs) -> dict[str, str]:
        told = {}
        for name, (*_, kind) in METHODS.items():
            if kind == "unary_unary" and name != waits:
                try:
                    stubs.call(name)
                except grpc.RpcError as error:
                    if error.code() is grpc.StatusCode.UNIMPLEMENTED:  # type: ignore[attr-defined]
                        told[name] = error.details()  # type: ignore[attr-defined]
        return told

    assert await in_thread(member.client_urls[0], converse) == {}


async def test_there_is_no_version_to_go_back_to(member: Member) -> None:
    def converse(stubs: Stubs) -> None:
        for action in (0, 1):
            for version in ("", "3", "v3.5.0", "3.5.x", "3.5.0 ", "3.5\n"):
                with refused("INVALID_ARGUMENT", "etcdserver: wrong downgrade target version format"):
                    stubs.call("Maintenance/Downgrade", action=action, version=version)
            for version in ("3.5", "3.6", "3.5.0", "3.5.0-rc.1+x"):
                with refused("INVALID_ARGUMENT", "etcdserver: invalid downgrade target version"):
                    stubs.call("Maintenance/Downgrade", action=action, version=version)
        with refused("FAILED_PRECONDITION", "etcdserver: no inflight downgrade job"):
            stubs.call("Maintenance/Downgrade", action=2)
        with refused("UNKNOWN", "etcdserver: unknown method"):
            stubs.call("Maintenance/Downgrade", action=9)

    await in_thread(member.client_urls[0], converse)


async def test_a_hundred_calls_at_once_on_one_connection(member: Member) -> None:
    async with trio.open_nursery() as nursery:

        def converse(stubs: Stubs) -> None:
            method, request = stubs._method("KV/Put")
            calls = [method.future(request(key=b"%d" % number, value=b"v"), timeout=30) for number in range(100)]
            revisions = sorted(call.result().header.revision for call in calls)
            assert revisions == list(range(revisions[0], revisions[0] + 100))

        nursery.start_soon(in_thread, member.client_urls[0], converse)
