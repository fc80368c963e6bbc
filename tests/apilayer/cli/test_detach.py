"""What the command in the foreground does with what it is told of the start."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from apilayer.cli.cluster import detach
from apilayer.cli.cluster.failure import ClusterError
from apilayer.cli.cluster.operate import Options

OPTIONS = Options(
    Path("data"), is_default=False, nodes=1, port_base=None, ephemeral=False, detach=True, api_args=(), store_args=()
)


def told(**message: object) -> str:
    return f"\0{json.dumps(message)}\n"


def test_a_start_that_fails_is_told_when_the_supervisor_has_gone() -> None:
    """The pipe ends with it; who looks for what is left must not find it."""
    pipe = io.StringIO(told(code=1, error="no room") + "the rest of its life")
    with pytest.raises(ClusterError, match="no room"):
        detach._relay(pipe, OPTIONS)
    assert pipe.read() == ""


def test_a_cluster_that_is_ready_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    pipe = io.StringIO("starting\n" + told(code=0, error="") + "the rest of its life")
    assert detach._relay(pipe, OPTIONS) == 0
    assert capsys.readouterr().out == "starting\n"
    assert pipe.read() == "the rest of its life"


def test_a_supervisor_that_dies_says_nothing() -> None:
    with pytest.raises(ClusterError, match=r"died while starting; see data/logs/up\.log"):
        detach._relay(io.StringIO("starting\n"), OPTIONS)
