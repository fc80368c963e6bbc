"""``kvraft serve`` as a process: its flags, its errors, its log, its end."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from kvraft.cli.main import main
from kvraft.logs import JsonFormatter, LogConfig, configure, fields
from tests.kvraft.certificates import Authority
from tests.kvraft.processes import Processes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--listen-client-urls", "localhost:2379"], "--listen-client-urls: URL scheme must be http or https"),
        (["--name", "m1", "--initial-cluster", "m2=http://h:1"], 'couldn\'t find local name "m1"'),
        (["--listen-client-urls", "https://127.0.0.1:0"], "--cert-file and --key-file are required with https URLs"),
        (["--election-timeout", "1"], "--election-timeout"),
        (
            ["--listen-client-urls", "http://127.0.0.1:0", "--listen-peer-urls", "http://no.such.host.invalid:1"],
            "--listen-peer-urls: cannot listen on",
        ),
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
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "children would inherit it, and not end"
    assert not [thread for thread in threading.enumerate() if thread.name == "kvraft-signals"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("kvraft: ")
    assert reason in line
    assert not (tmp_path / "data").exists()


def test_a_member_loads_only_what_it_needs() -> None:
    """A restart is short: what takes its time to load waits for a setting that asks for it."""
    heavy = "{'cryptography', 'google', 'hypercorn', 'jwt', 'prometheus_client', 'quart', 'urllib.request', 'yaml'}"
    script = f"import sys, kvraft.cli.process; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_key_of_another_certificate_is_one_line_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    authority = Authority(tmp_path / "pki")
    flags = ["--listen-client-urls", "https://127.0.0.1:0", "--listen-peer-urls", "http://127.0.0.1:0"]
    pair = ["--cert-file", authority.issue("one")[0], "--key-file", authority.issue("two")[1]]
    test_errors_are_one_line_and_exit_code_1(tmp_path, capsys, [*flags, *pair], "cannot load TLS files")


def test_the_log_goes_where_it_is_told_in_the_format_that_is_wanted(tmp_path: Path) -> None:
    logger = logging.getLogger("kvraft")
    before = logger.handlers, logger.level, logger.propagate
    path = tmp_path / "kvraft.log"
    try:
        logger.handlers = []
        configure(LogConfig(level="warn", format="console", outputs=(str(path),)))
        logging.getLogger("kvraft.x").info("not this")
        logging.getLogger("kvraft.x").warning("but\nthis", extra=fields(n=1))
        path.rename(tmp_path / "kvraft.log.1")
        logging.getLogger("kvraft.x").error("rotated")
        logger.handlers[0].close()
    finally:
        logger.handlers, level, logger.propagate = before
        logger.setLevel(level)
    (line,) = (tmp_path / "kvraft.log.1").read_text().splitlines()
    _, level_name, caller, message, values = line.split("\t")
    assert (level_name, message, values) == ("warn", "but this", '{"n": 1}')
    assert caller.startswith("cli/test_serve.py:")
    assert "rotated" in path.read_text()
    with pytest.raises(OSError, match="No such file"):
        configure(LogConfig(outputs=(str(tmp_path / "none" / "x.log"),)))


def test_flags_that_do_not_exist_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--no-such-flag"], ["--listen-client"], ["--heartbeat-interval", "soon"]):
        assert main(["serve", *flags]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines[0] == "Usage:"
        assert lines[-1].startswith("kvraft: ")


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
