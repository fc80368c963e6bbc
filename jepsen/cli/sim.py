"""``jepsen sim``: simulate whole clusters, one per seed, and report what broke with the command that repeats it."""

from __future__ import annotations

import argparse
import gc
import hashlib
import os
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from jepsen.sim.mutations import MUTATIONS
from jepsen.sim.run import Report, run_seed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEEDS_PER_JOB = 4
PER_SEED = ("elections", "faults", "operations", "unknown", "changes")
MAX_SHOWN = 5
"""Violations shown in full; the others are listed."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The ``sim`` command and its flags."""
    parser = commands.add_parser("sim", help="simulate whole clusters from seeds")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seeds", metavar="A:B", type=_seed_range, help="seeds A to B-1 (default 0:2000)")
    which.add_argument("--seed", metavar="N", type=int, help="this seed alone")
    parser.add_argument("--jobs", metavar="N", type=int, default=os.cpu_count() or 1, help="processes (default: cores)")
    parser.add_argument("--trace", action="store_true", help="print every event; needs --seed")
    parser.add_argument("--duration", metavar="S", type=float, help="simulated seconds of faults (default: by seed)")
    parser.add_argument(
        "--break", dest="break_name", choices=sorted(MUTATIONS), default="", help="break the core first"
    )
    parser.set_defaults(run=run)


def _seed_range(text: str) -> range:
    first, separator, end = text.partition(":")
    try:
        seeds = range(int(first), int(end))
    except ValueError:
        seeds = range(0)
    if not separator or not seeds:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with A < B")
    return seeds


def run(args: argparse.Namespace) -> int:
    """The command; its exit code."""
    if args.trace and args.seed is None:
        print("jepsen sim: --trace needs --seed")
        return 2
    if args.jobs < 1 or (args.duration is not None and not 0 < args.duration <= 3600):
        print("jepsen sim: --jobs must be at least 1, --duration above 0 and at most 3600")
        return 2
    if args.seed is not None:
        return _one(args)
    return _many(args, args.seeds or range(2000))


def _one(args: argparse.Namespace) -> int:
    print(f"seed {args.seed}", flush=True)
    on_trace = partial(print) if args.trace else None
    report = run_seed(args.seed, duration_s=args.duration, break_name=args.break_name, on_trace=on_trace)
    print(f"options {format_options(report)}")
    if report.check:
        print(format_violation(report, args.duration, args.break_name))
    else:
        print(f"seed {report.seed}: every check passed")
    print(
        f"{report.simulated_s:.3f} simulated seconds, {report.steps} events, {report.elections} elections, "
        f"{report.faults} faults, {report.operations} operations answered, {report.unknown} unknown, "
        f"{report.entries} entries, {report.changes} changes of members, digest {report.digest}"
    )
    return 1 if report.check else 0


def _many(args: argparse.Namespace, seeds: range) -> int:
    print(f"seeds {seeds.start}:{seeds.stop}", flush=True)
    started = time.perf_counter()
    totals: Counter[str] = Counter()
    broken: list[Report] = []
    digest = hashlib.blake2b(digest_size=8)
    for report in simulate(seeds, args.jobs, args.duration, args.break_name):
        digest.update(f"{report.seed}:{report.digest};".encode())
        totals.update({name: getattr(report, name) for name in PER_SEED})
        totals["steps"] += report.steps
        if report.check:
            broken.append(report)
            if len(broken) <= MAX_SHOWN:
                print(format_violation(report, args.duration, args.break_name), flush=True)
    seconds = time.perf_counter() - started
    count = len(seeds)
    per_seed = ", ".join(f"{totals[name] / count:.1f} {name}" for name in PER_SEED)
    print(f"{count} seeds in {seconds:.1f} s, {count / seconds:.1f} seeds/s, digest {digest.hexdigest()}")
    print(f"per seed: {totals['steps'] / count:.0f} events, {per_seed}")
    if not broken:
        print("every check passed")
        return 0
    for check, number in Counter(report.check for report in broken).most_common():
        print(f"{number} seeds violate {check}: {', '.join(str(r.seed) for r in broken if r.check == check)}")
    return 1


def simulate(seeds: Iterable[int], jobs: int, duration_s: float | None, break_name: str) -> Iterator[Report]:
    """Reports in the order of ``seeds``, whatever the number of processes."""
    run_one = partial(_quiet_run, duration_s=duration_s, break_name=break_name)
    if jobs == 1:
        yield from map(run_one, seeds)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run_one, seeds, chunksize=SEEDS_PER_JOB)


def _quiet_run(seed: int, duration_s: float | None, break_name: str) -> Report:
    """One seed with the cycle collector at rest: a run's garbage is a few megabytes, collected between runs."""
    gc.disable()
    try:
        return run_seed(seed, duration_s=duration_s, break_name=break_name)
    finally:
        gc.enable()


def format_violation(report: Report, duration_s: float | None, break_name: str) -> str:
    """Everything about a violation: seed, options, when, what, the last events, and the command that repeats it."""
    command = f"jepsen sim --seed {report.seed} --trace"
    if duration_s is not None:
        command += f" --duration {duration_s:g}"
    if break_name:
        command += f" --break {break_name}"
    lines = [
        f"VIOLATION of {report.check}: seed {report.seed}, event {report.steps}, {report.simulated_s:.6f} simulated s",
        f"  {report.detail.rstrip()}".replace("\n", "\n  "),
        f"  options {format_options(report)}",
        "  last events:",
        *(f"    {line}" for line in report.trace),
        f"  repeat it with: {command}",
    ]
    return "\n".join(lines)


def format_options(report: Report) -> str:
    """The options of a run, on one line."""
    return " ".join(f"{name}={value}" for name, value in msgspec.structs.asdict(report.options).items())
