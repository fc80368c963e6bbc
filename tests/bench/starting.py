"""How soon an API server is ready over a store that runs: over an empty one, and over one that it has used before."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.cluster import account_key, audit_policy, certificates, kubeconfig, probe
from apilayer.cli.cluster.commands import API_MODULE, STORE_MODULE, api_flags, member_flags
from apilayer.cli.cluster.ports import Member, Topology
from tests.ports import free_ports

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

TURNS = 3
POLL_SECONDS = 0.003
START_SECONDS = 30.0


@contextmanager
def _store(directory: Path) -> Iterator[Topology]:
    """One member of kvraft that serves, in a directory that has what an API server wants as well."""
    client, peer, api = free_ports(3)
    topology = Topology((Member("kvraft-1", client, peer),), api)
    pki, log = directory / "pki", directory / "logs" / "kvraft-1.log"
    for folder in (pki, log.parent, directory / "members"):
        folder.mkdir()
    certificates.ensure(pki)
    account_key.ensure_account_key(pki)
    kubeconfig.ensure_tokens(directory / "tokens.csv")
    audit_policy.ensure_policy(directory / audit_policy.NAME)
    command = [sys.executable, "-m", STORE_MODULE, "serve", *member_flags(directory, topology, topology.members[0])]
    with log.open("wb") as output, _running(command, output.fileno()) as process:
        _wait(process, lambda: b"ready to serve client requests" in log.read_bytes(), log)
        yield topology


def _started(directory: Path, topology: Topology, context: ssl.SSLContext) -> float:
    """Seconds from the command until ``/readyz`` answers 200, over TLS."""
    log = directory / "logs" / "apiserver.log"
    command = [sys.executable, "-m", API_MODULE, "serve", *api_flags(directory, topology)]
    with log.open("wb") as output:
        began = time.perf_counter()
        with _running(command, output.fileno()) as process:
            _wait(process, lambda: not probe.api_problem(context, topology.api_port), log)
            return time.perf_counter() - began


@contextmanager
def _running(command: list[str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(START_SECONDS)


def _wait(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"no start: {log.read_text()[-2000:]}")
        time.sleep(POLL_SECONDS)


def run() -> list[str]:
    """Measure and return the table's lines (Markdown)."""
    empty, again = [], []
    for _ in range(TURNS):
        with tempfile.TemporaryDirectory(prefix="bench-start-") as name, _store(Path(name)) as topology:
            context = probe.client_context(Path(name) / "pki", "ca", "admin")
            empty.append(_started(Path(name), topology, context))
            again += [_started(Path(name), topology, context) for _ in range(TURNS)]
    lines = [
        "| start of an API server over one member, until it is ready | median s | worst s |",
        "| --- | ---: | ---: |",
    ]
    for store, times in (("an empty store", empty), ("a store that was used before", again)):
        lines.append(f"| over {store} | {sorted(times)[len(times) // 2]:.2f} | {max(times):.2f} |")
    return lines
