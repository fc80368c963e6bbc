"""Clusters of real ``kvraft serve`` processes, which can be killed, stopped by SIGSTOP, and started again."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

from kvraft.errors import KvraftError
from tests.kvraft.members import until
from tests.ports import free_ports

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kvraft.client import Client


SHORT_LOG = ("--snapshot-count", "500")
"""Soon there is something to be compacted away."""


class Processes:
    """Members by name, each a process with ``flags``; ``log`` is where its lines go."""

    def __init__(self, directory: Path, count: int, flags: Sequence[str] = SHORT_LOG) -> None:
        self._flags = flags
        names = [f"m{number}" for number in range(1, count + 1)]
        ports = free_ports(2 * count)
        self.client_urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)}
        self._peer_urls = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports[count:], strict=False)}
        self._directory = directory
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def new(self, name: str) -> str:
        """Choose ports for a further member; its peer URL."""
        client, peer = free_ports(2)
        self.client_urls[name], self._peer_urls[name] = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        return self._peer_urls[name]

    def forget(self, name: str) -> None:
        """It is no member any more."""
        del self.client_urls[name], self._peer_urls[name]

    @property
    def urls(self) -> list[str]:
        """Every member's client URL."""
        return list(self.client_urls.values())

    def command(self, name: str) -> list[str]:
        """What starts the member."""
        cluster = ",".join(f"{other}={url}" for other, url in self._peer_urls.items())
        return [
            *(sys.executable, "-m", "kvraft.cli.main", "serve", "--name", name),
            *("--data-dir", str(self._directory / name), "--initial-cluster", cluster),
            *("--listen-client-urls", self.client_urls[name], "--listen-peer-urls", self._peer_urls[name]),
            *self._flags,
        ]

    def log(self, name: str) -> Path:
        """The member's log, of all its starts."""
        return self._directory / f"{name}.log"

    def start(self, name: str, *flags: str) -> None:
        """Start the member's process, with further ``flags``."""
        with self.log(name).open("ab") as log:
            self.running[name] = subprocess.Popen([*self.command(name), *flags], stderr=log)

    async def ended(self, name: str) -> int:
        """Wait for a process that ends by itself; its exit code."""
        process = self.running[name]
        await until(lambda: process.poll() is not None)
        del self.running[name]
        return process.returncode

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.running.pop(name)
        process.kill()
        process.wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal."""
        self.running[name].send_signal(number)

    async def leader(self, client: Client) -> str:
        """The name of a running member that leads, as soon as there is one."""
        while True:
            for name in self.running:
                try:
                    status = await client.status(self.client_urls[name])
                except KvraftError:
                    continue  # it has only just been started
                if status.leader == status.member_id:
                    return name
            await trio.sleep(0.02)


@contextmanager
def start_processes(directory: Path, count: int = 3, flags: Sequence[str] = SHORT_LOG) -> Iterator[Processes]:
    """Started processes; whatever is left of them is killed at the end."""
    processes = Processes(directory, count, flags)
    try:
        for name in processes.client_urls:
            processes.start(name)
        yield processes
    finally:
        for name in list(processes.running):
            processes.kill(name)
