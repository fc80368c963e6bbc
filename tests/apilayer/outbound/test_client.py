"""The HTTPS client against real servers: whom it believes, what it sends, and all its bounds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from apilayer.outbound.client import (
    TOKEN_FILE_SECONDS,
    AnswerTooLarge,
    CannotConnect,
    Client,
    ConnectionLost,
    OutboundError,
    TooSlow,
)
from apilayer.outbound.target import Target, TargetError, client_context
from tests.apilayer.authority import Authority
from tests.apilayer.https_server import Asked, Reply, https_server

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-of-a-secret"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("outbound"))
    made.leaf("server", server=True)
    made.leaf("client", "callers")
    return made


async def well(asked: Asked) -> Reply:
    return Reply({"path": asked.target})


async def test_connections_and_credentials(authority: Authority) -> None:
    """One connection serves requests in turn; the server sees certificate, token and names."""
    certificate, key = ((authority.folder / f"client.{end}").read_bytes() for end in ("crt", "key"))
    async with https_server(authority.server_context(clients=True), well) as server:
        target = Target(f"{server.url}/base/", authority.pem, certificate=certificate, key=key, token=CANARY)
        assert CANARY not in repr(target)
        assert "PRIVATE" not in repr(target)
        async with Client(target) as client:
            for path in ("/a", "?b=c", ""):
                answer = await client.send("POST", path, b"x")
                assert (answer.status, answer.body) == (200, b'{"path":"/base%s"}' % path.encode())
    assert server.connections == 1
    asked = server.asked[0]
    assert asked.headers["authorization"] == f"Bearer {CANARY}"
    assert (asked.method, asked.body) == ("POST", b"x")
    assert (("organizationName", "callers"),) in asked.certificate["subject"]


async def test_the_root_of_a_server_and_basic_credentials() -> None:
    async with https_server(None, well) as server, Client(Target(server.url, basic=("me", "it"))) as client:
        assert (await client.send("GET")).body == b'{"path":"/"}'
        assert (await client.send("GET", "?x")).body == b'{"path":"/?x"}'
        assert server.asked[0].headers["authorization"] == "Basic bWU6aXQ="


async def test_whom_it_does_not_believe(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    async with https_server(authority.server_context(), well) as server:
        for target, reason in [
            (Target(server.url), "failed to verify certificate"),
            (Target(server.url, other.pem), "failed to verify certificate"),
            (Target(server.url, authority.pem, server_name="other.example"), "Hostname mismatch"),
            (Target(server.url.replace("127.0.0.1", "localhost"), authority.pem), "Hostname mismatch"),
        ]:
            async with Client(target) as client:
                with pytest.raises(CannotConnect, match=reason):
                    await client.send("GET")
        assert not server.asked
        async with Client(Target(server.url, server_name="other.example", insecure=True)) as client:
            assert (await client.send("GET")).status == 200


async def test_nobody_there(free_port: int) -> None:
    async with Client(Target(f"https://127.0.0.1:{free_port}/x")) as client:
        with pytest.raises(CannotConnect) as caught:
            await client.send("POST", "", CANARY.encode())
    assert "connection refused" in str(caught.value)
    assert str(caught.value).startswith(f'Post "https://127.0.0.1:{free_port}/x": ')


async def test_bounds(autojump_clock: trio.testing.MockClock) -> None:
    """Too much, too late, cut off: each has its error, and the client goes on."""

    async def handler(asked: Asked) -> Reply | None:
        if asked.target == "/large":
            return Reply(b"x" * 1001)
        if asked.target == "/redirect":
            return Reply(status=302, headers=(("Location", "/large"),))
        if asked.target == "/slow":
            await trio.sleep_forever()
        return None if asked.target == "/cut" else Reply(b"x" * 1000)

    async with (
        https_server(None, handler) as server,
        Client(Target(server.url), timeout_seconds=3, max_answer_bytes=1000) as client,
    ):
        cases: list[tuple[str, type[OutboundError]]] = [
            ("/large", AnswerTooLarge),
            ("/slow", TooSlow),
            ("/cut", ConnectionLost),
        ]
        for path, expected in cases:
            with pytest.raises(expected, match=path):
                await client.send("GET", path)
            assert len((await client.send("GET", "/fits")).body) == 1000
        assert (await client.send("GET", "/redirect")).status == 302
    assert "/slow" in [asked.target for asked in server.asked]


async def test_requests_in_parallel_share_a_bounded_number_of_connections() -> None:
    async with https_server(None, well) as server, Client(Target(server.url)) as client:
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(partial(client.send, "GET", "/"))
        assert len(server.asked) == 40
        assert server.connections <= 16


async def test_a_token_file_is_read_again(tmp_path: Path, mock_clock: trio.testing.MockClock) -> None:
    file = tmp_path / "token"
    async with https_server(None, well) as server, Client(Target(server.url, token_file=file)) as client:

        async def sent() -> str:
            await client.send("GET")
            return server.asked[-1].headers["authorization"]

        with pytest.raises(CannotConnect, match="cannot be read"):
            await client.send("GET")
        file.write_text("one\n")
        assert await sent() == "Bearer one"
        file.write_text("two")
        assert await sent() == "Bearer one"
        mock_clock.jump(TOKEN_FILE_SECONDS)
        assert await sent() == "Bearer two"
        file.unlink()
        mock_clock.jump(TOKEN_FILE_SECONDS)
        assert await sent() == "Bearer two"


@pytest.mark.parametrize("url", ["", "x", "ftp://h", "https://", "https://u:p@h", "https://h:99999"])
def test_what_is_no_server(url: str) -> None:
    with pytest.raises(TargetError) as caught:
        Target(url)
    assert "u:p" not in str(caught.value)


def test_certificates_that_are_none(authority: Authority) -> None:
    with pytest.raises(TargetError, match="certificate-authority"):
        client_context(Target("https://h", b"nothing"))
    with pytest.raises(TargetError, match="client-certificate"):
        client_context(Target("https://h", certificate=authority.pem, key=CANARY.encode()))
