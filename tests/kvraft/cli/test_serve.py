"""``kvraft serve`` as a process: its flags, its errors, its log, its end."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio

from kvraft.cli.main import build_parser, main
from kvraft.cli.serve import config_from
from kvraft.client import open_client
from kvraft.logs import JsonFormatter, fields
from tests.kvraft.processes import Processes, start_processes

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.server.config import MemberConfig


def _config(*flags: str) -> MemberConfig:
    return config_from(build_parser().parse_args(["serve", *flags]))


def test_the_defaults_are_etcds() -> None:
    config = _config()
    assert config.name == "default"
    assert str(config.data_dir) == "default.etcd"
    assert config.listen_client_urls == config.advertise_client_urls == ("http://localhost:2379",)
    assert config.listen_peer_urls == config.initial_advertise_peer_urls == ("http://localhost:2380",)
    assert config.initial_cluster == {"default": ("http://localhost:2380",)}
    assert (config.heartbeat_ms, config.election_ms, config.snapshot_count) == (100, 1000, 10_000)
    assert (config.quota_backend_bytes, config.max_request_bytes) == (2 << 30, 1_572_864)


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--client-cert-auth", True), ("--client-cert-auth=true", True), ("--client-cert-auth=false", False)],
)
def test_booleans_are_written_as_for_etcd(flag: str, value: bool) -> None:
    assert _config(flag).client_tls.client_cert_auth is value


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--listen-client-urls", "localhost:2379"], "--listen-client-urls: URL scheme must be http or https"),
        (["--name", "m1", "--initial-cluster", "m2=http://h:1"], 'couldn\'t find local name "m1"'),
        (["--listen-client-urls", "https://127.0.0.1:0"], "--cert-file and --key-file are required with https URLs"),
        (["--election-timeout", "1"], "--election-timeout"),
        (["--listen-peer-urls", "http://no.such.host.invalid:1"], "--listen-peer-urls: cannot listen on"),
    ],
)
def test_errors_are_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], reason: str
) -> None:
    logger = logging.getLogger("kvraft")
    before = logger.handlers, logger.level, logger.propagate, sys.getswitchinterval()
    try:
        assert main(["serve", "--data-dir", str(tmp_path / "data"), *flags]) == 1
    finally:
        logger.handlers, level, logger.propagate, interval = before
        logger.setLevel(level)
        sys.setswitchinterval(interval)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kvraft: ")
    assert reason in line
    assert not (tmp_path / "data").exists()


def test_flags_that_do_not_exist_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--no-such-flag"], ["--listen-client"], ["--heartbeat-interval", "soon"]):
        with pytest.raises(SystemExit) as caught:
            main(["serve", *flags])
        assert caught.value.code == 2
        assert "kvraft" in capsys.readouterr().err.splitlines()[-1]


def test_log_lines_are_json_with_etcds_members() -> None:
    record = logging.makeLogRecord(
        {
            "name": "kvraft.server.member",
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "pathname": "/somewhere/kvraft/server/member.py",
            "filename": "member.py",
            "lineno": 7,
            "msg": "it is %s",
            "args": ("slow",),
            **fields(member=1 << 63, path="\udcff", data=b"x", error=OSError(5, "no")),
        }
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert line.isascii()
    found: dict[str, Any] = json.loads(line)
    assert list(found)[:4] == ["level", "ts", "caller", "msg"]
    assert (found["level"], found["caller"], found["msg"]) == ("warn", "server/member.py:7", "it is slow")
    assert found["member"] == 1 << 63


@pytest.mark.slow
def test_a_taken_port_ends_the_process_with_one_line(tmp_path: Path) -> None:
    processes = Processes(tmp_path, 1)
    port = int(processes.client_urls["m1"].rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", port)):
        command = processes.command("m1")
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "--listen-client-urls: cannot listen on" in line
    assert not (tmp_path / "m1").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_hands_leadership_over_and_ends_with_0(tmp_path: Path, number: signal.Signals) -> None:
    with start_processes(tmp_path) as processes:
        async with open_client(processes.urls, timeout_seconds=30) as client:
            await client.put(b"k", b"v")
            leader = await processes.leader(client)
            term = (await client.status(processes.client_urls[leader])).term
            processes.signal(leader, number)
            assert await trio.to_thread.run_sync(processes.running[leader].wait, 20) == 0
            await client.put(b"l", b"w")
            others = [await client.status(url) for name, url in processes.client_urls.items() if name != leader]
            assert {other.term for other in others} == {term + 1}
        lines = [json.loads(line) for line in processes.log(leader).read_text().splitlines()]
        assert all({"level", "ts", "caller", "msg"} <= set(line) for line in lines)
        wanted = ["received signal; shutting down", "handing leadership over", "stopped"]
        assert [line["msg"] for line in lines if line["msg"] in wanted] == wanted
