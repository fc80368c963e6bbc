"""The JSON gateway and plain routes over HTTP/1.1 and HTTP/2, asked by curl and by hand."""

from __future__ import annotations

import base64
import json
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from kvraft.channel import dial
from kvraft.embed import open_member
from kvraft.server.http import gateway, h1
from kvraft.version import ETCD_VERSION
from tests.kvraft.certificates import Authority
from tests.kvraft.members import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data") as member:
        yield member


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def _curl(member: Member, path: str, body: Any = None, *flags: str) -> tuple[int, Any]:
    """The status and the body, as JSON if it is."""
    command = ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *flags, member.client_urls[0] + path]
    if body is not None:
        command += ["-X", "POST", "-d", "@-"]
    sent = body if isinstance(body, str) else json.dumps(body)
    run = partial(subprocess.run, command, input=sent, capture_output=True, text=True, check=True)
    done = await trio.to_thread.run_sync(run)
    text, _, code = done.stdout.rpartition("\n")
    try:
        return int(code), json.loads(text)
    except ValueError:
        return int(code), text


async def test_keys(member: Member) -> None:
    header = {
        "cluster_id": str(member.config.cluster_id),
        "member_id": str(member.member_id),
        "revision": "2",
        "raft_term": "2",
    }
    assert await _curl(member, "/v3/kv/put", {"key": b64("foo"), "value": b64("bar")}) == (200, {"header": header})
    kv = {"key": b64("foo"), "value": b64("bar"), "create_revision": "2", "mod_revision": "2", "version": "1"}
    for flags in ([], ["--http2-prior-knowledge"]):
        assert await _curl(member, "/v3/kv/range", {"key": b64("foo"), "unknown": 1}, *flags) == (
            200,
            {"header": header, "kvs": [kv], "count": "1"},
        )
    status, txn = await _curl(
        member,
        "/v3/kv/txn",
        {
            "compare": [{"target": "VERSION", "key": b64("foo"), "version": "1"}],
            "success": [{"request_range": {"key": b64("foo")}}, {"requestPut": {"key": b64("a")}}],
        },
    )
    assert (status, txn["succeeded"]) == (200, True)
    assert txn["responses"] == [
        {"response_range": {"header": {"revision": txn["responses"][0]["response_range"]["header"]["revision"]},
                            "kvs": [kv], "count": "1"}},
        {"response_put": {"header": {"revision": "3"}}},
    ]  # fmt: skip
    status, gone = await _curl(member, "/v3/kv/deleterange", {"key": b64("a"), "range_end": b64("b")})
    assert (status, gone["deleted"]) == (200, "1")
    assert (await _curl(member, "/v3/kv/compaction", {"revision": "3"}))[0] == 200
    status, found = await _curl(member, "/v3/maintenance/status", {})
    assert (status, found["leader"]) == (200, str(member.member_id))


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "text"),
    [
        ("kv/range", {}, 400, 3, "etcdserver: key is not provided"),
        ("kv/range", "", 400, 3, "etcdserver: key is not provided"),
        (
            "kv/range",
            {"key": "YQ==", "revision": 99},
            400,
            11,
            "etcdserver: mvcc: required revision is a future revision",
        ),
        ("maintenance/downgrade", {"version": "3.5.0"}, 400, 3, "etcdserver: invalid downgrade target version"),
        ("maintenance/downgrade", {"action": "CANCEL"}, 412, 9, "etcdserver: no inflight downgrade job"),
        ("kv/put", {"key": "YQ==!!"}, 400, 3, 'invalid value for bytes field key: "YQ==!!"'),
        ("kv/range", '{"key":', 400, 3, "unexpected EOF"),
        ("kv/range", "{nonsense}", 400, 3, "unexpected character"),
        ("kv/range", "[]", 400, 3, "json: cannot unmarshal"),
        ("kv/range", {"key": 7}, 400, 3, "key"),
        ("kv/range", {"limit": "many"}, 400, 3, "limit"),
        ("kv/txn", {"success": [{}]}, 400, 3, "etcdserver: key not found"),
        ("kv/txn", '{"success":[{"request_txn":' * 100 + "{}" + "}]}" * 100, 400, 3, "too deep"),
        ("watch", '{"create_request":', 500, 2, "unexpected EOF"),
        ("watch", '{"create_request":7}', 400, 3, "create_request"),
        ("watch", '{"create_request":"' + "x" * 300_000, 429, 8, "received message larger than max"),
    ],
)
async def test_errors(member: Member, path: str, body: Any, status: int, code: int, text: str) -> None:
    got, answer = await _curl(member, f"/v3/{path}", body)
    assert (got, answer["code"]) == (status, code)
    assert text in answer["error"]
    assert answer["message"] == answer["error"]


