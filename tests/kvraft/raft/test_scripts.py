"""Runs the protocol scripts of ``tests/raft_scripts``. ``REWRITE_RAFT_SCRIPTS=1`` writes what they print now."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kvraft.raft.script import run_script

SCRIPTS = sorted((Path(__file__).parents[2] / "raft_scripts").glob("*.txt"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_script(path: Path) -> None:
    expected = path.read_text("utf-8")
    found = run_script(expected)
    if os.environ.get("REWRITE_RAFT_SCRIPTS") == "1":
        path.write_text(found, "utf-8")
    else:
        assert found == expected


def test_there_are_scripts() -> None:
    assert SCRIPTS
