"""Which listener serves what: operators' paths, the JSON gateway, gRPC and the native protocol; plain and over TLS."""

from __future__ import annotations

import http.client
import ssl
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import grpc
import pytest
import trio

from kvraft.client import open_client
from kvraft.errors import KvraftError
from kvraft.server.config import TlsConfig
from kvraft.wire.etcd import rpc_pb2
from tests.kvraft.certificates import Authority
from tests.kvraft.members import open_members
from tests.ports import free_ports

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = ("/health", "/livez", "/readyz", "/readyz/linearizable_read", "/version", "/metrics")
RANGE = b'{"key": "AA==", "range_end": "AA=="}'


def _ask(
    method: str, url: str, path: str, body: bytes | None = None, context: ssl.SSLContext | None = None
) -> tuple[int, str, bytes]:
    """Status (0 when there is no answer), content type and body."""
    host = urlsplit(url).netloc
    connection = (
        http.client.HTTPSConnection(host, timeout=30, context=context)
        if url.startswith("https")
        else http.client.HTTPConnection(host, timeout=30)
    )
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read()
    except (http.client.HTTPException, OSError):
        return 0, "", b""
    finally:
        connection.close()


async def _status(method: str, url: str, path: str, body: bytes | None = None) -> int:
    return (await trio.to_thread.run_sync(_ask, method, url, path, body))[0]


def _grpc_put(url: str) -> int:
    with grpc.insecure_channel(urlsplit(url).netloc) as channel:
        put = channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=rpc_pb2.PutRequest.SerializeToString,
            response_deserializer=rpc_pb2.PutResponse.FromString,
        )
        return int(put(rpc_pb2.PutRequest(key=b"k", value=b"v"), timeout=10).header.revision)


def _loopback() -> str:
    return f"http://127.0.0.1:{free_ports(1)[0]}"


async def test_the_client_url_has_everything_and_the_metrics_url_what_operators_need(tmp_path: Path) -> None:
    metrics_url = _loopback()
    async with open_members(tmp_path, 1, listen_metrics_urls=(metrics_url,)) as members:
        (client_url,) = members.urls
        for url in (client_url, metrics_url):
            for path in ROUTES:
                status, content_type, body = await trio.to_thread.run_sync(_ask, "GET", url, path)
                assert (status, bool(body)) == (200, True), (url, path)
                assert content_type.startswith("application/json" if path == "/version" else "text/plain")
            assert await _status("POST", url, "/health") == 405
            assert await _status("GET", url, "/nosuch") == 404
            assert (await trio.to_thread.run_sync(_ask, "HEAD", url, "/health"))[2] == b""
        assert await _status("POST", client_url, "/v3/kv/range", RANGE) == 200
        assert await _status("POST", metrics_url, "/v3/kv/range", RANGE) == 404
        assert await trio.to_thread.run_sync(_grpc_put, client_url) == 2
        with pytest.raises(grpc.RpcError):
            await trio.to_thread.run_sync(_grpc_put, metrics_url)
        async with open_client([metrics_url], timeout_seconds=0.3) as client:
            with pytest.raises(KvraftError):
                await client.put(b"k", b"v")
        _, content_type, body = await trio.to_thread.run_sync(_ask, "GET", metrics_url, "/metrics")
        assert content_type == "text/plain; version=0.0.4; charset=utf-8"
        text = body.decode()
        names = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"'
        assert f"grpc_server_started_total{{{names}}} 1.0" in text
        assert f'grpc_server_handled_total{{grpc_code="OK",{names}}} 1.0' in text


async def test_http_moves_out_where_it_has_a_url_of_its_own(tmp_path: Path) -> None:
    http_url = _loopback()
    async with open_members(tmp_path, 1, listen_client_http_urls=(http_url,)) as members:
        (client_url,) = members.urls
        assert await _status("GET", http_url, "/health") == 200
        assert await _status("POST", http_url, "/v3/kv/range", RANGE) == 200
        assert await _status("GET", client_url, "/health") == 0
        assert await trio.to_thread.run_sync(_grpc_put, client_url) == 2
        with pytest.raises(grpc.RpcError):
            await trio.to_thread.run_sync(_grpc_put, http_url)
        async with open_client(members.urls) as client:
            await client.put(b"k", b"v")
        async with open_client([http_url], timeout_seconds=0.3) as client:
            with pytest.raises(KvraftError):
                await client.put(b"k", b"v")


async def test_the_gateway_can_be_turned_off(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1, enable_grpc_gateway=False) as members:
        (url,) = members.urls
        assert await _status("POST", url, "/v3/kv/range", RANGE) == 404
        assert await _status("GET", url, "/health") == 200


async def test_metrics_over_tls_use_the_clients_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    url = _loopback().replace("http", "https")
    tls = TlsConfig(*authority.issue("member"))
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    async with open_members(tmp_path, 1, client_tls=tls, listen_metrics_urls=(url,)):
        ask = partial(_ask, context=context)
        assert (await trio.to_thread.run_sync(ask, "GET", url, "/health"))[0] == 200
        assert await _status("GET", url.replace("https", "http"), "/health") == 0


async def test_operators_come_in_when_there_is_no_room_for_clients(tmp_path: Path) -> None:
    metrics_url = _loopback()
    async with (
        open_members(tmp_path, 1, listen_metrics_urls=(metrics_url,), max_connections=1) as members,
        open_client(members.urls) as client,
    ):
        await client.put(b"k", b"v")
        assert await _status("GET", metrics_url, "/readyz") == 200
