"""gRPC over TLS, by ALPN as strict clients demand; who the caller is reaches the service."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from kvraft.auth.identity import Credentials
from kvraft.channel import dial
from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.types import PutRequest
from tests.kvraft.certificates import Authority
from tests.kvraft.server.etcd.stubs import Stubs, in_thread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kvraft.server.member import Member


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
async def member(tmp_path: Path, authority: Authority) -> AsyncIterator[Member]:
    async with open_member(
        tmp_path / "data", client_url="https://127.0.0.1:0", client_tls=authority.tls("member")
    ) as member:
        yield member


def _read(files: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(Path(file).read_bytes() for file in files)


async def test_grpc_and_the_native_protocol_share_a_port(member: Member, authority: Authority) -> None:
    cert, key = _read(authority.issue("somebody"))
    credentials = grpc.ssl_channel_credentials(authority.ca_file.read_bytes(), key, cert)
    seen: list[Credentials] = []
    start = member.service.start

    def spy(request: Any, body: bytes, caller: Any, answer: Any) -> None:
        if isinstance(request, PutRequest) and hasattr(caller, "credentials"):
            seen.append(caller.credentials)
            assert caller.forwards
        start(request, body, caller, answer)

    member.service.start = spy  # type: ignore[method-assign]
    # Both ends run in this process: grpcio's own server name check needs the name in the certificate.
    await in_thread(
        member.client_urls[0],
        lambda stubs: (
            stubs.call("KV/Put", key=b"a"),
            stubs.call("KV/Put", key=b"a", metadata=[("token", "abc")]),
            stubs.call("KV/Put", key=b"a", metadata=[("authorization", "def")]),
        ),
        credentials,
    )
    assert seen == [Credentials("", "somebody"), Credentials("abc", "somebody"), Credentials("def", "somebody")]
    assert "abc" not in repr(seen)
    async with open_client(member.client_urls, ssl_context=member.config.client_tls.client_context()) as client:
        assert (await client.range(b"a")).count == 1


@pytest.mark.parametrize(("offered", "chosen"), [(["h2"], "h2"), (["http/1.1"], "http/1.1"), ([], None)])
async def test_alpn(member: Member, offered: list[str], chosen: str | None) -> None:
    context = member.config.client_tls.client_context()
    if offered:
        context.set_alpn_protocols(offered)
    channel = await dial(member.client_urls[0], context)
    assert isinstance(channel._sock, ssl.SSLSocket)
    assert channel._sock.selected_alpn_protocol() == chosen
    channel.close()


async def test_a_certificate_without_a_name(tmp_path: Path) -> None:
    async with open_member(tmp_path / "plain") as plain:
        names: list[str] = []

        def converse(stubs: Stubs) -> None:
            stubs.call("KV/Put", key=b"a")

        start = plain.service.start

        def spy(request: Any, body: bytes, caller: Any, answer: Any) -> None:
            names.append(caller.credentials.common_name)
            start(request, body, caller, answer)

        plain.service.start = spy  # type: ignore[method-assign]
        await in_thread(plain.client_urls[0], converse)
        assert names == [""]
