"""``apilayer serve``: one API server, with kube-apiserver's flags."""

from __future__ import annotations

import gc
import signal
import sys
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags import add_flags
from apilayer.cli.serve_flags.audit import audit_options

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

    import trio

    from apilayer.server.options import ServerOptions


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand with its flags."""
    add_flags(subparsers.add_parser("serve", help="run one API server over a store", allow_abbrev=False))


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; 0 after a clean shutdown, 1 when it cannot start."""
    import trio

    from apilayer.server.errors import OptionsError
    from apilayer.server.listener import ListenError
    from apilayer.server.logs import configure
    from apilayer.server.tls import CertificateError

    configure(debug=arguments.v >= 4)
    failures: list[BaseException] = []
    try:
        options = options_of(arguments)
        settle()
        trio.run(_serve, options)
    except* (ListenError, OptionsError, CertificateError) as group:
        failures = _leaves(group)
    for failure in failures:
        print(f"apilayer serve: {failure}", file=sys.stderr)
    return 1 if failures else 0


def settle() -> None:
    """Load what serves. All of it stays: to look for garbage in it, put off until now, would hold up the loop."""
    import apilayer.server.run  # noqa: F401 - called later

    gc.freeze()
    gc.enable()


def options_of(arguments: argparse.Namespace) -> ServerOptions:
    """The server's options as the flags say."""
    import attrs

    from apilayer.server.options import ServerOptions

    arguments.audit = audit_options(arguments)
    return ServerOptions(**{field.name: getattr(arguments, field.name) for field in attrs.fields(ServerOptions)})


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


async def _serve(options: ServerOptions) -> None:
    import trio

    from apilayer.server.run import run_apiserver

    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_relay, signals, stop)
            await run_apiserver(options, stop=stop)
            nursery.cancel_scope.cancel()


async def _relay(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for _ in signals:
        stop.set()
