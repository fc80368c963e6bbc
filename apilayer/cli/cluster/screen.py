"""What the person at the terminal reads: progress, the cluster's state as a table, what to type next."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence


class Screen:
    """Lines for one or more streams, flushed as they come.

    A stream that cannot be written any more (the terminal is gone, the disk of a log is full) is left out from then
    on: it must not keep the supervisor from its work.
    """

    def __init__(self, *streams: TextIO) -> None:
        self._streams = list(streams)
        self._started = time.monotonic()

    def line(self, text: str) -> None:
        for stream in tuple(self._streams):
            try:
                print(text, file=stream, flush=True)
            except OSError:
                self._streams.remove(stream)

    def step(self, text: str) -> None:
        """One finished step of the start, with the time since the beginning."""
        self.line(f"  {time.monotonic() - self._started:5.2f} s  {text}")

    def event(self, text: str) -> None:
        """Something that happened while the cluster runs, with the time of day."""
        self.line(f"{time.strftime('%H:%M:%S')}  {text}")

    def add(self, stream: TextIO) -> None:
        self._streams.append(stream)

    def remove(self, stream: TextIO) -> None:
        """Whoever read this stream has heard what they waited for."""
        if stream in self._streams:
            self._streams.remove(stream)


def status_text(view: dict[str, Any]) -> str:
    """Members and API servers of ``probe.cluster_view`` as two tables."""
    members: list[Sequence[object]] = [
        ("MEMBER", "PID", "CLIENT URL", "PEER URL", "LEADER", "TERM", "APPLIED", "REVISION")
    ]
    for member in view["members"]:
        row = [member["name"], member["pid"], member["clientURL"], member["peerURL"]]
        if member["error"]:
            members.append((*row, member["error"]))
        else:
            leader = "yes" if member["leader"] else "no"
            members.append((*row, leader, member["term"], member["appliedIndex"], member["revision"]))
    servers: list[Sequence[object]] = [("API SERVER", "PID", "URL", "READY")]
    servers += [(each["name"], each["pid"], each["url"], each["error"] or "yes") for each in view["apiservers"]]
    return "\n".join((*table(members), "", *table(servers)))


def table(rows: Sequence[Sequence[object]]) -> list[str]:
    """Rows as lines with aligned columns, two spaces apart. None prints as ``-``; rows may be short."""
    cells = [["-" if value is None else str(value) for value in row] for row in rows]
    full = [row for row in cells if len(row) == len(cells[0])]
    widths = [max(len(row[i]) for row in full) for i in range(len(cells[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in cells]


def as_typed(program: Path, here: Path) -> str:
    """How `program` is called from `here`: by its name where the PATH leads to it, else by where it lies."""
    found = shutil.which(program.name)
    if not program.is_file() or (found and Path(found).samefile(program)):
        return program.name
    return shlex.quote(str(program.relative_to(here) if program.is_relative_to(here) else program))


def next_text(data_dir: Path, *, is_default: bool, detached: bool, ephemeral: bool) -> str:
    """What to type next."""
    apilayer = as_typed(Path(sys.executable).with_name("apilayer"), Path.cwd())
    option = "" if is_default else f" --data-dir {shlex.quote(str(data_dir))}"
    data = "the data goes with it" if ephemeral else f"the data stays in {data_dir}"
    lines = [
        "Next" + ("" if detached else ", in another terminal") + ":",
        f"  export KUBECONFIG={shlex.quote(str(data_dir / 'kubeconfig'))}",
        "  kubectl get ns",
        f"  {apilayer} status{option}",
        "",
        f"`{apilayer} down{option}` stops the cluster; {data}." if detached else f"Ctrl-C stops the cluster; {data}.",
    ]
    return "\n".join(lines)
