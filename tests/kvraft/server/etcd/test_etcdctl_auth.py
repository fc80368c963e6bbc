"""The unmodified etcdctl with users, roles and passwords, and curl's way through the JSON gateway."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import trio

from kvraft.embed import open_member

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("etcdctl") and shutil.which("curl")), reason="needs etcdctl (Debian: etcd-client) and curl"
    ),
]


class Etcdctl:
    """Runs it against one endpoint."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def run(self, command: str, user: str = "") -> tuple[int, str, str]:
        """Exit code, standard output, and the last line of standard error."""
        credentials = ["--user", user] if user else []
        done = await trio.run_process(
            ["etcdctl", "--endpoints", self._url, *credentials, *command.split()],
            env={**os.environ, "ETCDCTL_API": "3"},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        return done.returncode, done.stdout.decode(), (done.stderr.decode().splitlines() or [""])[-1]

    async def works(self, command: str, user: str = "") -> str:
        """Its output; it must succeed."""
        code, output, error = await self.run(command, user)
        assert code == 0, (command, error)
        return output

    async def fails(self, command: str, user: str = "") -> str:
        """The last line that it complains with; it must fail."""
        code, output, error = await self.run(command, user)
        assert code != 0, (command, output)
        return error


async def test_etcdctl_as_users(tmp_path: Path) -> None:
    async with open_member(tmp_path, bcrypt_cost=4) as member:
        ctl = Etcdctl(member.client_urls[0])
        for command in (
            "user add root:rootpw",
            "user grant-role root root",
            "user add alice:pw",
            "role add r",
            "role grant-permission r --prefix=true readwrite a/",
            "user grant-role alice r",
        ):
            await ctl.works(command)
        assert await ctl.works("auth enable") == "Authentication Enabled\n"
        assert await ctl.fails("put a/1 x") == "Error: etcdserver: user name is empty"
        assert await ctl.works("put a/1 x", "alice:pw") == "OK\n"
        assert await ctl.works("get a/ --prefix", "alice:pw") == "a/1\nx\n"
        denied = "Error: etcdserver: permission denied"
        for command in ("put b/1 x", "get b/1", "del a/ b0", "compaction 2", "user add eve:x", "defrag"):
            assert denied.removeprefix("Error: ") in await ctl.fails(command, "alice:pw"), command
        assert "authentication failed, invalid user ID or password" in await ctl.fails("get a/1", "alice:bad")
        assert await ctl.works("user get alice", "alice:pw") == "User: alice\nRoles: r\n"
        assert await ctl.works("user list", "root:rootpw") == "alice\nroot\n"
        assert await ctl.works("role list", "root:rootpw") == "r\n"
        assert "[a/, a0) (prefix a/)" in await ctl.works("role get r", "root:rootpw")
        assert "default" in await ctl.works("member list", "alice:pw")
        await ctl.works("role revoke-permission r a/ a0", "root:rootpw")
        assert await ctl.fails("get a/1", "alice:pw") == denied
        await ctl.works("role delete r", "root:rootpw")
        await ctl.works("user delete alice", "root:rootpw")
        assert "invalid auth management" in await ctl.fails("user delete root", "root:rootpw")
        assert await ctl.works("auth disable", "root:rootpw") == "Authentication Disabled\n"
        await ctl.works("put z x")


async def test_the_gateway_takes_a_token(tmp_path: Path) -> None:
    async with open_member(tmp_path, bcrypt_cost=4) as member:

        async def post(path: str, body: dict[str, Any], token: str = "") -> dict[str, Any]:
            header = ["-H", f"Authorization: {token}"] if token else []
            done = await trio.run_process(
                ["curl", "-s", *header, "-d", json.dumps(body), f"{member.client_urls[0]}/v3/{path}"],
                capture_stdout=True,
            )
            return dict(json.loads(done.stdout))

        await post("auth/user/add", {"name": "root", "password": "rootpw"})
        await post("auth/user/grant", {"user": "root", "role": "root"})
        await post("auth/enable", {})
        put = {"key": "YQ==", "value": "YQ=="}
        assert (await post("kv/put", put))["message"] == "etcdserver: user name is empty"
        token = (await post("auth/authenticate", {"name": "root", "password": "rootpw"}))["token"]
        assert "header" in await post("kv/put", put, token)
        assert (await post("kv/put", put, "x.1"))["message"] == "etcdserver: invalid auth token"
