"""The unmodified etcdctl's own checks of a store: it puts them as it would to an etcd, and must like what it sees."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.bench.clusters import store_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("etcdctl") is None, reason="etcdctl is not installed (Debian: etcd-client)"),
]
TIMEOUT_SECONDS = 180.0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with store_cluster("kvraft", 1) as cluster:
        yield cluster.urls[0]


def _check(url: str, *words: str) -> list[str]:
    """What it prints after the progress bar."""
    done = subprocess.run(
        ["etcdctl", "--endpoints", url, "check", *words],
        env={**os.environ, "ETCDCTL_API": "3"}, capture_output=True, timeout=TIMEOUT_SECONDS,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.decode().rpartition("\r")[2].splitlines()[1:]


def test_its_check_of_the_memory(url: str) -> None:
    compacting, compacted, defragmenting, defragmented, verdict = _check(
        url, "datascale", "--load=s", "--auto-compact", "--auto-defrag"
    )
    assert compacting == "Compacting with revision 10002"
    assert compacted == "Compacted with revision 10002"
    assert (defragmenting, defragmented) == (f'Defragmenting "{url}"', f'Defragmented "{url}"')
    assert re.fullmatch(r"PASS: Approximate system memory used : -?\d+\.\d\d MB\.", verdict)


def test_its_check_of_the_performance(url: str) -> None:
    """It takes a minute. How long the slowest write took is told too, and depends on who else uses this machine."""
    throughput, *others, last = _check(url, "perf", "--load=s")
    assert re.fullmatch(r"PASS: Throughput is 1[45]\d writes/s", throughput)
    assert last == ("PASS" if all(line.startswith("PASS") for line in others) else "FAIL")
