"""API servers on a cluster of Debian's etcd, all real processes, with kubectl."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.apilayer.server.conftest import Authority
from tests.e2e.cluster import LocalCluster, free_port_base, run
from tests.kvraft.client.etcd.stores import EtcdProcesses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Cluster = LocalCluster | "OnEtcd"

BOUND_S = 60.0
COMPACTION_S = 5
PREFIX = "/clusters/one"


def needs_etcd() -> None:
    """Skip the test, saying why, where there is no etcd."""
    if shutil.which("etcd") is None:
        pytest.skip("etcd is not installed")


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that processes bring about."""
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.05)


@contextlib.contextmanager
def one_server(store: str, folder: Path) -> Iterator[Cluster]:
    """One API server over one member of ``store``."""
    if store == "kvraft":
        cluster = LocalCluster(folder, nodes=1)
        try:
            yield cluster.started()
        finally:
            cluster.finish()
        return
    needs_etcd()
    on_etcd = OnEtcd(folder, members=1, servers="a")
    try:
        on_etcd.start()
        yield on_etcd
    finally:
        on_etcd.stop()


class OnEtcd:
    """The store's members, two API servers by name, and kubectl for each."""

    def __init__(self, folder: Path, members: int = 3, servers: str = "ab") -> None:
        self.folder = folder
        self.store = EtcdProcesses(folder, members)
        ports = iter(range(base := free_port_base(2 * members + len(servers)), base + 2 * members + len(servers)))
        self.store.client_urls = {name: f"http://127.0.0.1:{next(ports)}" for name in self.store.client_urls}
        self.store._peer_urls = {name: f"http://127.0.0.1:{next(ports)}" for name in self.store.client_urls}
        self.ports = {name: next(ports) for name in servers}
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        authority = Authority(folder)
        authority.leaf("server", server=True)
        authority.leaf("admin", "system:masters")
        (folder / "tokens.csv").write_text(f'{self.bearer},admin,1,"system:masters"\n')

    def start(self) -> None:
        self.begun = time.monotonic()
        for name in self.store.client_urls:
            self.store.start(name)
        for name in self.ports:
            self._start_server(name)
        for name in self.ports:
            until(lambda name=name: self.ready(name), f"readiness of API server {name}")  # type: ignore[misc]

    def _start_server(self, name: str) -> None:
        (self.folder / f"{name}.kubeconfig").write_text(json.dumps(self._kubeconfig(self.ports[name])))
        flags = {
            "secure-port": self.ports[name],
            "bind-address": "127.0.0.1",
            "tls-cert-file": self.folder / "server.crt",
            "tls-private-key-file": self.folder / "server.key",
            "client-ca-file": self.ca,
            "root-ca-file": self.ca,
            "token-auth-file": self.folder / "tokens.csv",
            "etcd-servers": ",".join(self.store.urls),
            "etcd-prefix": PREFIX,
            "etcd-compaction-interval": f"{COMPACTION_S}s",
        }
        command = [sys.executable, "-m", "apilayer.cli.main", "serve", *(f"--{key}={flags[key]}" for key in flags)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.servers[name] = subprocess.Popen(command, stderr=log)

    @property
    def bearer(self) -> str:
        """The administrator's token."""
        return "token-of-the-administrator"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "a.kubeconfig"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def api_port(self) -> int:
        return self.ports["a"]

    def _kubeconfig(self, port: int) -> dict[str, Any]:
        cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(self.folder / "ca.crt")}
        user = {"client-certificate": str(self.folder / "admin.crt"), "client-key": str(self.folder / "admin.key")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }

    def kubectl_env(self, server: str = "a", **env: str) -> dict[str, str]:
        """What kubectl needs to know."""
        kubeconfig = str(self.folder / f"{server}.kubeconfig")
        return {**os.environ, "HOME": str(self.folder), "KUBECONFIG": kubeconfig, **env}

    def kubectl(
        self,
        *arguments: str,
        stdin: str | None = None,
        codes: tuple[int, ...] = (0,),
        server: str = "a",
        **env: str,
    ) -> str:
        """What kubectl prints on stdout; its exit code must be one of ``codes``."""
        answer = run(["kubectl", *arguments], stdin=stdin, env=self.kubectl_env(server, **env))
        assert answer.returncode in codes, f"kubectl {' '.join(arguments)}: {answer.stdout}{answer.stderr}{self.logs()}"
        return answer.stdout

    def ready(self, server: str) -> bool:
        return run(["kubectl", "get", "--raw", "/readyz"], env=self.kubectl_env(server)).stdout == "ok"

    def etcdctl(self, *arguments: str) -> str:
        command = ["etcdctl", "--endpoints", ",".join(self.store.urls), *arguments]
        return run(command, env={**os.environ, "ETCDCTL_API": "3"}).stdout

    def logs(self) -> str:
        """The last lines of the API servers."""
        return "\n".join("\n".join((self.folder / f"{name}.log").read_text().splitlines()[-15:]) for name in self.ports)

    def stop(self) -> None:
        for process in self.servers.values():
            process.terminate()
        for process in self.servers.values():
            process.wait(BOUND_S)
        for name in list(self.store.running):
            self.store.kill(name)
