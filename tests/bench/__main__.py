"""``make bench``: measure everything, print it, and write ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from tests.bench import (
    api,
    audit,
    authz,
    bad_clients,
    compaction,
    fairness,
    hostile,
    kills,
    leases,
    overload,
    overload_grpc,
    requests,
    size,
    steady,
    store,
    watches,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@attrs.frozen
class Part:
    """One part of the page: its title, what is said of it, and what measures it and gives the table's lines."""

    title: str
    about: str
    run: Callable[[argparse.Namespace], list[str]]


PARTS = {
    "store": Part(
        "The store",
        "Three members, 256-byte values, 10,000 keys. kvraft is asked through its native client; etcd by a gRPC "
        f"client that does nothing but frame, on connections to its leader. They take turns, {store.TURNS} of each, "
        "while the other one is not running; the middle one counts, and of the ratios too.",
        lambda args: store.run(args.seconds),
    ),
    "grpc": Part(
        "The store over gRPC",
        "The same with one gRPC client for both, on connections to the leader; it does nothing but frame.",
        lambda args: store.run_over_grpc(args.seconds),
    ),
    "kills": Part(
        "A leader that is killed",
        f"Three members, {kills.WRITERS} clients that write one key after the other. What counts is a write sent after "
        "the kill.",
        lambda args: kills.run(args.kills),
    ),
    "steady": Part(
        "At full load",
        "Three members under as many writes as they take, with auto-compaction. Memory includes pages of the files.",
        lambda args: steady.run(args.minutes),
    ),
    "leases": Part("Leases", "", lambda args: leases.run(args.leases)),
    "size": Part(
        "The store at size",
        "One member each, a million keys (or `--keys`) of 256 bytes. Memory is what is not mapped from files.",
        lambda args: size.run(args.keys),
    ),
    "compaction": Part(
        "Compaction",
        "One member each, a million revisions (or `--keys`) of 10,000 keys with 256 bytes. `physical`: it is over when "
        "all is gone.",
        lambda args: compaction.run(args.seconds, args.keys),
    ),
    "authz": Part(
        "Who may do what",
        "CPU of one decision by nodes and roles, from warm caches, in one process; the least of 20 turns.",
        lambda _: authz.run(),
    ),
    "requests": Part(
        "What requests cost the API server",
        "`apilayer up`, three members and one API server: CPU of the server's process alone, over TLS and HTTP/1.1, "
        "for a user with a bearer token whom roles allow what he does. The bare server is trio, `ssl` and httptools "
        "alone, with one answer of the same size to everything. Requests take turns with it, of which the middle one "
        "counts; instructions are those in user mode, as `perf` counts them.",
        lambda args: requests.run(min(args.seconds, 3.0)),
    ),
    "watches": Part(
        "What watches cost the API server",
        "One process creates and watches, over TLS and HTTP/1.1: as an administrator, whom flow control leaves alone, "
        "unless it is said to hold the creates back. Whether each watcher was told everything, once and in order, is "
        "checked afterwards.",
        lambda _: watches.run(),
    ),
    "audit": Part(
        "Who did what",
        f"CPU of recording one request, in one process, into a file; the least of {audit.TURNS} turns.",
        lambda _: audit.run(),
    ),
    "overload": Part("The store under overload", "", lambda args: overload.run(min(args.seconds, 2.0))),
    "overload-grpc": Part(
        "The store under overload, over gRPC", "", lambda args: overload_grpc.run(min(args.seconds, 2.0))
    ),
    "api": Part(
        "The API server",
        "`apilayer up`, three members and one API server, TLS everywhere. Starts are timed from the command; an API "
        "server's own, with the flags that `apilayer up` gives it, until `/readyz` is answered 200 over TLS. "
        "kube-apiserver with etcd takes 3.0 s on such a machine.",
        lambda args: api.run(args.seconds),
    ),
    "fairness": Part(
        "Fairness of the API server",
        "`apilayer up --nodes 1`, two users of one priority level. One keeps lists going from a process of its own and "
        "comes again a second after it was refused; the other has one connection.",
        lambda args: fairness.run(args.seconds, args.connections),
    ),
    "hostile": Part(
        "The API server under attack",
        "`apilayer up --nodes 1`. What it serves a greedy user at saturation is measured first; then twice that is "
        f"offered, whether or not there are answers, and {bad_clients.EACH} clients each trickle a head, trickle a "
        "handshake, flood it with connections, send garbage, endless bodies, bad tokens, never read their watches, "
        f"never read their lists. {hostile.GOOD_CLIENTS} good clients create, read and delete.",
        lambda args: hostile.run(args.minutes),
    ),
}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="how long each figure, or turn for one, is measured (%(default)s)"
    )
    parser.add_argument("--only", choices=tuple(PARTS), help="one part, printed and not written")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys, or revisions, at size (%(default)s)")
    parser.add_argument("--kills", type=int, default=20, help="how often the leader is killed (%(default)s)")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long full load lasts (%(default)s)")
    parser.add_argument("--leases", type=int, default=100_000, help="how many leases there are (%(default)s)")
    parser.add_argument("--connections", type=int, default=1_000, help="of a flood of lists (%(default)s)")
    args = parser.parse_args()
    lines = ["# Benchmarks", "", *_machine(), ""]
    print("\n".join(lines), flush=True)
    for name, part in PARTS.items():
        if args.only in (None, name):
            found = [f"## {part.title}", "", *([part.about, ""] if part.about else []), *part.run(args), ""]
            print("\n".join(found), flush=True)
            lines += found
    if args.only is None:
        PAGE.write_text("\n".join(lines))


def _machine() -> list[str]:
    etcd = "not installed"
    if shutil.which("etcd"):
        done = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True)
        etcd = done.stdout.splitlines()[0].removeprefix("etcd Version: ")
    origin = " of the system" if sys.base_prefix == "/usr" else ""
    return [
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `make bench`: {os.cpu_count()} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}{origin}, etcd {etcd}. "
        "Servers and load generator share the cores. Compare ratios, not machines."
    ]


if __name__ == "__main__":
    main()
