"""Requests that are like those before: what is remembered of one never answers another."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import Authenticator, InvalidToken, TokenUser, User, digest
from apilayer.pipeline.request import Request
from apilayer.server.h1_parser import RequestParser
from tests.apilayer.server.test_roles import BINDINGS, BOB, CONFIGMAPS, READ, ROLES, binding, role

ONE = f"{CONFIGMAPS}/one"


async def test_who_asks_how_and_for_what(start_server: Any) -> None:
    """Over one connection: each request is judged by its own headers, and by the roles of its moment."""
    async with start_server(authorization_mode=["RBAC"]) as server, server.connect() as admin, server.connect() as one:

        async def ask(token: str, path: str = ONE, **headers: str) -> tuple[int, str]:
            one.token = token
            answer = await one.request("GET", path, **headers)
            return answer.status, answer.headers["content-type"]

        json = "application/json"
        await admin.request("POST", CONFIGMAPS, {"metadata": {"name": "one"}, "data": {"a": "b"}})
        for _ in range(2):
            for token, code in (("secret", 200), ("plain", 403), ("nobody's", 401), ("", 403)):
                assert [await ask(token) for _ in range(3)] == [(code, json)] * 3
        for form in ("application/yaml", json, json, "application/yaml"):
            assert await ask("secret", Accept=form) == (200, form)
            assert (await ask("secret", Accept="x/y"))[0] == 406
        for headers in ({"Accept": json, "User-Agent": "curl/8"}, {"User-Agent": "curl/8", "Accept": json}) * 2:
            answer = await one.request("GET", ONE, **headers)
            assert answer.body.startswith(b'{\n  "kind"'), "whatever the order"
        assert [(await ask("secret", path))[0] for path in (ONE, f"{ONE}x", f"{ONE}?pretty=1&x", ONE)] == [
            200,
            404,
            200,
            200,
        ]

        await admin.request("POST", ROLES, role("reader", READ))
        seen = []
        for change in (
            partial(admin.request, "POST", BINDINGS, binding("readers", "reader", BOB)),
            partial(admin.request, "PUT", f"{ROLES}/reader", role("reader", {**READ, "resourceNames": ["other"]})),
            partial(admin.request, "PUT", f"{ROLES}/reader", role("reader", READ)),
            partial(admin.request, "DELETE", f"{BINDINGS}/readers"),
        ):
            await change()
            seen.append([(await ask("plain"))[0] for _ in range(2)])
        assert seen == [[200, 200], [403, 403], [200, 200], [403, 403]], "at once, each time"
        impersonated = {"Impersonate_User": "bob"}
        assert [(await ask("secret", **more))[0] for more in ({}, impersonated, {}, impersonated)] == [
            200,
            403,
            200,
            403,
        ]


class Revoked:
    """Knows a token until it is revoked."""

    revoked = False

    async def authenticate(self, token: str, _: Any = ()) -> TokenUser:
        if self.revoked or token != "account":
            raise InvalidToken("no more")
        return TokenUser(User("account"), ())


async def test_a_token_is_looked_up_each_time() -> None:
    """However often a connection has shown it: the headers remember what it is called, not whom it names."""

    async def unread() -> bytes:
        raise AssertionError("the body was read")

    accounts, tokens = Revoked(), {digest("file"): User("file")}
    authenticator, parser = Authenticator(tokens, accounts), RequestParser(1000)

    async def ask(token: str) -> str:
        parser.feed(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n" % token.encode())
        headers = parser.ready.pop().headers
        user = await authenticator.authenticate(Request("GET", "/", "", headers, None, unread))
        assert "authorization" not in headers
        return user.name

    for token in ("file", "account", "file"):
        assert [await ask(token) for _ in range(3)] == [token] * 3
    assert await ask("account") == "account"
    accounts.revoked = True
    with pytest.raises(StatusError):
        await ask("account")
    assert [await ask("file") for _ in range(2)] == ["file"] * 2
