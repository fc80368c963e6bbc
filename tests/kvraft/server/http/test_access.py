"""Browsers: whose pages may read answers (``--cors``), and by which names members are called (``--host-whitelist``)."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio

from kvraft.embed import open_member
from kvraft.server.config import TlsConfig
from tests.kvraft.certificates import Authority
from tests.ports import free_ports

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = "http://app.example:8080"


async def _get(
    url: str, path: str = "/version", context: ssl.SSLContext | None = None, **headers: str
) -> tuple[int, str, str]:
    """Status, allowed origin and body."""

    def ask() -> tuple[int, str, str]:
        address = urlsplit(url).netloc
        connection = (
            http.client.HTTPSConnection(address, context=context) if context else http.client.HTTPConnection(address)
        )
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Access-Control-Allow-Origin", ""), answer.read().decode()
        finally:
            connection.close()

    return await trio.to_thread.run_sync(ask)


async def _curl(url: str, *flags: str) -> str:
    command = ["curl", "-s", "-i", "--max-time", "30", *flags, f"{url}/version"]
    return (await trio.run_process(command, capture_stdout=True)).stdout.decode().lower()


@pytest.mark.parametrize(
    ("cors", "origin", "told"),
    [
        (("*",), ORIGIN, "*"),
        ((), "", "*"),
        ((ORIGIN,), ORIGIN, ORIGIN),
        ((ORIGIN, "https://other"), "https://other", "https://other"),
        ((ORIGIN,), "http://evil.example", ""),
        ((ORIGIN,), "", ""),
    ],
)
async def test_pages_of_allowed_origins_may_read(tmp_path: Path, cors: tuple[str, ...], origin: str, told: str) -> None:
    async with open_member(tmp_path / "data", cors=cors) as member:
        headers = {"Origin": origin} if origin else {}
        status, allowed, _ = await _get(member.client_urls[0], **headers)
        assert (status, allowed) == (200, told)
        answer = await _curl(member.client_urls[0], "--http2-prior-knowledge", "-H", f"Origin: {origin}")
        assert (f"access-control-allow-origin: {told}\r" in answer) == bool(told)
        assert ("access-control-allow" in answer) == bool(told)


async def test_a_member_is_called_by_its_names_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    metrics_url = f"http://127.0.0.1:{free_ports(1)[0]}"
    async with open_member(
        tmp_path / "data", host_whitelist=("127.0.0.1", "store", "::1"), listen_metrics_urls=(metrics_url,)
    ) as member:
        (url,) = member.client_urls
        for host in ("127.0.0.1:1", "store", "store:2379", "[::1]:2379"):
            assert (await _get(url, Host=host))[0] == 200
        status, origin, body = await _get(url, Host="evil.example:2379")
        assert (status, origin) == (421, "")
        assert '- e.g. etcd --host-whitelist "evil.example"' in body
        assert (await _get(metrics_url, Host="anybody"))[0] == 200  # as in etcd: those are for operators
        known = await _curl(url, "--http2-prior-knowledge")
        assert known.startswith("http/2 200")
        unknown = await _curl(url, "--http2-prior-knowledge", "-H", "Host: evil.example")
        assert unknown.startswith("http/2 421")
    assert "rejecting HTTP request to prevent DNS rebinding attacks" in caplog.messages


async def test_over_tls_the_certificate_names_the_member(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    tls = TlsConfig(*authority.issue("member"))
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    async with open_member(
        tmp_path / "data", client_url="https://127.0.0.1:0", client_tls=tls, host_whitelist=("store",)
    ) as member:
        assert (await _get(member.client_urls[0], "/version", context, Host="evil.example"))[0] == 200