async def test_paths_and_methods(member: Member) -> None:
    assert await _curl(member, "/v3/kv/range") == (405, "Method Not Allowed\n")
    assert await _curl(member, "/v3/kv/nothing", {}) == (404, "Not Found\n")
    assert (await _curl(member, "/v3beta/kv/range", {"key": b64("k")}))[0] == 200
    assert await _curl(member, "/nothing") == (404, "404 page not found\n")
    assert (await _curl(member, "/version"))[1]["etcdserver"] == ETCD_VERSION
    assert (await _curl(member, "/version?x=y", None, "--http2-prior-knowledge"))[1]["etcdserver"] == ETCD_VERSION
    assert await _curl(member, "/version", {}) == (405, "Method Not Allowed\n")
    for flags in ([], ["--http2-prior-knowledge"]):
        assert (await _curl(member, "/version", None, "--head", *flags))[0] == 200
        status, headers = await _curl(member, "/v3/kv/range", None, "-i", "-X", "OPTIONS", *flags)
        assert status == 200
        assert "access-control-allow-origin: *" in headers.lower()


def test_every_unary_method_of_etcd_has_its_path() -> None:
    from kvraft.wire.etcd.methods import TRANSLATIONS

    unary = {f"/{service}/{name}" for service, rows in TRANSLATIONS.items() for name in rows}
    streams = {
        "/etcdserverpb.Watch/Watch",
        "/etcdserverpb.Lease/LeaseKeepAlive",
        "/etcdserverpb.Maintenance/Snapshot",
    }
    assert unary | streams <= set(gateway.PATHS.values())


@pytest.mark.parametrize("flags", [[], ["--http2-prior-knowledge"], ["--http1.0"]])
async def test_a_watch_is_a_stream_of_objects(member: Member, flags: list[str]) -> None:
    await _curl(member, "/v3/kv/put", {"key": b64("a"), "value": b64("1")})
    body = {"create_request": {"key": b64("a"), "start_revision": "2"}}
    command = ["curl", "-sSN", *flags, member.client_urls[0] + "/v3/watch", "-d", json.dumps(body)]
    process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = b""
    with trio.fail_after(30):
        while lines.count(b"\n") < 2:
            lines += await process.stdout.receive_some()
    created, event = map(json.loads, lines.splitlines())
    assert created["result"]["created"] is True
    kv = {"key": b64("a"), "value": b64("1"), "create_revision": "2", "mod_revision": "2", "version": "1"}
    assert event["result"]["events"] == [{"kv": kv}]
    await _curl(member, "/v3/kv/deleterange", {"key": b64("a")})
    with trio.fail_after(30):
        while lines.count(b"\n") < 3:
            lines += await process.stdout.receive_some()
    assert json.loads(lines.splitlines()[2])["result"]["events"] == [
        {"type": "DELETE", "kv": {"key": b64("a"), "mod_revision": "3"}}
    ]
    process.terminate()
    await process.wait()
    await until(lambda: sum(member.machine.watch.statistics().values()) == 0)


