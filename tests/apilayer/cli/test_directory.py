"""The data directory: one cluster at a time, clear refusals, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from apilayer.cli.cluster import directory
from apilayer.cli.cluster.directory import check_space, default_data_dir, holder, opened
from apilayer.cli.cluster.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
import sys
from pathlib import Path
from apilayer.cli.cluster.directory import opened
with opened(Path(sys.argv[1]), ephemeral=False):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_default_follows_the_xdg_convention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert default_data_dir() == Path("/data/apilayer")
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert default_data_dir() == Path("/home/me/.local/share/apilayer")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert default_data_dir() == Path("/home/me/.local/share/apilayer")


def test_a_directory_made_here_is_removed_unless_kept(tmp_path: Path) -> None:
    made = tmp_path / "a" / "b"
    with opened(made, ephemeral=False):
        assert made.stat().st_mode & 0o777 == 0o700
    assert not made.exists()
    with opened(made, ephemeral=False) as tenure:
        tenure.remove = False
    assert made.is_dir()


def test_a_directory_that_was_there_stays(tmp_path: Path) -> None:
    with opened(tmp_path, ephemeral=False):
        pass
    assert tmp_path.is_dir()


def test_an_ephemeral_directory_goes(tmp_path: Path) -> None:
    with opened(tmp_path / "e", ephemeral=True):
        (tmp_path / "e" / "data").write_text("x")
    assert not (tmp_path / "e").exists()


def test_an_ephemeral_cluster_takes_no_directory_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(ClusterError, match="is not empty"), opened(tmp_path, ephemeral=True):
        pass
    assert (tmp_path / "precious").exists()


def test_a_path_below_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "data"
    refused = pytest.raises(ClusterError, match=f"^cannot use the data directory {path}: Not a directory$")
    with refused, opened(path, ephemeral=False):
        pass


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write everywhere: be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_missing_rights_are_explained(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    refused = pytest.raises(ClusterError, match=r"^cannot use the data directory .*: Permission denied")
    with unprivileged(), refused, opened(closed / "data", ephemeral=False):
        pass


def test_nobody_holds_a_directory_that_is_missing_or_idle(tmp_path: Path) -> None:
    assert holder(tmp_path / "missing") is None
    with opened(tmp_path, ephemeral=False):
        pass
    assert holder(tmp_path) is None


@pytest.mark.slow
def test_a_second_cluster_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "held\n"
        assert holder(tmp_path) == first.pid
        refused = pytest.raises(ClusterError, match=rf"already runs in {tmp_path} \(pid {first.pid}\)")
        with refused, opened(tmp_path, ephemeral=False):
            pass
        first.kill()
    assert holder(tmp_path) is None, "the kernel releases the lock of a killed process"
    with opened(tmp_path, ephemeral=False):
        pass


def test_too_little_room_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_space(tmp_path)
    monkeypatch.setattr(directory, "MIN_FREE_BYTES", 1 << 62)
    with pytest.raises(ClusterError, match=rf"the disk of {tmp_path} is full: \d+ KiB free, at least \d+ KiB needed"):
        check_space(tmp_path)
