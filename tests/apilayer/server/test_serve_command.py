"""``apilayer serve`` as a process: starts, drains on SIGTERM, says in one line why it cannot start."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import orjson
import pytest
import trio

from apilayer.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMMAND = [sys.executable, "-m", "apilayer.cli.main", "serve"]


def flags(certificates: Path, **changed: str) -> list[str]:
    values = {
        "tls-cert-file": str(certificates / "server.crt"),
        "tls-private-key-file": str(certificates / "server.key"),
        "token-auth-file": str(certificates / "tokens.csv"),
        "etcd-servers": "http://127.0.0.1:1",
        "bind-address": "127.0.0.1",
        "secure-port": "0",
        **{name.replace("_", "-"): value for name, value in changed.items()},
    }
    return [f"--{name}={value}" for name, value in values.items() if value]


@pytest.mark.slow
async def test_serves_until_it_is_told_to_stop(certificates: Path, member, nursery: trio.Nursery) -> None:
    arguments = flags(certificates, etcd_servers=",".join(member.client_urls))
    process = await trio.lowlevel.open_process([*COMMAND, *arguments], stderr=subprocess.PIPE)
    assert process.stderr is not None
    text = b""
    with trio.fail_after(20):
        while b"serving securely on" not in text:
            text += await process.stderr.receive_some()
        process.send_signal(signal.SIGTERM)
        while part := await process.stderr.receive_some():
            text += part
        assert await process.wait() == 0
    lines = [orjson.loads(line) for line in text.splitlines()]
    assert all({"ts", "level", "logger", "msg"} <= set(line) for line in lines)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """The one line that the command says instead of starting; in this process, whose log stays as it is."""
    monkeypatch.setattr("apilayer.server.logs.configure", lambda *, debug: None)

    def refusal(arguments: list[str]) -> str:
        try:
            status: object = main(["serve", *arguments])
        except SystemExit as ended:
            status = ended.code
        assert status == 1
        said = capsys.readouterr().err
        assert said.startswith("apilayer")
        assert said.count("\n") == 1
        return said

    return refusal


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"tls_cert_file": "/nowhere.crt"}, "--tls-cert-file: /nowhere.crt: No such file or directory"),
        ({"token_auth_file": "/nowhere.csv"}, "--token-auth-file: /nowhere.csv: No such file or directory"),
        ({"tls_private_key_file": "{certificates}/ca.crt"}, "--tls-private-key-file"),
        ({"etcd_servers": "nowhere:1"}, "is not a URL"),
        ({"secure_port": "99999"}, "is not a port"),
        ({"request_timeout": "soon"}, 'time: invalid duration "soon"'),
        ({"no_such_flag": "x"}, "unrecognized arguments"),
    ],
)
def test_reasons_not_to_start(certificates: Path, refused, changed: dict[str, str], reason: str) -> None:
    filled = {name: value.format(certificates=certificates) for name, value in changed.items()}
    assert reason in refused(flags(certificates, **filled))


def test_a_taken_port(certificates: Path, refused) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(flags(certificates, secure_port=str(port)))
    assert said == f"apilayer serve: cannot listen on 127.0.0.1:{port}: the address is in use already\n"
