"""The bench's parts run, at sizes that take seconds: figures are of no interest here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.__main__ import PARTS
from tests.bench.instructions import counted

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 120.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (("kills", "--kills", "1"), ("median of 1",)),
        (("size", "--keys", "2000"), ("restart, s", "data on disk, MiB")),
        (("compaction", "--keys", "20000", "--seconds", "0.2"), ("write p99 while compacting, ms",)),
        (
            ("hostile", "--minutes", "0.15"),
            ("served at saturation, /s", "offered, /s", "writes acknowledged"),
        ),
        (("authz",), ("asked before", "of a node, 1000 pods")),
        (("audit",), ("no rule wants it", "Metadata, one stage")),
    ],
    ids=lambda value: value[0] if value[0] in {"kills", "size", "compaction", "authz", "audit", "hostile"} else "",
)
def test_a_part_alone(words: tuple[str, ...], rows: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--only", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cells = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in done.stdout.splitlines() if "|" in line}
    for row in rows:
        assert float(cells[row].replace(",", "")) > 0


def test_instructions_are_those_of_the_block() -> None:
    with counted(os.getpid()) as few:
        pass
    with counted(os.getpid()) as many:
        sum(range(1_000_000))
    assert len(few) == len(many)
    assert not many or many[0] > few[0] + 1_000_000, "nothing is counted where there is no perf, or it may not"


def test_every_part_stands_in_the_guide() -> None:
    guide = (ROOT / "docs" / "how-to" / "test-and-measure.md").read_text()
    assert re.findall(r"^\| `([a-z-]+)` \|", guide, re.MULTILINE) == list(PARTS)
