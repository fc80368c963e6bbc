"""Canaries: passwords and tokens that are looked for in every line, every text and every byte that is written."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import msgspec
import pytest
import trio

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import AuthFailed, InvalidArgument, InvalidAuthToken, KvraftError
from kvraft.logs import JsonFormatter
from kvraft.types import AuthenticateRequest, AuthenticateResponse, UserAddRequest, UserChangePasswordRequest
from kvraft.wire import native
from tests.kvraft.server.test_auth import jwt_setting

if TYPE_CHECKING:
    from pathlib import Path

PASSWORDS = {
    "root": "canary-of-root",
    "first": "canary-of-alice",
    "second": "canary-of-alice-2",
    "wrong": "canary-wrong",
    "long": "canary-long" * 10,
    "malformed": "canary-malformed",
}
FORGED = "canary-forged-token.7"


async def live(member_urls: tuple[str, ...], texts: list[str]) -> list[str]:
    """Everything that has to do with secrets, and what goes wrong with it. Gives the tokens that were in use."""
    async with AsyncExitStack() as stack:
        nobody = await stack.enter_async_context(open_client(member_urls))

        async def fails(error: type[KvraftError], request: native.Request) -> None:
            with pytest.raises(error) as raised:
                await (await nobody.any_connection()).call(request, trio.current_time() + 10)
            texts.extend((str(raised.value), repr(raised.value), repr(request)))

        await nobody.auth.user_add("root", PASSWORDS["root"])
        await nobody.auth.user_grant_role("root", "root")
        await nobody.auth.user_add("alice", PASSWORDS["first"])
        await nobody.auth.enable()
        root = await stack.enter_async_context(open_client(member_urls, user="root", password=PASSWORDS["root"]))
        first = (await nobody.auth.authenticate("alice", PASSWORDS["first"])).token
        await root.auth.user_change_password("alice", PASSWORDS["second"])
        second = (await nobody.auth.authenticate("alice", PASSWORDS["second"])).token
        await root.put(b"k", b"v")
        await fails(AuthFailed, AuthenticateRequest("alice", PASSWORDS["wrong"]))
        await fails(AuthFailed, AuthenticateRequest("alice", PASSWORDS["long"]))
        (await root.any_connection()).bear(root.token)
        (await nobody.any_connection()).bear(root.token)
        await fails(InvalidArgument, UserAddRequest("eve", PASSWORDS["long"]))
        await fails(InvalidArgument, UserChangePasswordRequest("alice", PASSWORDS["long"]))
        (await nobody.any_connection()).bear(FORGED)
        await fails(InvalidAuthToken, UserAddRequest("eve", PASSWORDS["wrong"]))
        for body in (["x", PASSWORDS["malformed"]], [43, 1, PASSWORDS["malformed"]], [44, PASSWORDS["malformed"], 3]):
            async with open_client(member_urls) as client:
                connection = await client.any_connection()
                data = b"\0\0\0\1" + msgspec.msgpack.encode(body)
                connection._channel.queue(len(data).to_bytes(4) + data)
                with suppress(KvraftError):
                    await connection.call(AuthenticateRequest("alice", PASSWORDS["wrong"]), trio.current_time() + 5)
        return [token for token in (first, second, root.token, FORGED) if token]


@pytest.mark.parametrize("kind", ["simple", "jwt"])
async def test_no_secret_is_written_anywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    caplog.set_level(logging.DEBUG)
    texts: list[str] = []
    setting = "simple" if kind == "simple" else jwt_setting(tmp_path)
    async with open_member(tmp_path / "data", bcrypt_cost=4, auth_token=setting) as member:
        tokens = await live(member.client_urls, texts)
    assert len(tokens) == 4
    lines = [JsonFormatter().format(record) for record in caplog.records]
    assert any("invalid authentication was requested" in line for line in lines), "nothing was listened to"
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    written = b"".join(path.read_bytes() for path in files)
    assert b"alice" in written, "nothing was looked at"
    for secret in (*PASSWORDS.values(), *tokens, *(token.split(".")[0] for token in tokens if kind == "simple")):
        assert not [line for line in lines if secret in line], secret
        assert not [text for text in texts if secret in text], secret
        assert secret.encode() not in written, secret


@pytest.mark.parametrize(
    "holder",
    [
        AuthenticateRequest("alice", "canary"),
        AuthenticateResponse(1, "canary"),
        UserAddRequest("alice", "canary", False, "canary"),
        UserChangePasswordRequest("alice", "canary", "canary"),
        native.Bearer("canary"),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_what_holds_a_secret_does_not_show_it(holder: object) -> None:
    for text in (repr(holder), str(holder), f"{[holder]}"):
        assert "canary" not in text
        assert "***" in text
