"""``kvraft``: finds the command and runs it."""

from __future__ import annotations

import argparse
import sys

from kvraft.cli import serve, snapshot


def build_parser() -> argparse.ArgumentParser:
    """Every command with its flags."""
    parser = argparse.ArgumentParser(prog="kvraft", description="A raft-backed key-value store with etcd v3 semantics.")
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("serve", help="run one member", add_help=False)  # reads its flags itself: see ``main``
    snapshot.add_parser(commands)
    commands.add_parser("version", help="print the version")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is its answer."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["serve"]:  # etcd's flags are Go's, which argparse cannot read
        return serve.main(arguments[1:])
    parser = build_parser()
    args = parser.parse_args(arguments)
    if args.version or args.command == "version":
        from kvraft.version import version_text

        print(version_text())
        return 0
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    run = args.run
    return int(run(args))


if __name__ == "__main__":
    sys.exit(main())
