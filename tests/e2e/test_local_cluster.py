"""``apilayer up``, ``status`` and ``down`` with real processes: a whole life, and every way to be refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.cluster import run, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.cluster import LocalCluster

    Factory = Callable[[int], LocalCluster]

pytestmark = pytest.mark.slow

BOUND_S = 30.0


def await_status(cluster: LocalCluster, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        view = cluster.status()
        if condition(view):
            return view
    raise AssertionError(f"{view}\n{cluster.logs()}")


def healthy(view: dict[str, Any]) -> bool:
    servers = view["members"] + view["apiservers"]
    return not any(each["error"] for each in servers) and any(member["leader"] for member in view["members"])


def pids(view: dict[str, Any]) -> list[int]:
    return [each["pid"] for each in view["members"] + view["apiservers"]] + [view["pid"]]


def nothing_left(cluster: LocalCluster) -> bool:
    """No process has the data directory on its command line."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    if os.fsencode(cluster.data_dir) in file.read() and running(int(entry)):
                        return False
            except (FileNotFoundError, ProcessLookupError):
                continue
    return True


def create(cluster: LocalCluster, name: str) -> int:
    return cluster.once("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": name}})[0]


def get(cluster: LocalCluster, name: str) -> int:
    return cluster.once("GET", f"/api/v1/namespaces/default/configmaps/{name}")[0]


def test_a_whole_life(local_cluster: Factory) -> None:
    cluster = local_cluster(3)
    begin = time.monotonic()
    answer = cluster.up()
    print(f"three nodes ready after {time.monotonic() - begin:.2f} s")
    assert answer.returncode == 0, answer.stderr
    assert f"export KUBECONFIG={cluster.data_dir}/kubeconfig" in answer.stdout
    assert f"apilayer down --data-dir {cluster.data_dir}" in answer.stdout

    view = cluster.status()
    assert [member["name"] for member in view["members"]] == ["kvraft-1", "kvraft-2", "kvraft-3"]
    assert [member["leader"] for member in view["members"]].count(True) == 1
    for i, member in enumerate(view["members"]):
        assert member["clientURL"] == f"https://127.0.0.1:{cluster.port_base + i}"
        assert member["peerURL"] == f"https://127.0.0.1:{cluster.port_base + 3 + i}"
        assert member["term"] >= 1
        assert member["appliedIndex"] >= 1
        assert member["revision"] >= 1
    (server,) = view["apiservers"]
    assert (server["url"], server["ready"]) == (f"https://127.0.0.1:{cluster.api_port}", True)
    assert all(running(pid) for pid in pids(view))
    assert "kvraft-2" in cluster.apilayer("status").stdout

    assert create(cluster, "kept") == 201
    assert cluster.apilayer("down").returncode == 0
    assert not any(running(pid) for pid in pids(view))
    assert cluster.apilayer("status").returncode == 1
    again = run([*cluster.up_command("--detach")[:-3], "--detach"])  # nodes and ports as last time
    assert again.returncode == 0, again.stderr
    assert len(cluster.status()["members"]) == 3
    assert get(cluster, "kept") == 200


def test_dead_children_come_back(local_cluster: Factory) -> None:
    cluster = local_cluster(3)
    cluster.started()
    assert create(cluster, "kept") == 201
    before = cluster.status()
    victims = [*before["members"], *before["apiservers"]]
    for victim in victims:
        os.kill(victim["pid"], signal.SIGKILL)
    after = await_status(cluster, lambda view: healthy(view) and not set(pids(view)[:4]) & set(pids(before)[:4]))
    assert all(each["restarts"] == 1 for each in after["members"] + after["apiservers"])
    assert get(cluster, "kept") == 200
    said = (cluster.data_dir / "logs" / "up.log").read_text()
    for victim in victims:
        assert f"{victim['name']} (pid {victim['pid']}) was killed by SIGKILL; restart 1 in 0.1 s" in said


def test_one_node_is_one_process(local_cluster: Factory) -> None:
    cluster = local_cluster(1)
    begin = time.monotonic()
    cluster.started("--ephemeral")
    print(f"one node ready after {time.monotonic() - begin:.2f} s")
    view = cluster.status()
    (member,), (server,) = view["members"], view["apiservers"]
    assert member["pid"] == server["pid"]
    assert member["leader"]
    assert create(cluster, "kept") == 201
    os.kill(member["pid"], signal.SIGKILL)
    after = await_status(cluster, lambda view: healthy(view) and view["members"][0]["pid"] != member["pid"])
    assert after["members"][0]["restarts"] == 1
    assert get(cluster, "kept") == 200
    assert cluster.apilayer("down").returncode == 0
    assert not cluster.data_dir.exists()
    assert nothing_left(cluster)


