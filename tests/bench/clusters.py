"""Three members of kvraft or of etcd on loopback, in processes of their own, in a directory that goes away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_SECONDS = 20.0


class Cluster:
    """The running members: their client URLs and processes, by position."""

    def __init__(self, urls: list[str], processes: list[subprocess.Popen[bytes]], directory: Path) -> None:
        self.urls = urls
        self.processes = processes
        self.directory = directory

    def memory_mib(self) -> list[float]:
        """Resident memory of every member."""
        return [resident_mib(process.pid) for process in self.processes]


def resident_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    return _status_mib(pid, "VmRSS:")


def own_mib(pid: int) -> float:
    """The same without what is mapped from files, which is the page cache's."""
    return _status_mib(pid, "RssAnon:")


def _status_mib(pid: int, field: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def store_cluster(program: str, size: int = 3, flags: Sequence[str] = ()) -> Iterator[Cluster]:
    """``program`` is "kvraft" or "etcd"; the flags are the same, and ``flags`` are more of them."""
    command = [sys.executable, "-m", "kvraft.cli.main", "serve"] if program == "kvraft" else ["etcd"]
    directory = Path(tempfile.mkdtemp(prefix=f"bench-{program}-"))
    ports = free_ports(2 * size)
    clients = [f"http://127.0.0.1:{port}" for port in ports[:size]]
    peers = [f"http://127.0.0.1:{port}" for port in ports[size:]]
    names = [f"m{number}" for number in range(1, size + 1)]
    initial = ",".join(f"{name}={url}" for name, url in zip(names, peers, strict=True))
    processes = []
    environment = {**os.environ, "ETCD_UNSUPPORTED_ARCH": ""}
    try:
        for name, client, peer in zip(names, clients, peers, strict=True):
            with (directory / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        [*command, "--name", name, "--data-dir", str(directory / name),
                         "--listen-client-urls", client, "--advertise-client-urls", client,
                         "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                         "--initial-cluster", initial, *flags],
                        stdout=log, stderr=subprocess.STDOUT, env=environment,
                    )
                )  # fmt: skip
        _wait_until_ready(directory, names, processes)
        yield Cluster(clients, processes, directory)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _wait_until_ready(directory: Path, names: list[str], processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_SECONDS
    for name, process in zip(names, processes, strict=True):
        log = directory / f"{name}.log"
        while b"ready to serve client requests" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)


def etcd_leader(urls: list[str]) -> str:
    """The client URL of etcd's leader."""
    done = subprocess.run(
        ["etcdctl", "--endpoints", ",".join(urls), "endpoint", "status", "-w", "json"],
        env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, check=True,
    )  # fmt: skip
    for row in json.loads(done.stdout):
        status = row["Status"]
        if status["leader"] == status["header"]["member_id"]:
            return str(row["Endpoint"])
    return urls[0]
