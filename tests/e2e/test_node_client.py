"""`@kubernetes/client-node` against a real server. It is installed once, into the user's cache directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.cluster import run

if TYPE_CHECKING:
    from tests.e2e.on_etcd import Cluster

pytestmark = pytest.mark.slow

PACKAGE = "@kubernetes/client-node@1.4.0"
SCRIPT = Path(__file__).with_name("node_client.mjs")
INSTALL_TIMEOUT_S = 300


def client_node() -> Path:
    """The folder that has the package installed. Skips the test, saying why, where it cannot be."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "kvraft-tests" / PACKAGE.rpartition("/")[2]
    if not folder.is_dir():
        install(folder)
    return folder


def install(folder: Path) -> None:
    """In a folder of its own first, so that a half of it is never taken for the whole."""
    building = folder.with_name(f"{folder.name}.{os.getpid()}")
    building.mkdir(parents=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", f"--prefix={building}", PACKAGE]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        shutil.rmtree(building)
        pytest.skip(f"npm did not install {PACKAGE} in {INSTALL_TIMEOUT_S} s")
    if answer.returncode:
        shutil.rmtree(building)
        pytest.skip(f"npm could not install {PACKAGE}: {answer.stderr.strip()[-500:]}")
    building.rename(folder)


@pytest.fixture(scope="module")
def seen(on_either: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each step of the script saw."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(client_node() / "node_modules")
    script = shutil.copy(SCRIPT, folder)
    answer = run(["node", script, str(on_either.kubeconfig)])
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return dict(json.loads(line) for line in answer.stdout.splitlines())


def test_list_patch_and_delete(seen) -> None:
    assert seen["list"] == ["node-a"]
    assert seen["patch"] == {"b": "2"}
    assert seen["delete"] == 0


def test_a_watch_from_a_list(seen) -> None:
    assert seen["watch"] == [["MODIFIED", "node-a"], ["MODIFIED", "node-a"], ["ADDED", "node-b"]]


def test_an_informer(seen) -> None:
    assert sorted(seen["informer"][:2]) == [["add", "node-a"], ["add", "node-b"]]
    assert seen["informer"][2:] == [["update", "node-b"], ["delete", "node-b"]]


def test_errors_have_codes(seen) -> None:
    assert seen["errors"] == [[409, "AlreadyExists"], [404, "NotFound"], [422, "Invalid"]]


def test_a_watch_over_websocket(seen) -> None:
    assert seen["websocket"] == ["base64.binary.k8s.io", [["ADDED", False]], 1000]
