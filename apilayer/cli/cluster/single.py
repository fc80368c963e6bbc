"""Store and API server in one process: ``python -m apilayer.cli.cluster.single STORE-FLAGS --apiserver API-FLAGS``.

The store's flags are those of ``kvraft serve``, the API server's those of ``apilayer serve``; both run in one trio
loop and talk over the loopback interface as they would between processes. This is the one module of ``apilayer``
that starts a store.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

import trio

from apilayer.cli import serve as api_command
from apilayer.cli.cluster.commands import SEPARATOR
from kvraft.cli import serve as store_command
from kvraft.cli.goflags import FlagError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from apilayer.server.options import ServerOptions
    from kvraft.server.member import Member


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end, 1 with one line on standard error otherwise."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if SEPARATOR not in arguments:
        print(f"error: {SEPARATOR} must stand between the store's and the API server's flags", file=sys.stderr)
        return 2
    at = arguments.index(SEPARATOR)
    parser = argparse.ArgumentParser(prog="apilayer")
    api_command.add_parser(parser.add_subparsers())
    api_args = parser.parse_args(["serve", *arguments[at + 1 :]])
    gc.disable()  # until all is loaded; see ``settle``

    from apilayer.server import logs as api_logs
    from apilayer.server.errors import OptionsError
    from apilayer.server.listener import ListenError
    from apilayer.server.tls import CertificateError
    from kvraft import logs as store_logs
    from kvraft.errors import KvraftError
    from kvraft.server.config import ConfigError
    from kvraft.server.member import Member

    api_logs.configure(debug=api_args.v >= 4)
    try:
        settings = store_command.load(arguments[:at], os.environ)
        store_logs.configure(settings.log)
    except (FlagError, ConfigError, OSError) as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        return mistake.code if isinstance(mistake, FlagError) else 1
    failures: list[BaseException] = []
    try:
        member, options = Member(settings.member), api_command.options_of(api_args)
        api_command.settle()
        trio.run(_serve, member, options)
    except* (ListenError, OptionsError, CertificateError, ConfigError, KvraftError, OSError) as group:
        failures = _leaves(group)
    for error in failures:
        print(f"error: {error}", file=sys.stderr)
    return 1 if failures else 0


async def _serve(member: Member, options: ServerOptions) -> None:
    """Both, until a signal: the API server is drained first, while the store still answers it."""
    from apilayer.server.run import run_apiserver

    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_set_on_signal, signals, stop)
            async with trio.open_nursery() as store:
                store.start_soon(member.run)
                await run_apiserver(options, stop=stop)
                await member.stop()
            nursery.cancel_scope.cancel()


async def _set_on_signal(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for _ in signals:
        stop.set()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The single errors of a group, however deep."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


if __name__ == "__main__":
    sys.exit(main())
