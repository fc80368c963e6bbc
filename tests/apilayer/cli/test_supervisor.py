"""The supervisor, with real child processes: restarts, back-off, orderly and forced ends, bounded logs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from apilayer.cli.cluster import supervisor as module
from apilayer.cli.cluster.supervisor import Ended, Spec, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

CHILD = """
import os, signal, sys

def end(number, frame):
    os.write(1, b"told to end\\n")
    os._exit(0)

what, fifo = sys.argv[1:]
signal.signal(signal.SIGTERM, signal.SIG_IGN if what == "deaf" else end)
if what == "exit":
    sys.exit(7)
with open(fifo, "w") as ready:  # whoever reads knows from here on that the handlers are in place
    ready.write(f"{os.getpid()} {os.getpgrp()}\\n")
while True:
    signal.pause()
"""


class World:
    """A supervisor over children that run ``CHILD``, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.changes = 0
        self.now: Callable[[], float] | None = None

    def make(self, **what: str) -> Supervisor:
        specs = []
        for name, kind in what.items():
            os.mkfifo(self.folder / f"{name}.fifo")
            arguments = (kind, str(self.folder / f"{name}.fifo"))
            specs.append(Spec(name, "tiny_child", arguments, self.folder / f"{name}.log"))
        self.supervisor = Supervisor(specs, report=self.said.append, changed=self._changed)
        return self.supervisor

    def _changed(self) -> None:
        self.changes += 1

    def await_ready(self, name: str) -> tuple[int, int]:
        """Pid and process group of the child, once it runs and handles signals."""
        pid, group = (self.folder / f"{name}.fifo").read_text().split()
        return int(pid), int(group)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (tmp_path / "tiny_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = World(tmp_path)
    yield made
    made.supervisor.stop([tuple(made.supervisor.children)], grace_s=0)
    made.supervisor.close()


def test_a_killed_child_is_restarted_and_said_so(world: World) -> None:
    supervisor = world.make(a="obey", b="obey")
    supervisor.start()
    first, _ = world.await_ready("a")
    bystander, _ = world.await_ready("b")
    supervisor.restarting = True
    os.kill(first, signal.SIGKILL)
    assert supervisor.wait(None) == [Ended("a", first, -signal.SIGKILL)]
    assert world.said == [f"a (pid {first}) was killed by SIGKILL; restart 1 in 0.1 s"]
    assert supervisor.children["a"].pid is None
    supervisor.wait(supervisor.children["a"].delay_s)
    second, _ = world.await_ready("a")
    assert supervisor.children["a"].pid == second != first
    assert supervisor.children["a"].restarts == 1
    assert supervisor.children["b"].pid == bystander
    assert world.changes == 3  # the start, the death, the restart


def test_a_child_that_ends_at_once_is_restarted_ever_more_slowly(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(module, "MAX_DELAY_S", 0.003)
    supervisor = world.make(a="exit")
    supervisor.start()
    supervisor.restarting = True
    for _ in range(4):
        (death,) = supervisor.wait(None)
        assert death.code == 7
    assert [line.partition(") ")[2] for line in world.said] == [
        "ended with exit code 7; restart 1 in 0.001 s",
        "ended with exit code 7; restart 2 in 0.002 s",
        "ended with exit code 7; restart 3 in 0.003 s",
        "ended with exit code 7; restart 4 in 0.003 s",
    ]


def test_a_long_life_forgives_earlier_deaths(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(module, "STABLE_S", 0.0)
    supervisor = world.make(a="exit")
    supervisor.start()
    supervisor.restarting = True
    for _ in range(3):
        supervisor.wait(None)
    assert all(line.endswith("in 0.001 s") for line in world.said)


def test_while_the_cluster_starts_a_death_is_only_returned(world: World) -> None:
    supervisor = world.make(a="exit")
    supervisor.start()
    (death,) = supervisor.wait(None)
    assert str(death) == f"a (pid {death.pid}) ended with exit code 7"
    assert supervisor.wait(0) == []
    assert supervisor.children["a"].pid is None
    assert world.said == []


def test_stop_lets_each_group_end_before_the_next(world: World) -> None:
    supervisor = world.make(store="obey", api="obey")
    supervisor.start()
    world.await_ready("store")
    world.await_ready("api")
    ends: list[tuple[str | None, str | None]] = []
    world._changed = lambda: ends.append(
        tuple("up" if supervisor.children[name].process else None for name in ("api", "store"))
    )
    supervisor._changed = world._changed
    supervisor.stop([("api",), ("store",)])
    assert ends == [(None, "up"), (None, None)]
    assert world.log("api") == world.log("store") == "told to end\n"
    assert world.said == []


def test_a_child_that_does_not_end_is_killed(world: World) -> None:
    supervisor = world.make(a="deaf")
    supervisor.start()
    pid, _ = world.await_ready("a")
    supervisor.stop([("a",)], grace_s=0.01)
    assert world.said == [f"a (pid {pid}) does not end, killing it"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_second_signal_cuts_the_grace_short(world: World) -> None:
    supervisor = world.make(a="deaf")
    supervisor.start()
    pid, _ = world.await_ready("a")
    supervisor.wake()
    supervisor.stop([("a",)], grace_s=3600, hurry=lambda: True)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_wake_up_ends_the_wait(world: World) -> None:
    supervisor = world.make(a="obey")
    supervisor.start()
    supervisor.wake()
    assert supervisor.wait(None) == []


def test_each_child_has_a_session_of_its_own(world: World) -> None:
    supervisor = world.make(a="obey")
    supervisor.start()
    pid, group = world.await_ready("a")
    assert group == pid != os.getpgrp()


def test_a_log_that_has_grown_is_set_aside(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 100)
    log = world.folder / "a.log"
    log.write_text("x" * 101)
    supervisor = world.make(a="obey")
    supervisor.start()
    world.await_ready("a")
    assert (world.folder / "a.log.1").read_text() == "x" * 101
    assert supervisor.children["a"].log_start == 0
    supervisor.stop([("a",)])
    assert log.read_text() == "told to end\n"


def test_the_log_of_a_running_child_is_cut_under_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOUSEKEEPING_S", 0.0)
    supervisor = world.make(a="obey")
    supervisor.start()
    world.await_ready("a")
    monkeypatch.setattr(module, "MAX_LOG_BYTES", 100)
    with open(world.folder / "a.log", "a") as log:
        log.write("x" * 101)
    supervisor.wait(0)
    supervisor.stop([("a",)])
    assert world.log("a") == "told to end\n", "the child goes on at the new end of its file"
    assert (world.folder / "a.log.1").read_text() == "x" * 101


SUPERVISOR = """
import sys
from pathlib import Path
from apilayer.cli.cluster.supervisor import Spec, Supervisor
folder = Path(sys.argv[1])
spec = Spec("a", "tiny_child", ("deaf", str(folder / "a.fifo")), folder / "a.log")
supervisor = Supervisor([spec], report=print, changed=lambda: None)
supervisor.start()
supervisor.wait(None)
"""


def test_children_die_with_a_killed_supervisor(world: World) -> None:
    world.make(a="deaf")  # not started here: another process supervises it
    with subprocess.Popen([sys.executable, "-c", SUPERVISOR, world.folder]) as other:
        pid, _ = world.await_ready("a")
        pidfd = os.pidfd_open(pid)
        other.kill()
        other.wait()
    waiting = module.select.poll()
    waiting.register(pidfd, module.select.POLLIN)
    assert waiting.poll(30_000), "the kernel kills the child"
    os.close(pidfd)


def test_children_begin_when_they_are_released(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (world.folder / "tiny_load.py").write_text("import os; os.write(1, b'loaded'); open('loaded.fifo', 'w').close()")
    os.mkfifo(world.folder / "loaded.fifo")
    monkeypatch.chdir(world.folder)
    supervisor = world.make(a="exit")
    supervisor.children["a"].spec = supervisor.children["a"].spec._replace(loads=("tiny_load",))
    supervisor.start(hold=True)
    (world.folder / "loaded.fifo").read_text()  # until it has loaded
    assert supervisor.wait(0.1) == []
    supervisor.release()
    (death,) = supervisor.wait(None)
    assert death.code == 7
    assert world.log("a") == "loaded"


def test_children_that_were_never_released_can_be_ended(world: World) -> None:
    supervisor = world.make(a="deaf")
    supervisor.start(hold=True)
    supervisor.stop([("a",)])
    assert world.log("a") == ""
    assert world.said == []
