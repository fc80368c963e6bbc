"""A local cluster under test: real processes through the ``apilayer`` command, kubectl, a small HTTPS client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.canary import CANARY, SEEN, check_nothing_shows, left_behind

if TYPE_CHECKING:
    from pathlib import Path

COMMAND_TIMEOUT_S = 120


def free_port_base(count: int) -> int:
    """The first of ``count`` consecutive ports that nobody uses: above a local cluster's usual ones, below the range
    of outgoing connections."""
    for _ in range(200):
        base = random.randrange(23_000, 32_000 - count)
        if all(_is_free(port) for port in range(base, base + count)):
            return base
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def needs_kubectl() -> None:
    """Skip the test, saying why, where there is no kubectl."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")


class LocalCluster:
    """One data directory and its ports. ``home`` is what kubectl takes for the home directory."""

    def __init__(self, folder: Path, nodes: int = 3) -> None:
        self.data_dir = folder / "cluster"
        self.home = folder / "home"
        self.home.mkdir()
        self.nodes = nodes
        self.port_base = free_port_base(2 * nodes + 1)
        self._planted = False

    @property
    def api_port(self) -> int:
        return self.port_base + 2 * self.nodes

    @property
    def bearer(self) -> str:
        """The administrator's token."""
        return (self.data_dir / "tokens.csv").read_text().partition(",")[0]

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig"

    @property
    def ca(self) -> Path:
        return self.data_dir / "pki" / "ca.crt"

    def up_command(self, *options: str) -> list[str]:
        return self._command("up", f"--nodes={self.nodes}", f"--port-base={self.port_base}", *options)

    def _command(self, verb: str, *options: str) -> list[str]:
        return [sys.executable, "-m", "apilayer.cli.main", verb, f"--data-dir={self.data_dir}", *options]

    def apilayer(self, verb: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run ``apilayer status`` or ``down`` for this data directory."""
        return run(self._command(verb, *options))

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        return run(self.up_command("--detach", *options))

    def started(self, *options: str) -> LocalCluster:
        """Start it and fail the test, showing what was said, if it does not start."""
        answer = self.up(*options)
        assert answer.returncode == 0, answer.stdout + answer.stderr + self.logs()
        self._plant()
        return self

    def _plant(self) -> None:
        """What must not be found afterwards, and what must."""
        metadata = {"name": "canary", "namespace": "kube-system"}
        for kind, plural, value in (("Secret", "secrets", CANARY), ("ConfigMap", "configmaps", SEEN)):
            key = "stringData" if kind == "Secret" else "data"
            obj = {"apiVersion": "v1", "kind": kind, "metadata": metadata, key: {"k": value}}
            code, said = self.once("POST", f"/api/v1/namespaces/kube-system/{plural}", obj)
            assert code in (201, 409), said
        self._planted = True

    def finish(self) -> None:
        """Stop it; nothing of the planted Secret may show in what it leaves behind."""
        self.apilayer("down")
        if self._planted and self.data_dir.exists():
            check_nothing_shows(left_behind(self.data_dir.parent))

    def status(self) -> dict[str, Any]:
        answer = self.apilayer("status", "-o", "json")
        assert answer.returncode == 0, answer.stderr
        view: dict[str, Any] = json.loads(answer.stdout)
        return view

    def logs(self) -> str:
        """The last lines of every log, for the message of a failed test."""
        found = sorted(self.data_dir.glob("logs/*.log"))
        return "\n".join(f"--- {log.name}\n" + "\n".join(log.read_text().splitlines()[-15:]) for log in found)

    def kubectl(self, *arguments: str, stdin: str | None = None, codes: tuple[int, ...] = (0,), **env: str) -> str:
        """What kubectl prints on stdout; its exit code must be one of ``codes``."""
        answer = run(["kubectl", *arguments], stdin=stdin, env=self.kubectl_env(**env))
        assert answer.returncode in codes, f"kubectl {' '.join(arguments)}: {answer.stdout}{answer.stderr}"
        return answer.stdout

    def kubectl_env(self, **env: str) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), **env}

    def once(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """One request on a connection of its own: status code and decoded body."""
        with contextlib.closing(self.connection()) as connection:
            return call(connection, method, path, body)

    def connection(self, timeout_s: float = 30) -> http.client.HTTPSConnection:
        """A connection to the API server as the administrator, kept alive from request to request."""
        pki = self.data_dir / "pki"
        context = ssl.create_default_context(cafile=pki / "ca.crt")
        context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        return http.client.HTTPSConnection("127.0.0.1", self.api_port, timeout=timeout_s, context=context)


def run(
    command: list[str], stdin: str | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, input=stdin, env=env, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
    )


def call(
    connection: http.client.HTTPSConnection, method: str, path: str, body: object = None
) -> tuple[int, dict[str, Any]]:
    """Status code and decoded body of one request."""
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def running(pid: int) -> bool:
    """Whether the process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
