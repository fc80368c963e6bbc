"""The whole life of a local cluster, in order: checks, files, processes, readiness, watching, the end."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from apilayer.cli.cluster import account_key, audit_policy, certificates, directory, kubeconfig, ports, state
from apilayer.cli.cluster.commands import children, stop_order
from apilayer.cli.cluster.failure import ClusterError, explained
from apilayer.cli.cluster.screen import next_text, status_text
from apilayer.cli.cluster.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType, TracebackType

    from apilayer.cli.cluster.screen import Screen
    from apilayer.cli.cluster.supervisor import Child

START_TIMEOUT_S = 60.0
_POLL_S = 0.025
_MEMBER_READY = b"ready to serve client requests"
"""What a member logs once it knows a leader and listens; etcd's own words."""

_REASON_CHARS = 300
_DECORATION = " \t|+-"
"""What the traceback of an exception group draws around its lines."""


class Options(NamedTuple):
    """What ``apilayer up`` was asked for. ``nodes`` and ``port_base`` None: as last time, or the defaults."""

    data_dir: Path
    is_default: bool
    nodes: int | None
    port_base: int | None
    ephemeral: bool
    detach: bool
    api_args: tuple[str, ...]
    store_args: tuple[str, ...]


class Interrupted(Exception):
    """A signal asked for the end before the cluster was ready. Carries the signal's number."""


class Interrupts:
    """Counts SIGINT, SIGTERM and SIGHUP instead of dying of them, and wakes whoever waits."""

    def __init__(self) -> None:
        self.count = 0
        self.last = 0
        self.wake: Callable[[], None] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.last = number
        if self.wake is not None:
            self.wake()

    def check(self) -> None:
        if self.count:
            raise Interrupted(self.last)

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a background job of a shell
                self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def operate(options: Options, screen: Screen, ready: Callable[[], None]) -> None:
    """Run a cluster until a signal ends it. ``ready`` is called once it serves and the screen has said so.

    Raises ``ClusterError`` when it cannot start and ``Interrupted`` when it was told to stop before it was ready;
    either way no process is left.
    """
    data_dir = options.data_dir
    with Interrupts() as interrupts, directory.opened(data_dir, ephemeral=options.ephemeral) as tenure:
        settings = state.settle(data_dir, options.nodes, options.port_base, ephemeral=options.ephemeral)
        topology = ports.plan(settings.nodes, settings.port_base)
        ports.check_free(topology)
        directory.check_space(data_dir)
        with explained("write to the data directory", data_dir):
            first = not state.has_members(data_dir)
            own_log = _open_folders(data_dir, screen, detach=options.detach)
        specs = children(data_dir, topology, options.store_args, options.api_args)

        def changed() -> None:
            running = {name: state.Runtime(child.pid, child.restarts) for name, child in supervisor.children.items()}
            try:
                state.save(data_dir, settings, topology, os.getpid(), running)
            except OSError as error:  # the disk is full, say: the cluster itself may well go on
                screen.event(f"cannot write cluster.json: {error}")

        supervisor = Supervisor(specs, report=screen.event, changed=changed, own_log=own_log)
        interrupts.wake = supervisor.wake
        released = announced = False
        try:
            with explained("start the processes in", data_dir):
                supervisor.start(hold=True)
            with explained("write to the data directory", data_dir):
                _write_files(data_dir, topology, screen)  # while the processes load
            supervisor.release()
            released = True
            tenure.remove = options.ephemeral  # the logs now say more than any error message
            view = _await_ready(data_dir, topology, supervisor, interrupts, screen)
            supervisor.restarting = announced = True
            screen.line(f"\n{status_text(view)}\n")
            screen.line(
                next_text(data_dir, is_default=options.is_default, detached=options.detach, ephemeral=options.ephemeral)
            )
            ready()
            while not interrupts.count:
                supervisor.wait(None)
        finally:
            if released:
                screen.event("stopping")
            before = interrupts.count
            supervisor.stop(stop_order(specs), hurry=lambda: interrupts.count > before)
            interrupts.wake = None
            supervisor.close()
            if not tenure.remove:
                with explained("write to the data directory", data_dir):
                    if first and not announced:
                        state.forget(data_dir)
                    else:
                        state.save(data_dir, settings, topology, None, {})
        screen.event("stopped")


