"""Whole runs: they hold, they repeat exactly, and what the command prints is enough to repeat them."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from jepsen.cli.main import main
from jepsen.sim.options import FAULTS
from jepsen.sim.run import run_seed


def test_every_promise_holds_in_runs_that_are_meaningful() -> None:
    reports = [run_seed(seed) for seed in range(20)]
    assert [(report.seed, report.detail) for report in reports if report.check] == []
    count = len(reports)
    assert sum(report.operations for report in reports) >= 100 * count
    assert sum(report.elections for report in reports) >= 4 * count
    assert sum(report.faults for report in reports) >= 10 * count
    assert sum(report.changes for report in reports) >= count
    assert {report.options.nodes for report in reports} == {1, 3, 5}
    assert {kind for report in reports for kind in report.options.faults} == set(FAULTS)


def test_one_seed_one_run() -> None:
    first, second = run_seed(3), run_seed(3)
    assert first == second
    assert first.digest != run_seed(4).digest


def test_every_event_counts_in_the_digest() -> None:
    assert run_seed(3).digest != run_seed(3, duration_s=3.0).digest


@pytest.mark.slow
def test_the_run_does_not_depend_on_hashing() -> None:
    command = [sys.executable, "-m", "jepsen.cli.main", "sim", "--seeds", "0:10", "--jobs", "1"]
    digests = set()
    for hash_seed in ("0", "1", "4711"):
        done = subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        )
        digests.add(done.stdout.splitlines()[1].rpartition(" ")[2])
    assert len(digests) == 1


@pytest.mark.slow
def test_the_summary_does_not_depend_on_the_number_of_processes(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for jobs in ("1", "3"):
        assert main(["sim", "--seeds", "0:25", "--jobs", jobs]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "seeds 0:25"
        assert "seeds/s" in lines[1]
        printed.append([lines[1].rpartition(", ")[2], *lines[2:]])
    assert printed[0] == printed[1]


def test_the_options_of_a_seed_can_be_read_back() -> None:
    options = run_seed(0, duration_s=0.5).options
    assert msgspec.json.decode(msgspec.json.encode(options), type=type(options)) == options
    assert options.duration == 500_000


def test_a_single_seed_prints_its_seed_first_and_traces(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", "--seed", "5", "--duration", "1", "--trace"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "seed 5"
    assert any(" node 1 starts, life 1 " in line for line in lines)
    assert lines[-2] == "seed 5: every check passed"
    assert lines[-1].split("digest ")[1] == run_seed(5, duration_s=1.0).digest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trace"], "--trace needs --seed"),
        (["--jobs", "0"], "--jobs must be at least 1"),
        (["--seed", "1", "--duration", "0"], "--duration above 0"),
        (["--seed", "1", "--duration", "nan"], "--duration above 0"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sim", *arguments]) == 2
    assert message in capsys.readouterr().out


@pytest.mark.parametrize("text", ["5", "5:5", "7:3", "a:b", ""])
def test_wrong_ranges(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["sim", "--seeds", text])
    assert exit_.value.code == 2
    assert f"{text!r} is not A:B with A < B" in capsys.readouterr().err


def test_no_command_prints_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: jepsen" in capsys.readouterr().err
