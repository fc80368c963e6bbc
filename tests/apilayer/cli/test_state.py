"""cluster.json and atomic files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from apilayer.cli.cluster.failure import ClusterError
from apilayer.cli.cluster.ports import plan
from apilayer.cli.cluster.state import Runtime, Settings, forget, load, save, settle, write_atomic

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_atomic(path, b"new", 0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    (target / "below").mkdir(parents=True)
    with pytest.raises(OSError, match="directory"):
        write_atomic(target, b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    children = {"kvraft-1": Runtime(11, 0), "kvraft-2": Runtime(None, 4), "apiserver": Runtime(14, 1)}
    save(tmp_path, Settings(3, None, False), plan(3, None), 10, children)
    document = load(tmp_path)
    assert document is not None
    assert (tmp_path / "cluster.json").stat().st_mode & 0o777 == 0o600
    assert document["pid"] == 10
    assert document["kubeconfig"] == str(tmp_path / "kubeconfig")
    assert [(m["name"], m["pid"], m["restarts"]) for m in document["members"]] == [
        ("kvraft-1", 11, 0),
        ("kvraft-2", None, 4),
        ("kvraft-3", None, 0),
    ]
    assert document["members"][0]["clientURL"] == "https://127.0.0.1:2379"
    assert document["members"][0]["peerURL"] == "https://127.0.0.1:2380"
    assert document["apiservers"] == [{"name": "apiserver", "pid": 14, "restarts": 1, "url": "https://127.0.0.1:6443"}]


def test_with_one_node_member_and_api_server_are_one_process(tmp_path: Path) -> None:
    save(tmp_path, Settings(1, 7000, True), plan(1, 7000), 10, {"kvraft-1": Runtime(11, 2)})
    document = load(tmp_path)
    assert document is not None
    assert document["members"][0]["pid"] == document["apiservers"][0]["pid"] == 11


def test_no_cluster_json(tmp_path: Path) -> None:
    assert load(tmp_path) is None
    assert load(tmp_path / "missing") is None


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff"])
def test_a_damaged_cluster_json_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "cluster.json").write_text(text, encoding="latin-1")
    with pytest.raises(ClusterError, match=r"cluster\.json is damaged"):
        load(tmp_path)


def test_settings_default_to_three_nodes_on_the_usual_ports(tmp_path: Path) -> None:
    assert settle(tmp_path, None, None, ephemeral=False) == Settings(3, None, False)


def test_settings_are_remembered(tmp_path: Path) -> None:
    save(tmp_path, Settings(5, 7000, False), plan(5, 7000), None, {})
    assert settle(tmp_path, None, None, ephemeral=False).nodes == 3, "no member was ever started"
    (tmp_path / "members" / "kvraft-1").mkdir(parents=True)
    assert settle(tmp_path, None, None, ephemeral=False) == Settings(5, 7000, False)
    assert settle(tmp_path, 5, 7000, ephemeral=False) == Settings(5, 7000, False)
    with pytest.raises(ClusterError, match="holds a cluster of 5, not of 3"):
        settle(tmp_path, 3, None, ephemeral=False)
    with pytest.raises(ClusterError, match="know each other by --port-base 7000: leave --port-base 8000 out"):
        settle(tmp_path, None, 8000, ephemeral=False)


def test_a_failed_first_start_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "members" / "kvraft-1").mkdir(parents=True)
    save(tmp_path, Settings(5, 7000, False), plan(5, 7000), None, {})
    forget(tmp_path)
    assert list(tmp_path.iterdir()) == []
