"""``apilayer`` as a whole: what every command has in common."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(("word", "unbuffered"), [("--help", ""), ("down", ""), ("down", "1")])
def test_whoever_reads_the_output_may_leave(word: str, unbuffered: str, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "apilayer.cli.main", word],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered, "XDG_DATA_HOME": str(tmp_path)},
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (141, "")
