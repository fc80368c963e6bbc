"""kill -9 at every failpoint of the write path, in a real process, and again while it recovers.

After each crash: nothing that was reported durable is lost, the state is one that the log explains, replay gives what
the commands give when executed once each, in order.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kvraft.apply.machine import StateMachine
from kvraft.errors import KvraftError
from kvraft.mvcc.check import check_command
from kvraft.storage import segment, writer
from kvraft.storage.failpoint import FAILPOINTS
from kvraft.types import RangeRequest
from tests.kvraft.apply import crash_worker as worker
from tests.kvraft.mvcc.model import Model

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SELDOM = ("snapshot.", "install.", "defragment.")
SELDOM_PASSED = {point for point in FAILPOINTS if point.startswith(SELDOM)}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory) -> bytes:
    """What the leader would send: its state after ``SNAPSHOT_AT`` entries."""
    machine = StateMachine.open(tmp_path_factory.mktemp("leader"), sync=False)
    machine.initialise(worker.CONFIGURATION, worker.CLUSTER_ID, 9)
    machine.apply([worker.entry_at(index) for index in range(1, worker.SNAPSHOT_AT + 1)])
    machine.commit()
    stream = b"".join(machine.snapshot())
    machine.close()
    return stream


@pytest.fixture
def directory(tmp_path, snapshot, monkeypatch) -> Path:
    """For the worker, whose sizes are ours as well while we look at what it has left."""
    monkeypatch.setattr(segment, "SEGMENT_BYTES", worker.SEGMENT_BYTES)
    monkeypatch.setattr(writer, "AT_ONCE_BYTES", worker.AT_ONCE_BYTES)
    (tmp_path / "snapshot").write_bytes(snapshot)
    return tmp_path


def run(directory: Path, failpoints: str = "", broken: str = "") -> tuple[int, int]:
    """Run the worker; its return code, and the last index that it reported durable."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.kvraft.apply.crash_worker", str(directory), broken],
        cwd=ROOT,
        env={**os.environ, "KVRAFT_FAILPOINTS": failpoints},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode in (0, -signal.SIGKILL, 3), finished.stderr.decode()
    reported = [int(line.split()[1]) for line in finished.stdout.decode().splitlines()]
    return finished.returncode, max(reported, default=0)


def verify(directory: Path, durable: int) -> int:
    """Open what the crash left, check it against the model before and after replay; the last index."""
    machine, store = worker.open_member(directory)
    try:
        last = store.last_index
        assert last >= durable, "something acknowledged is lost"
        assert machine.applied_index <= last
        assert store.compacted_index <= machine.applied_index
        same_as_model(machine)
        worker.replay(machine, store)
        assert machine.applied_index == last
        same_as_model(machine)
        return last
    finally:
        machine.close()
        store.close()


def same_as_model(machine: StateMachine) -> None:
    """The machine is what its applied entries make, each executed once."""
    model = Model()
    for index in range(1, machine.applied_index + 1):
        command = worker.command_at(index)
        try:
            check_command(command)
            model.execute(command)
        except KvraftError:
            continue
    revisions = (machine.revision, machine.compacted_revision)
    assert revisions == (model.revision, model.compacted), "the state is not what its entries make"
    model.changed = 0
    for revision in range(model.compacted, model.revision + 1):
        request = RangeRequest(b"\0", b"\0", 0, revision)
        assert machine.range(request) == model.range(request), "the state is not what its entries make"


@pytest.mark.parametrize("point", FAILPOINTS)
def test_killed_at_every_point(directory, point):
    durable = 0
    for passes in (1, 2, 5):
        code, reported = run(directory, f"{point}=kill@{passes}")
        assert code == -signal.SIGKILL or (passes > 1 and point in SELDOM_PASSED)
        durable = max(durable, reported)
        verify(directory, durable)
    assert run(directory)[0] == 0
    assert verify(directory, worker.LAST) == worker.LAST


def test_without_a_crash_every_point_is_passed(directory):
    """Otherwise the test above would prove nothing about the point."""
    assert run(directory) == (0, worker.LAST)
    assert verify(directory, worker.LAST) == worker.LAST


@pytest.mark.parametrize(
    ("broken", "point", "found"),
    [
        ("applied-apart", "state.after_commit=kill@3", "the state is not what its entries make"),
        ("early", "log.before_write=kill@7", "something acknowledged is lost"),
    ],
)
def test_the_checks_find_what_is_broken_on_purpose(directory, broken, point, found):
    code, durable = run(directory, point, broken)
    assert code == -signal.SIGKILL
    with pytest.raises(AssertionError, match=found):
        verify(directory, durable)
