"""kubectl against two API servers on three members of Debian's etcd, which come and go; history is cut all the time."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.cluster import needs_kubectl, run
from tests.e2e.on_etcd import BOUND_S, COMPACTION_S, PREFIX, OnEtcd, needs_etcd, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow
MARKER = "marker"


@pytest.fixture(scope="module")
def on_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnEtcd]:
    needs_kubectl()
    needs_etcd()
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
        self.listed = False
        self._process = subprocess.Popen(
            ["kubectl", "get", "cm", "-n", namespace, "-w", "--output-watch-events", "--no-headers", "-o", columns],
            env=on_etcd.kubectl_env(server),
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
                if event[1] == MARKER:  # the last of what was there before: what comes now is an event of its own
                    self.listed = True
                elif self.listed:
                    self.events.append(event)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *_: object) -> None:
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
    left = on_etcd.etcdctl("get", f"{PREFIX}/", "--prefix", "--keys-only")
    assert "/course/" not in left
    assert f"{PREFIX}/namespaces/default" in left
    assert on_etcd.etcdctl("get", "/registry/", "--prefix", "--keys-only").strip() == ""


def test_a_watch_goes_on_while_members_die_and_the_whole_store_restarts(on_etcd: OnEtcd) -> None:
    store = on_etcd.store
    on_etcd.kubectl("create", "namespace", "storm")
    on_etcd.kubectl("wait", "--for=create", "cm/kube-root-ca.crt", "-n", "storm", "--timeout=30s")
    on_etcd.kubectl("create", "cm", MARKER, "-n", "storm")
    expected: list[tuple[str, ...]] = []

    def write(name: str) -> None:
        until(lambda: _created(on_etcd, name), f"creation of {name}")
        until(lambda: _patched(on_etcd, name), f"patch of {name}")
        expected.extend([("ADDED", name, "1"), ("MODIFIED", name, "2")])

    with Watching(on_etcd, "a", "storm") as first_watch, Watching(on_etcd, "b", "storm") as second_watch:
        until(lambda: first_watch.listed and second_watch.listed, "watches")
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
        for watch in (first_watch, second_watch):
            until(lambda watch=watch: watch.events[-1:] == expected[-1:], "the last event")  # type: ignore[misc]
            assert watch.alive, "kubectl had to give up"
            assert watch.events == expected, "a watch has a gap or a duplicate"
    on_etcd.kubectl("delete", "namespace", "storm")  # controllers have outlived it too


def _created(on_etcd: OnEtcd, name: str) -> bool:
    """Whether the object is there. A create whose answer was lost may have happened, and is not repeated blindly."""
    command = ["kubectl", "create", "cm", name, "-n", "storm", "--from-literal=n=1"]
    answer = run(command, env=on_etcd.kubectl_env("a"))
    return answer.returncode == 0 or "AlreadyExists" in answer.stderr


def _patched(on_etcd: OnEtcd, name: str) -> bool:
    """The same again changes nothing, and is no event."""
    command = ["kubectl", "patch", "cm", name, "-n", "storm", "-p", '{"data":{"n":"2"}}']
    return run(command, env=on_etcd.kubectl_env("b")).returncode == 0


def test_one_server_cuts_history_for_all_of_them(on_etcd: OnEtcd) -> None:
    """The key is kube-apiserver's; its version counts the turns, of which there is one in each interval."""

    def turns() -> int:
        found = json.loads(on_etcd.etcdctl("get", "compact_rev_key", "-w", "json"))
        return int(found["kvs"][0]["version"]) if found.get("kvs") else 0

    until(lambda: turns() > 1, "compaction")
    assert turns() <= (time.monotonic() - on_etcd.begun) / COMPACTION_S + 1
    assert "cannot be read" not in on_etcd.logs()