@pytest.mark.parametrize("nodes", [1, 3])
def test_ctrl_c_ends_it_cleanly(local_cluster: Factory, nodes: int) -> None:
    cluster = local_cluster(nodes)
    with subprocess.Popen(cluster.up_command(), stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        lines = []
        for line in up.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C stops"):
                break
        assert any("LEADER" in line for line in lines)
        view = cluster.status()
        up.send_signal(signal.SIGINT)
        rest = up.stdout.read()
        assert up.wait(BOUND_S) == 0
    assert "stopped" in rest
    assert "killing it" not in rest
    assert not any(running(pid) for pid in pids(view))
    assert nothing_left(cluster)
    assert (cluster.data_dir / "members").is_dir()


def test_children_do_not_outlive_a_killed_supervisor(local_cluster: Factory) -> None:
    cluster = local_cluster(1)
    cluster.started()
    view = cluster.status()
    os.kill(view["pid"], signal.SIGKILL)
    deadline = time.monotonic() + BOUND_S
    while any(running(pid) for pid in pids(view)):
        assert time.monotonic() < deadline
    answer = cluster.apilayer("status")
    assert (answer.returncode, answer.stderr) == (1, f"error: no cluster runs in {cluster.data_dir}\n")
    cluster.started()


def one_line(answer: subprocess.CompletedProcess[str]) -> str:
    """What a refusal said: exactly one line on stderr, and a failure."""
    assert answer.returncode == 1
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ")
    return line


def test_started_twice(local_cluster: Factory) -> None:
    cluster = local_cluster(1)
    cluster.started()
    pid = cluster.status()["pid"]
    assert f"a cluster already runs in {cluster.data_dir} (pid {pid})" in one_line(cluster.up())
    assert healthy(cluster.status())


@pytest.mark.parametrize("detach", [True, False])
def test_a_taken_port(local_cluster: Factory, detach: bool) -> None:
    cluster = local_cluster(1)
    cluster.started()
    pid = cluster.status()["members"][0]["pid"]
    other = local_cluster(1)
    other.port_base = cluster.port_base
    line = one_line(run(other.up_command(*["--detach"] * detach)))
    assert f"port {cluster.port_base} (kvraft-1's client URL) is taken by" in line
    assert f"(pid {pid})" in line
    assert not other.data_dir.exists()


def test_a_path_that_cannot_be_a_directory(local_cluster: Factory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cluster = local_cluster(1)
    cluster.data_dir = tmp_path / "file" / "data"
    assert f"cannot use the data directory {cluster.data_dir}: Not a directory" in one_line(cluster.up())


@pytest.mark.parametrize("detach", [True, False])
def test_a_full_disk(local_cluster: Factory, tmp_path: Path, detach: bool) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(small)])
    if mounted.returncode != 0:
        pytest.skip(f"no right to mount a small file system: {mounted.stderr.strip()}")
    try:
        cluster = local_cluster(1)
        cluster.data_dir = small / "data"
        assert "is full: " in one_line(run(cluster.up_command(*["--detach"] * detach)))
        assert not cluster.data_dir.exists()
    finally:
        run(["umount", str(small)])


@pytest.mark.parametrize("flag", ["--kvraft-arg=--no-such-flag", "--apiserver-arg=--no-such-flag"])
@pytest.mark.parametrize("nodes", [1, 3])
def test_a_child_that_cannot_start(local_cluster: Factory, flag: str, nodes: int) -> None:
    cluster = local_cluster(nodes)
    line = one_line(cluster.up(flag))
    # etcd ends with 2 for a flag that it does not know, kube-apiserver with 1. One process for both is the store's.
    code = 1 if flag.startswith("--apiserver") and nodes > 1 else 2
    assert f"ended with exit code {code} while starting" in line
    assert "-no-such-flag" in line
    assert f"see {cluster.data_dir}/logs/" in line
    assert nothing_left(cluster)
    assert not (cluster.data_dir / "members").exists()
    assert cluster.apilayer("status").returncode == 1


def test_down_where_nothing_runs(local_cluster: Factory) -> None:
    cluster = local_cluster(1)
    answer = cluster.apilayer("down")
    assert (answer.returncode, answer.stdout) == (0, f"no cluster runs in {cluster.data_dir}\n")
    answer = cluster.apilayer("status", "-o", "json")
    assert (answer.returncode, answer.stdout) == (1, "")


def test_the_command_works_without_a_terminal_or_a_home(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "apilayer.cli.main", "status"],
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (1, f"error: no cluster runs in {tmp_path}/.local/share/apilayer\n")


@pytest.mark.parametrize("detach", [True, False])
def test_told_to_stop_before_it_was_ready(local_cluster: Factory, detach: bool) -> None:
    cluster = local_cluster(3)
    command = cluster.up_command(*["--detach"] * detach)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as up:
        assert up.stdout is not None
        for line in up.stdout:
            if "started kvraft-1" in line:
                break
        up.send_signal(signal.SIGINT)
        rest, complaints = up.communicate(timeout=BOUND_S)
    assert up.returncode == 128 + signal.SIGINT, rest
    assert complaints == ""
    assert nothing_left(cluster)
    assert cluster.apilayer("status").returncode == 1
    assert not (cluster.data_dir / "members").exists()