async def test_several_requests_on_one_watch(member: Member) -> None:
    body = "".join(json.dumps({"create_request": {"key": b64(key)}}) for key in "abc")
    channel = await dial(member.client_urls[0], None)
    head = "POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    await channel.send(head.encode() + b"%x\r\n" % 30 + body[:30].encode() + b"\r\n")
    await channel.send(b"%x\r\n" % (len(body) - 30) + body[30:].encode() + b"\r\n")
    got = b""
    while got.count(b'"created":true') < 3:
        got += await channel.receive()
    channel.close()


async def test_tls_by_whatever_version_is_agreed_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    cert, key = authority.issue("client")
    flags = ["--cacert", str(authority.ca_file), "--cert", cert, "--key", key]
    async with open_member(
        tmp_path / "data", client_url="https://127.0.0.1:0", client_tls=authority.tls("member")
    ) as member:
        for version, spoken in (("--http2", "2"), ("--http1.1", "1.1")):
            status, found = await _curl(
                member, "/v3/kv/put", {"key": b64("a")}, *flags, version, "-w", "%{http_version}\n%{http_code}"
            )
            assert status == 200
            assert found.endswith("}" + spoken)


async def _say(member: Member, sent: bytes) -> bytes:
    """Everything that is answered until the connection ends."""
    channel = await dial(member.client_urls[0], None)
    await channel.send(sent)
    got = b""
    with trio.fail_after(30):
        while data := await channel.receive():
            got += data
    channel.close()
    return got


GET = b"GET /version HTTP/1.1\r\nHost: x\r\n"


async def test_requests_sent_ahead_are_answered_in_order(member: Member) -> None:
    put = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n\r\n" + b'{"key":"YQ=="}'
    got = await _say(member, put + GET + b"\r\n" + put * 2 + GET + b"Connection: close\r\n\r\n" + GET + b"\r\n")
    heads = got.count(b"HTTP/1.1 200 OK")
    assert heads == 5
    assert got.index(b'"revision":"2"') < got.index(b"etcdserver") < got.index(b'"revision":"3"')
    assert b"Connection: close" in got[got.rindex(b"HTTP/1.1") :]


async def test_one_zero_closes_unless_asked_not_to(member: Member) -> None:
    got = await _say(member, b"GET /version HTTP/1.0\r\n\r\n")
    assert b"Connection: close" in got


async def test_a_body_that_is_announced_is_asked_for(member: Member) -> None:
    head = b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\nExpect: 100-continue\r\n"
    head += b"Connection: close\r\n\r\n"
    got = await _say(member, head + b'{"key":"YQ=="}')
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /version HTTP/1.1\r\n\r\n", 400),
        (b"GET /version HTTP/2.5\r\nHost: x\r\n\r\n", 400),
        (b"GET /version HTTP/0.9\r\nHost: x\r\n\r\n", 505),
        (b"GET /version\r\n\r\n", 505),
        (GET + b"A: " + b"x" * 70_000, 431),
        (GET + b"A: x\r\n" * 10 + b"".join(b"a%d: x\r\n" % number for number in range(200)), 431),
        (GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
        (b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 0),
        (b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n" + GET * 3, 0),
    ],
)
async def test_bad_requests(member: Member, sent: bytes, status: int) -> None:
    got = await _say(member, sent)
    assert got.startswith(b"HTTP/1.1 %d " % status if status else b"")
    assert (await _curl(member, "/version"))[0] == 200


async def test_what_is_sent_ahead_is_bounded(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    assert await _say(member, watch + (GET + b"\r\n") * (h1.MAX_PIPELINED + 1)) == b""
    monkeypatch.setattr(h1, "MAX_PIPELINED_BYTES", 10)
    assert await _say(member, watch + b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n" + bytes(20)) == b""


async def test_a_body_over_the_limit(member: Member) -> None:
    body = b'{"value":"' + b"x" * 5_000_000
    got = await _say(
        member,
        b"POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
    )
    assert got.startswith(b"HTTP/1.1 429 ")
    assert b"received message larger than max" in got
