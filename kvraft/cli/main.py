"""``kvraft``: finds the command and runs it."""

from __future__ import annotations

import argparse
import os
import sys

from kvraft.cli import serve


def build_parser() -> argparse.ArgumentParser:
    """``kvraft serve`` with its flags."""
    parser = argparse.ArgumentParser(prog="kvraft", description="A raft-backed key-value store with etcd v3 semantics.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    serve.add_parser(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is its answer."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["serve"]:
        args = build_parser().parse_args(words)
        run = args.run
        return int(run(args))
    try:
        return control(words)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def control(words: list[str]) -> int:
    """Run a command that talks to members, or about itself."""
    from kvraft.cli import help as helps
    from kvraft.cli.call import Call, run
    from kvraft.cli.commands import COMMANDS, NOUNS, find, flags_of
    from kvraft.cli.failures import ERROR, CommandError
    from kvraft.cli.flags import HELP, UsageError, read
    from kvraft.cli.options import GLOBAL_FLAGS, read_options

    if "--version" in words[:1]:
        words = ["version"]
    elif words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    name, command, rest = find(words)
    if command is None and name and name not in NOUNS:
        print(f'Error: unknown command "{name}" for "kvraft"', file=sys.stderr)
        print("Run 'kvraft --help' for usage.", file=sys.stderr)
        return ERROR
    text = helps.command_help(command) if command else helps.noun_help(name) if name else helps.overview()
    try:
        line = read(flags_of(command) if command else (*GLOBAL_FLAGS, HELP), rest)
        if command is None or line.values.get("help"):
            print(text)
            return 0
        call = Call(command, read_options(line, os.environ), line)
    except UsageError as error:
        print(text)
        print(f"Error: {error}", file=sys.stderr)
        return ERROR
    except CommandError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.code
    assert name in COMMANDS
    return run(call)


if __name__ == "__main__":
    sys.exit(main())
