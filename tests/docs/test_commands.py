"""Every command of the README and of the documentation is typed here, page by page, as a reader would.

In a ```console block a line that starts with ``$`` is a command; lines after it belong to it while it ends with a
backslash, or while they start with ``>``. What runs in the foreground until Ctrl-C is started beside the others and
waited for; a line ``^C`` ends the latest of them. ```python blocks are run after the page's commands.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*/*.md"))]
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_HERE = {"make test", "make test-fast", "make lint", "make docs", "make bench", "make sim"}
"""What runs the tests, or runs for minutes: continuous integration types these itself."""
FOREGROUND = re.compile(r"^(make up|apilayer up|apilayer serve|kvraft serve|etcd )(?!.*--detach)")
READY = (b"API server is ready", b"ready to serve client requests", b"serving securely on")
PORTS = (2379, 22379, 32379, 2380, 22380, 32380, 6443, 12379, 12380, 12381)
SECONDS = 60.0
CTRL_C = "^C"


def commands_of(block: str) -> list[str]:
    """The commands of a console block, each as the shell takes it."""
    commands: list[str] = []
    going_on = False
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif commands and (going_on or line.startswith("> ")):
            commands[-1] += "\n" + (line if going_on else line[2:])
        elif line == CTRL_C:
            commands.append(CTRL_C)
        going_on = line.endswith("\\")
    return commands


def pages_with_blocks() -> list[Path]:
    return [page for page in PAGES if BLOCK.search(page.read_text())]


def run_whole(
    command: list[str], directory: Path, environment: dict[str, str], seconds: float = SECONDS
) -> tuple[int, bytes]:
    """Run a command: its exit code and what it printed. Late, it is killed with all that it has started."""
    with subprocess.Popen(
        command, cwd=directory, env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            output, _ = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, output


class Reader:
    """Somebody who types: one shell's variables, one working directory, programs that are still running."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[tuple[subprocess.Popen[bytes], Path]] = []
        self.environment = {
            "PATH": f"{ROOT / '.venv' / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(directory / "home"),
            "LANG": "C.UTF-8",
        }
        (directory / "home").mkdir()
        for entry in ROOT.iterdir():
            if entry.name not in {".git", "data"}:
                (directory / entry.name).symlink_to(entry)

    def type(self, command: str) -> None:
        if FOREGROUND.match(command):
            self._start(command)
            return
        if command == CTRL_C:
            self._interrupt()
            return
        self.wait()  # what is typed into another terminal meets what runs in the first
        script = f"{command}\nstatus=$?\nenv -0 > .environment\nexit $status"
        status, output = run_whole(["bash", "-c", script], self.directory, self.environment)
        assert status == 0, f"$ {command}\n{output.decode()}"
        known = (self.directory / ".environment").read_bytes().split(b"\0")
        self.environment = dict(item.decode().split("=", 1) for item in known if b"=" in item)
        if command.startswith("kvraft member remove "):
            self._see_one_leave()

    def _see_one_leave(self) -> None:
        """Whoever is removed stops by itself: nobody needs to, and a Ctrl-C that comes now is not for it."""
        deadline = time.monotonic() + SECONDS
        while not (ended := [each for each in self.running if each[0].poll() is not None]):
            assert time.monotonic() < deadline, "nobody has left"
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.running[0][0].wait(0.05)
        ((process, log),) = ended
        assert "the member has been permanently removed from the cluster" in log.read_text()
        self.running.remove((process, log))

    def _start(self, command: str) -> None:
        log = self.directory / f"foreground-{len(list(self.directory.glob('foreground-*')))}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.directory, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.running.append((process, log))
        if command.startswith("kvraft serve"):
            return  # one of three is ready only when another is there: see ``wait``
        self._wait(process, log)

    def wait(self) -> None:
        """Until everything in the foreground is ready."""
        for process, log in self.running:
            self._wait(process, log)

    def _interrupt(self) -> None:
        """Ctrl-C in the terminal of the latest program that has not ended by itself."""
        self.wait()
        while self.running:
            process, _ = self.running.pop()
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
                process.wait(20)
                return
        raise AssertionError("nothing is running")

    @staticmethod
    def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + SECONDS
        while not any(sign in log.read_bytes() for sign in READY):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)  # and leave the processor to what starts

    def leave(self) -> None:
        """Ctrl-C in every terminal; what a page that failed left in the background ends too."""
        late: list[str] = []
        for cluster in self.directory.glob("*/cluster.json"):
            down = [str(ROOT / ".venv" / "bin" / "apilayer"), "down", "--data-dir", str(cluster.parent)]
            try:
                run_whole(down, self.directory, self.environment)
            except subprocess.TimeoutExpired as error:
                late.append(str(error))
        for process, _ in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process, _ in self.running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired as error:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                late.append(str(error))
        assert not late, "\n".join(late)


@pytest.fixture
def usual_ports() -> Iterator[None]:
    """The ports that pages name, for one page at a time, whoever else runs tests here."""
    with (Path(tempfile.gettempdir()) / "kvraft-usual-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("usual_ports")
@pytest.mark.parametrize("page", pages_with_blocks(), ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_page_says_works(page: Path, tmp_path: Path) -> None:
    blocks = BLOCK.findall(page.read_text())
    commands = [command for kind, block in blocks if kind == "console" for command in commands_of(block)]
    for program in ("kubectl", "etcd"):
        if any(re.search(rf"\b{program} ", command) for command in commands) and not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    taken = [port for port in PORTS if _is_taken(port)]
    if taken:
        pytest.skip(f"the default ports are in use: {taken}")
    reader = Reader(tmp_path)
    try:
        for command in commands:
            if command not in NOT_HERE:
                reader.type(command)
        reader.wait()
        for kind, block in blocks:
            if kind == "python":
                (tmp_path / "example.py").write_text(block)
                reader.type(f"{sys.executable} example.py")
    finally:
        reader.leave()


def test_a_command_that_is_late_leaves_nothing_behind(tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > child; wait"
    with pytest.raises(subprocess.TimeoutExpired):
        run_whole(["bash", "-c", script], tmp_path, dict(os.environ), seconds=0.5)
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    deadline = time.monotonic() + SECONDS
    while child.exists() and child.read_text().rpartition(") ")[2][0] != "Z":  # nobody may have reaped it yet
        assert time.monotonic() < deadline, "it runs on"


def _is_taken(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False
