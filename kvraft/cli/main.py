"""``kvraft``: finds the command and runs it."""

from __future__ import annotations

import gc
import os
import sys

INTERRUPTED, OUTPUT_CLOSED = 130, 141
"""Exit codes of a shell for programs that ended by SIGINT and by SIGPIPE."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is its answer."""
    words = sys.argv[1:] if argv is None else argv
    match words[:1]:
        case ["serve"]:  # etcd's flags are Go's
            gc.disable()  # nothing of what is loaded is garbage; see ``process.run_member``
            try:
                from kvraft.cli import serve

                return serve.main(words[1:])
            finally:
                gc.enable()
        case ["--version"]:
            from kvraft.version import version_text

            print(version_text())
            return 0
        case ["help"]:
            words = [*words[1:], "--help"]
    try:
        try:
            return _talk(words)
        finally:
            print(end="", flush=True)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED


def _talk(words: list[str]) -> int:
    """Run a command that talks to members, or about itself."""
    from kvraft.cli import help as helps
    from kvraft.cli.call import Call, run
    from kvraft.cli.commands import NOUNS, find, flags_of
    from kvraft.cli.failures import ERROR, CommandError
    from kvraft.cli.flags import HELP, UsageError, read
    from kvraft.cli.options import GLOBAL_FLAGS, read_options

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
    return run(call)


if __name__ == "__main__":
    sys.exit(main())
