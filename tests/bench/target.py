"""An API server to measure: of a local cluster, with a user whom roles allow everything."""

from __future__ import annotations

import json
import secrets
import ssl
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio

from tests.bench.api import local_cluster, processes
from tests.bench.http import open_http, read_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Iterator


def cpu_seconds(pid: int) -> float:
    """What a process has used, in all its threads, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


USER = "bench"
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRoleBinding",
    "metadata": {"name": USER},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
}


@attrs.frozen
class Target:
    """A server to ask: as a user with a token, whom roles allow everything."""

    url: str
    context: ssl.SSLContext
    token: str
    pid: int
    store_pids: tuple[int, ...]
    pki: Path


@contextmanager
def served(group: str = "") -> Iterator[Target]:
    """The API server of a local cluster that knows the user, who belongs to a group."""
    token = secrets.token_urlsafe(32)
    with tempfile.NamedTemporaryFile("w") as users:
        users.write(f"{token},{USER},{USER},{group}\n")
        users.flush()
        with local_cluster(3, (f"--token-auth-file={users.name}",)) as (directory, _):
            url, admin = read_kubeconfig(directory / "kubeconfig")
            trio.run(_allow, url, admin)
            pki = directory / "pki"
            context = ssl.create_default_context(cafile=pki / "ca.crt")
            pids = processes(directory)
            server = pids.pop("apiserver 1")
            yield Target(url, context, token, server, tuple(pids.values()), pki)


async def _allow(url: str, admin: ssl.SSLContext) -> None:
    async with open_http(url, admin) as http:
        path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
        status, answer = await http.request("POST", path, json.dumps(BINDING).encode())
        if status != 201:
            raise RuntimeError(f"the binding was answered {status}: {answer.decode()}")
