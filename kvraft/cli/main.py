"""``kvraft``: finds the command and runs it."""

from __future__ import annotations

import argparse
import sys

from kvraft.cli import serve


def build_parser() -> argparse.ArgumentParser:
    """Every command with its flags."""
    parser = argparse.ArgumentParser(prog="kvraft", description="A raft-backed key-value store with etcd v3 semantics.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    serve.add_parser(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is its answer."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.version:
        from kvraft.version import VERSION

        print(f"kvraft Version: {VERSION}")
        return 0
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    run = args.run
    return int(run(args))


if __name__ == "__main__":
    sys.exit(main())
