"""The simulator finds bugs: each mutation of the core or driver is caught, and only because it is a mutation."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from jepsen.cli.main import main
from jepsen.cli.sim import simulate
from jepsen.sim.mutations import MUTATIONS, mutation
from jepsen.sim.run import run_seed

SEEDS = tomllib.loads(Path(__file__).with_name("seeds.toml").read_text())
SEARCHED = 4000
"""Seeds tried when a change of the core has moved a violation away from the stored seed."""


def test_every_mutation_has_a_seed() -> None:
    assert set(SEEDS) == set(MUTATIONS)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_unbroken_core_passes_the_seed(name: str) -> None:
    report = run_seed(SEEDS[name]["seed"])
    assert report.check == "", report.detail


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_the_mutation_is_caught(name: str) -> None:
    stored = SEEDS[name]
    report = run_seed(stored["seed"], break_name=name)
    if report.check:
        assert report.check == stored["check"]
        return
    reports = simulate(range(SEARCHED), os.cpu_count() or 1, None, name)
    caught = next((report for report in reports if report.check and "exception" not in report.check), None)
    assert caught is not None, f"no seed below {SEARCHED} catches {name}"
    assert run_seed(caught.seed).check == ""


@pytest.mark.slow
def test_a_violation_prints_what_repeats_it(capsys: pytest.CaptureFixture[str]) -> None:
    name = "vote-without-persist"
    searched = range(SEEDS[name]["seed"], SEARCHED)
    seed = next(report.seed for report in simulate(searched, 1, None, name) if report.check)
    assert main(["sim", "--seeds", f"{seed}:{seed + 1}", "--jobs", "1", "--break", name]) == 1
    output = capsys.readouterr().out
    assert f"VIOLATION of election safety: seed {seed}, event " in output
    assert "options nodes=" in output
    command = re.search(r"repeat it with: jepsen (.*)", output)
    assert command is not None
    assert main(command[1].split()) == 1
    assert "VIOLATION of election safety" in capsys.readouterr().out


def test_an_unknown_mutation_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown mutation 'x': one of vote-without-persist"):
        mutation("x")