def _open_folders(data_dir: Path, screen: Screen, *, detach: bool) -> Path | None:
    """What must be there before a process is started. Returns the supervisor's own log when it has one."""
    own_log = None
    for folder in ("logs", "members", "pki"):
        (data_dir / folder).mkdir(mode=0o700, exist_ok=True)
    if detach:
        own_log = data_dir / "logs" / "up.log"
        descriptor = os.open(own_log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)
        screen.add(sys.stdout)
    return own_log


def _write_files(data_dir: Path, topology: ports.Topology, screen: Screen) -> None:
    """Everything that the processes find on disk."""
    pki = data_dir / "pki"
    made = certificates.ensure(pki)
    made = account_key.ensure_account_key(pki) or made
    screen.step(f"certificates {'made' if made else 'found'} in {pki}")
    kubeconfig.ensure_tokens(data_dir / "tokens.csv")
    audit_policy.ensure_policy(data_dir / audit_policy.NAME)
    kubeconfig.write_kubeconfig(
        data_dir / "kubeconfig", topology.api_url, pki / "ca.crt", pki / "admin.crt", pki / "admin.key"
    )


def _await_ready(
    data_dir: Path, topology: ports.Topology, supervisor: Supervisor, interrupts: Interrupts, screen: Screen
) -> dict[str, Any]:
    """Until the API server is ready, every member answers and one of them leads. Returns that view."""
    from apilayer.cli.cluster import probe  # heavy: loaded while the children load theirs

    screen.step(f"started {', '.join(supervisor.children)}")
    probe.preload()
    context = probe.client_context(data_dir / "pki", "ca", "admin")
    quiet = [supervisor.children[member.name] for member in topology.members]
    deadline = time.monotonic() + START_TIMEOUT_S
    serving = False
    while True:
        deaths = supervisor.wait(_POLL_S)
        interrupts.check()
        if deaths:
            child = supervisor.children[deaths[0].name]
            raise ClusterError(f"{deaths[0]} while starting{_last_words(child)}")
        for child in [child for child in quiet if _MEMBER_READY in _log_of(child)]:
            quiet.remove(child)
            screen.step(f"{child.spec.name} is ready")
        if not serving:
            problem = probe.api_problem(context, topology.api_port)
            if not problem:
                serving = True
                screen.step(f"API server is ready on {topology.api_url}")
        if serving:
            document = state.load(data_dir)
            assert document is not None
            view = probe.cluster_view(data_dir / "pki", document)
            problems = [f"{each['name']}: {each['error']}" for each in view["members"] if each["error"]]
            problem = "; ".join(problems)
            if not problem and any(member["leader"] for member in view["members"]):
                return view
        if time.monotonic() > deadline:
            waited = f"the cluster is not ready after {START_TIMEOUT_S:g} s"
            raise ClusterError(f"{waited}: {problem or 'no leader'}; see {data_dir / 'logs'}")


def _log_of(child: Child) -> bytes:
    """What the child has logged since it was started."""
    with open(child.spec.log, "rb") as log:
        log.seek(child.log_start)
        return log.read()


def _last_words(child: Child) -> str:
    """The last line of the child's log, shortened, and where to find the rest."""
    said = ""
    for line in _log_of(child).decode("utf-8", "replace").splitlines():
        said = line.strip(_DECORATION) or said
    try:
        entry = json.loads(said)
        said = f"{entry['msg']}: {entry['error']}" if "error" in entry else entry["msg"]
    except (ValueError, TypeError, KeyError):
        pass  # not a structured line: as it stands
    return f": {said[:_REASON_CHARS]}; see {child.spec.log}" if said else f"; see {child.spec.log}"
