"""``make bench``: measure everything, print it, and write ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from tests.bench import api, size, store

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each figure is measured (%(default)s)")
    parser.add_argument("--only", choices=("store", "size", "api"), help="one part, printed and not written")
    parser.add_argument("--keys", type=int, default=1_000_000, help="keys of the store at size (%(default)s)")
    args = parser.parse_args()
    lines = ["# Benchmarks", "", *_machine(), ""]
    if args.only in (None, "store"):
        lines += ["## The store", "", *_about_store(), "", *store.run(args.seconds), ""]
    if args.only in (None, "size"):
        lines += ["## The store at size", "", _about_size(args.keys), "", *size.run(args.seconds, args.keys), ""]
    if args.only in (None, "api"):
        lines += ["## The API server", "", *_about_api(), "", *api.run(args.seconds), ""]
    print("\n".join(lines))
    if args.only is None:
        PAGE.write_text("\n".join(lines))


def _machine() -> list[str]:
    etcd = "not installed"
    if shutil.which("etcd"):
        done = subprocess.run(["etcd", "--version"], capture_output=True, text=True, check=True)
        etcd = done.stdout.splitlines()[0].removeprefix("etcd Version: ")
    return [
        f"Measured on {datetime.now(UTC):%Y-%m-%d} by `make bench`: {os.cpu_count()} cores, "
        f"Linux {platform.release()}, Python {platform.python_version()}, etcd {etcd}. "
        "Servers and load generator share the cores. Compare ratios, not machines."
    ]


def _about_store() -> list[str]:
    return [
        "Three members, 256-byte values, 10,000 keys. kvraft is asked through its native client; etcd by a gRPC "
        "client that does nothing but frame, on connections to its leader."
    ]


def _about_size(keys: int) -> str:
    return (
        f"One member each, {keys:,} keys of 256 bytes. Memory is what is not mapped from files. For the compaction "
        "every key has been put once more."
    )


def _about_api() -> list[str]:
    return ["`apilayer up`, three members and one API server, TLS everywhere. Starts are timed from the command."]


if __name__ == "__main__":
    main()
