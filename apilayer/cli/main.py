"""``apilayer``: picks the subcommand; its module is imported only when it is used."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT_CLOSED = 141
"""Exit code of a shell for a program that ended by SIGPIPE."""

COMMANDS = {
    "serve": "run one API server over a store",
    "up": "run a local cluster: stores, API server, certificates, kubeconfig",
    "status": "show the local cluster",
    "down": "stop the local cluster",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line, and exits with 1 as kube-apiserver does."""

    def error(self, message: str) -> NoReturn:
        """Ends the program."""
        self.exit(1, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; answers the exit status."""
    try:
        try:
            return _run(list(sys.argv[1:] if argv is None else argv))
        finally:
            gc.enable()
            print(end="", flush=True)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OUTPUT_CLOSED


def _run(arguments: list[str]) -> int:
    chosen = next((word for word in arguments if not word.startswith("-")), "")
    parser = Parser(prog="apilayer", description="A Kubernetes API server over kvraft.")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    module = None
    for name, summary in COMMANDS.items():
        if name == chosen:
            if name == "serve":
                gc.disable()  # nothing of what is loaded is garbage; see ``serve.settle``
            module = import_module(f"apilayer.cli.{name}")
            module.add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary)
    options = parser.parse_args(arguments)
    assert module is not None
    return int(module.run(options))


if __name__ == "__main__":
    sys.exit(main())
