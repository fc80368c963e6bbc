"""HTTP/1.1 as it is spoken: keep-alive, pipelining, chunks, 100-continue, time limits, shutdown."""

from __future__ import annotations

import resource
import ssl
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from apilayer.server import h1
from apilayer.server.listener import Listener, bind
from apilayer.server.tls import ServingTls
from tests.apilayer.in_process import serving

if TYPE_CHECKING:
    from pathlib import Path

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


async def test_many_requests_on_one_connection(client) -> None:
    for _ in range(20):
        answer = await client.request("GET", "/livez")
        assert (answer.status, answer.body) == (200, b"ok")
        assert "connection" not in answer.headers


async def test_pipelined_requests_are_answered_in_order(client) -> None:
    bodies = [b'{"metadata":{"name":"p%d"}}' % index for index in range(5)]
    sent = [client.encode("POST", CONFIGMAPS, body, {}) for body in bodies]
    await client.stream.send_all(b"".join(sent) + client.encode("GET", "/livez", None, {}))
    for index in range(5):
        assert (await client.answer()).json["metadata"]["name"] == f"p{index}"
    assert (await client.answer()).body == b"ok"


async def test_a_request_that_comes_in_single_bytes(client) -> None:
    for byte in client.encode("POST", CONFIGMAPS, b'{"metadata":{"name":"slow"}}', {}):
        await client.stream.send_all(bytes([byte]))
    assert (await client.answer()).status == 201


async def test_chunked_bodies(client) -> None:
    body = b'{"metadata":{"name":"chunked"}}'
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]))
    await client.stream.send_all(
        client.encode("POST", CONFIGMAPS, chunks + b"0\r\nTrailer: x\r\n\r\n", {"Transfer-Encoding": "chunked"})
    )
    assert (await client.answer()).status == 201
    assert (await client.request("GET", "/livez")).status == 200


async def test_expect_continue(client) -> None:
    body = b'{"metadata":{"name":"waits"}}'
    head = client.encode("POST", CONFIGMAPS, b"", {"Content-Length": str(len(body)), "Expect": "100-continue"})
    await client.stream.send_all(head)
    with trio.fail_after(5):
        assert bytes(await client.stream.receive_some(100)) == b"HTTP/1.1 100 Continue\r\n\r\n"
    await client.stream.send_all(body)
    assert (await client.answer()).status == 201


async def test_expect_continue_of_a_body_that_is_refused(client) -> None:
    headers = {"Content-Length": str(10**9), "Expect": "100-continue"}
    await client.stream.send_all(client.encode("POST", CONFIGMAPS, b"", headers))
    assert (await client.answer()).status == 413


async def test_connection_close(client) -> None:
    answer = await client.request("GET", "/livez", Connection="close")
    assert answer.headers["connection"] == "close"
    assert await client.closed()


async def test_http_1_0(client) -> None:
    await client.stream.send_all(b"GET /livez HTTP/1.0\r\n\r\n")
    answer = await client.answer()
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.closed()


async def test_absolute_targets(client) -> None:
    assert (await client.request("GET", "https://test/livez")).body == b"ok"


async def test_upgrades_of_anything_but_watches_are_not_followed(client) -> None:
    answer = await client.request("GET", "/livez", Connection="Upgrade", Upgrade="websocket")
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert await client.closed()


async def test_a_client_that_leaves_in_the_middle_of_its_body(server, client) -> None:
    async with server.connect() as leaving:
        await leaving.stream.send_all(leaving.encode("POST", CONFIGMAPS, b"{", {"Content-Length": "100"}))
    assert (await client.request("GET", "/livez")).status == 200


async def test_idle_and_slow_clients_are_let_go(server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(h1, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(h1, "HEAD_SECONDS", 0.05)
    async with server.connect() as idle:
        assert await idle.closed()
    async with server.connect() as slow:
        await slow.stream.send_all(b"GET / HTTP/1.1\r\nHost:")
        assert await slow.closed()


async def test_who_comes_while_there_are_no_descriptors_waits(certificates: Path, caplog) -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    theirs = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    with bind("127.0.0.1", 0) as sock, trio.socket.socket() as waiting:
        async with serving() as server, trio.open_nursery() as nursery:
            tls = ServingTls(certificates / "server.crt", certificates / "server.key")
            listener = Listener(sock, tls, server.app)
            nursery.start_soon(listener.run)
            await trio.testing.wait_all_tasks_blocked()
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, usual[1]))  # for further ones, those that are open stay
            try:
                await waiting.connect(("127.0.0.1", listener.port))
                await trio.testing.wait_all_tasks_blocked()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, usual)
            assert "no connection can be accepted for now: Too many open files" in caplog.text
            client = trio.SSLStream(trio.SocketStream(waiting), theirs, server_hostname="127.0.0.1")
            with trio.fail_after(5):
                await client.do_handshake()
            nursery.cancel_scope.cancel()


async def test_a_body_that_never_comes(client) -> None:
    head = client.encode("POST", f"{CONFIGMAPS}?timeout=100ms", b"", {"Content-Length": "10"})
    await client.stream.send_all(head)
    answer = await client.answer()
    assert (answer.status, answer.json["reason"]) == (504, "Timeout")
    assert answer.message == ("Timeout: request did not complete within requested timeout - context deadline exceeded")
    assert await client.closed()


async def test_shutdown_lets_requests_end_and_closes_the_rest(server) -> None:
    async with server.connect() as idle, server.connect() as busy, server.connect() as watcher:
        assert (await idle.request("GET", "/readyz")).status == 200
        body = b'{"metadata":{"name":"last"}}'
        await busy.stream.send_all(busy.encode("POST", CONFIGMAPS, b"", {"Content-Length": str(len(body))}))
        watching = await watcher.watch(f"{CONFIGMAPS}?watch=1")
        server.stop.set()
        assert await idle.closed()
        assert await watching.event() is None
        await busy.stream.send_all(body)
        answer = await busy.answer()
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert await busy.closed()
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", server.port)


async def test_readiness_ends_before_the_server_does(start_server) -> None:
    async with start_server(shutdown_delay_duration=30.0) as server, server.connect() as client:
        assert (await client.request("GET", "/readyz")).body == b"ok"
        server.stop.set()
        with trio.fail_after(5):
            while (answer := await client.request("GET", "/readyz")).status == 200:
                await trio.lowlevel.checkpoint()
        assert answer.status == 500
        assert b"[-]shutdown failed: reason withheld" in answer.body
        assert (await client.request("GET", "/livez")).status == 200
