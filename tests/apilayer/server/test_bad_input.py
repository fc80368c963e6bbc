"""Bad input over HTTP: each gets a clear answer, and the server goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
PODS = "/api/v1/namespaces/default/pods"
STRICT = "?fieldValidation=Strict"
JSON = "application/json"


@pytest.fixture(autouse=True)
async def _healthy_afterwards(server) -> AsyncIterator[None]:
    yield
    async with server.connect() as client:
        answer = await client.request("POST", CONFIGMAPS, {"metadata": {"generateName": "after-"}})
        assert answer.status == 201


def nested(depth: int) -> bytes:
    return b'{"metadata":{"name":"x"},"x":' + b'{"x":' * depth + b"1" + b"}" * depth + b"}"


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        (CONFIGMAPS, b'{"metadata":{"name":"Bad_Name"}}', 422, 'ConfigMap "Bad_Name" is invalid: metadata.name: '),
        (CONFIGMAPS, b'{"metadata":{"name":"' + b"x" * 254 + b'"}}', 422, 'ConfigMap "xxx'),
        (CONFIGMAPS, b'{"metadata":{}}', 422, 'ConfigMap "" is invalid: metadata.name: Required value'),
        (CONFIGMAPS, b'{"metadata":{"name":"x","labels":{"-":"v"}}}', 422, 'ConfigMap "x" is invalid: metadata.labels'),
        (CONFIGMAPS + STRICT, b'{"metadata":{"name":"x"},"bogus":1}', 400, 'unknown field "bogus"'),
        (
            CONFIGMAPS + STRICT,
            b'{"metadata":{"name":"x"},"data":{"a":"1","a":"2"}}',
            400,
            'duplicate field "data.a"',
        ),
        (SECRETS, b'{"metadata":{"name":"x"},"data":{"a":"not base64!"}}', 400, "illegal base64 data"),
        (CONFIGMAPS, b'{"metadata":{"name":"x"},"data":{"a":1}}', 400, "cannot unmarshal number"),
        (CONFIGMAPS, b'{"kind":"Secret","metadata":{"name":"x"}}', 400, "cannot be handled as a ConfigMap"),
        (CONFIGMAPS, b'{"apiVersion":"v9","metadata":{"name":"x"}}', 400, "no kind"),
        (CONFIGMAPS, b"", 400, "unexpected end of JSON input"),
        (CONFIGMAPS, b"[]", 400, "cannot unmarshal array"),
        (CONFIGMAPS, b'"x"', 400, "cannot unmarshal string"),
        (CONFIGMAPS, b"null", 422, "name or generateName is required"),
        (CONFIGMAPS, b'{"a":', 400, "unexpected end of JSON input"),
        (CONFIGMAPS, b"\xff\xfe\x00", 400, "json parse error"),
        (CONFIGMAPS, nested(65), 400, ""),
        (CONFIGMAPS, nested(100_000), 400, ""),
        (CONFIGMAPS, b"[" * 1_000_000, 400, ""),
        (CONFIGMAPS, b'{"metadata":{"name":"x","namespace":"other"}}', 400, "the namespace of the provided object"),
        (PODS, b'{"metadata":{"name":"x"},"spec":{}}', 422, "spec.containers: Required value"),
    ],
)
async def test_bodies(client, path: str, body: bytes, code: int, message: str) -> None:
    answer = await client.request("POST", path, body, Content_Type=JSON)
    assert answer.status == code
    assert answer.json["kind"] == "Status"
    assert message in answer.message
    assert (await client.request("GET", "/livez")).status == 200


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "application/json/x", ";", "\u00e9"])
async def test_wrong_content_types(client, content_type: str) -> None:
    answer = await client.request("POST", CONFIGMAPS, {}, Content_Type=content_type)
    assert (answer.status, answer.json["reason"]) == (415, "UnsupportedMediaType")
    answer = await client.request("PATCH", f"{CONFIGMAPS}/x", {}, Content_Type=content_type)
    assert answer.status in (404, 415)


@pytest.mark.parametrize("body", [b"a: b: c", b"&a [*a]", b"- x", b"!!python/object:os.system {}", b"a: &x [1]\nb: *x"])
async def test_bad_yaml(client, body: bytes) -> None:
    answer = await client.request("POST", CONFIGMAPS, body, Content_Type="application/yaml")
    assert answer.status in (400, 422)


@pytest.mark.parametrize("body", [b"", b"\x0a\x01a", b"k8s\0\xff\xff\xff\xff\xff", b"k8s\0" + b"\x0a" * 64])
async def test_bad_protobuf(client, body: bytes) -> None:
    answer = await client.request("POST", CONFIGMAPS, body, Content_Type="application/vnd.kubernetes.protobuf")
    assert answer.status in (400, 422)


@pytest.mark.parametrize("size", [3 * 1024 * 1024 + 1, 100 * 1024 * 1024])
async def test_large_bodies_are_refused_before_they_are_read(client, size: int) -> None:
    head = client.encode("POST", CONFIGMAPS, b"", {"Content-Length": str(size)})
    await client.stream.send_all(head)
    answer = await client.answer()
    assert (answer.status, answer.json["reason"]) == (413, "RequestEntityTooLarge")
    assert answer.message == "Request entity too large: limit is 3145728"
    assert answer.headers["connection"] == "close"
    assert await client.closed()


async def test_a_large_body_without_a_length(client) -> None:
    await client.stream.send_all(client.encode("POST", CONFIGMAPS, b"", {"Transfer-Encoding": "chunked"}))
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for _ in range(49):
        await client.stream.send_all(chunk)
    assert (await client.answer()).status == 413
    assert await client.closed()


async def test_a_client_that_sends_all_of_100_megabytes_learns_why_it_failed(client) -> None:
    size = 100 * 1024 * 1024
    answers = []

    async def send() -> None:
        try:
            await client.stream.send_all(client.encode("POST", CONFIGMAPS, b"", {"Content-Length": str(size)}))
            for _ in range(size // 65536):
                await client.stream.send_all(bytes(65536))
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        answers.append(await client.answer())
        nursery.cancel_scope.cancel()
    assert answers[0].status == 413


async def test_refused_clients_are_not_read_either(server) -> None:
    async with server.connect(token="wrong") as client:
        await client.stream.send_all(client.encode("POST", CONFIGMAPS, b"", {"Content-Length": str(10**8)}))
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\r\n\r\nNONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 300_000 + b"\r\n\r\n", 431),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ],
)
async def test_malformed_http(server, raw: bytes, code: int) -> None:
    async with server.connect() as client:
        await client.stream.send_all(raw)
        answer = await client.answer()
        assert answer.status == code
        assert answer.headers["connection"] == "close"
        assert await client.closed()


async def test_malformed_chunks(client) -> None:
    body = {"Transfer-Encoding": "chunked"}
    await client.stream.send_all(client.encode("POST", CONFIGMAPS, b"zz\r\n", body))
    assert (await client.answer()).status == 400
    assert await client.closed()


async def test_plain_text_on_the_tls_port(server) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    with trio.fail_after(5):
        while await stream.receive_some(100):
            pass
    await stream.aclose()


async def test_a_handshake_that_is_broken_off(server) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    await stream.aclose()
