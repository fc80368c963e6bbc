"""kubectl against two API servers on three members of Debian's etcd, which come and go; history is cut all the time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.apilayer.server.conftest import Authority
from tests.e2e.cluster import needs_kubectl, run
from tests.kvraft.client.etcd.stores import EtcdProcesses
from tests.kvraft.members import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed"),
]

BOUND_S = 60.0
COMPACTION_S = 3


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that processes bring about."""
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.05)


class OnEtcd:
    """The store's members, two API servers by name, and kubectl for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = EtcdProcesses(folder, 3)
        self.ports = dict(zip("ab", free_ports(2), strict=True))
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        authority = Authority(folder)
        authority.leaf("server", server=True)
        authority.leaf("admin", "system:masters")

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
            "client-ca-file": self.folder / "ca.crt",
            "etcd-servers": ",".join(self.store.urls),
            "etcd-prefix": "/clusters/one",
            "etcd-compaction-interval": f"{COMPACTION_S}s",
        }
        command = [sys.executable, "-m", "apilayer.cli.main", "serve", *(f"--{key}={flags[key]}" for key in flags)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.servers[name] = subprocess.Popen(command, stderr=log)

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

    def environment(self, server: str) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder), "KUBECONFIG": str(self.folder / f"{server}.kubeconfig")}

    def kubectl(self, *arguments: str, server: str = "a", stdin: str | None = None) -> str:
        """What kubectl prints; it must succeed."""
        answer = run(["kubectl", *arguments], stdin=stdin, env=self.environment(server))
        assert answer.returncode == 0, f"kubectl {' '.join(arguments)}: {answer.stdout}{answer.stderr}{self.logs()}"
        return answer.stdout

    def ready(self, server: str) -> bool:
        return run(["kubectl", "get", "--raw", "/readyz"], env=self.environment(server)).stdout == "ok"

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


@pytest.fixture(scope="module")
def on_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnEtcd]:
    needs_kubectl()
    running = OnEtcd(tmp_path_factory.mktemp("on-etcd"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


class Watching:
    """``kubectl get configmaps --watch``: every event that it prints."""

    def __init__(self, on_etcd: OnEtcd, server: str, namespace: str) -> None:
        columns = "custom-columns=TYPE:.type,NAME:.object.metadata.name,N:.object.data.n"
        self.events: list[tuple[str, ...]] = []
        self._process = subprocess.Popen(
            ["kubectl", "get", "cm", "-n", namespace, "-w", "--output-watch-events", "--no-headers", "-o", columns],
            env=on_etcd.environment(server),
            stdout=subprocess.PIPE,
            text=True,
        )
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                event = tuple(line.split())
                if event[1] != "kube-root-ca.crt":
                    self.events.append(event)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(BOUND_S)
        self._thread.join(BOUND_S)


def test_the_course_of_an_object_while_history_is_cut(on_etcd: OnEtcd) -> None:
    """What one server writes the other shows at once, though this etcd cannot be asked how far a watch is."""
    on_etcd.kubectl("create", "namespace", "course")
    for number in range(5):
        on_etcd.kubectl("create", "cm", f"c{number}", "-n", "course", server="a")
        names = on_etcd.kubectl("get", "cm", "-n", "course", "-o", "name", server="b").split()
        assert f"configmap/c{number}" in names
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c0"}, "data": {"a": "1"}}
    for value in ("1", "2"):
        manifest["data"] = {"a": value}
        on_etcd.kubectl("apply", "--server-side", "-n", "course", "-f", "-", stdin=json.dumps(manifest), server="b")
        assert on_etcd.kubectl("get", "cm", "c0", "-n", "course", "-o", "jsonpath={.data.a}") == value
    on_etcd.kubectl("delete", "cm", "c0", "-n", "course")
    assert "c0" not in on_etcd.kubectl("get", "cm", "-n", "course", server="b")
    on_etcd.kubectl("delete", "namespace", "course", server="b")  # returns when a controller has emptied it
    left = on_etcd.etcdctl("get", "/clusters/one/", "--prefix", "--keys-only")
    assert "/course/" not in left
    assert "/clusters/one/namespaces/default" in left
    assert on_etcd.etcdctl("get", "/registry/", "--prefix", "--keys-only").strip() == ""


def test_a_watch_goes_on_while_members_die_and_the_whole_store_restarts(on_etcd: OnEtcd) -> None:
    store = on_etcd.store
    on_etcd.kubectl("create", "namespace", "storm")
    watches = [Watching(on_etcd, server, "storm") for server in "ab"]
    expected: list[tuple[str, ...]] = []

    def write(name: str) -> None:
        until(lambda: _created(on_etcd, name), f"creation of {name}")
        on_etcd.kubectl("patch", "cm", name, "-n", "storm", "-p", '{"data":{"n":"2"}}', server="b")
        expected.extend([("ADDED", name, "1"), ("MODIFIED", name, "2")])

    write("before")
    first = next(iter(store.client_urls))
    store.kill(first)
    write("one-is-dead")
    store.start(first)
    write("it-is-back")
    for name in list(store.running):
        store.kill(name)
    assert not on_etcd.ready("a")
    for name in store.client_urls:
        store.start(name)
    until(lambda: on_etcd.ready("a") and on_etcd.ready("b"), "readiness after the restart")
    write("after")
    until(lambda: all(len(watch.events) >= len(expected) for watch in watches), "the rest of the events")
    for watch in watches:
        assert watch.alive, "kubectl had to give up"
        watch.stop()
        assert watch.events == expected, "a watch has a gap or a duplicate"
    on_etcd.kubectl("delete", "namespace", "storm")  # controllers have outlived it too


def _created(on_etcd: OnEtcd, name: str) -> bool:
    """Whether the object is there. A create whose answer was lost may have happened, and is not repeated blindly."""
    command = ["kubectl", "create", "cm", name, "-n", "storm", "--from-literal=n=1"]
    answer = run(command, env=on_etcd.environment("a"))
    return answer.returncode == 0 or "AlreadyExists" in answer.stderr


def test_one_server_cuts_history_for_all_of_them(on_etcd: OnEtcd) -> None:
    """The key is kube-apiserver's; its version counts the turns, of which there is one in each interval."""

    def turns() -> int:
        found = json.loads(on_etcd.etcdctl("get", "compact_rev_key", "-w", "json"))
        return int(found["kvs"][0]["version"]) if found.get("kvs") else 0

    until(lambda: turns() > 1, "compaction")
    assert turns() <= (time.monotonic() - on_etcd.begun) / COMPACTION_S + 1
    assert "cannot be read" not in on_etcd.logs()
