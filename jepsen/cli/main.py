"""``jepsen``: finds the command and runs it."""

from __future__ import annotations

import argparse
import sys

from jepsen.cli import sim


def build_parser() -> argparse.ArgumentParser:
    """Every command with its flags."""
    parser = argparse.ArgumentParser(prog="jepsen", description="The fault-injection harness of kvraft.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    sim.add_parser(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command. Exit code 0: every promise held; 1: one was broken; 2: wrong usage."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    return int(args.run(args))


if __name__ == "__main__":
    sys.exit(main())
