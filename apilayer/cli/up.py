"""``apilayer up``: start a local cluster of store members and an API server, and look after it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.cluster.detach import run_detached
from apilayer.cli.cluster.directory import default_data_dir
from apilayer.cli.cluster.failure import ClusterError
from apilayer.cli.cluster.operate import Interrupted, Options, operate
from apilayer.cli.cluster.screen import Screen

if TYPE_CHECKING:
    import argparse


DESCRIPTION = (
    "Start a local cluster of store members and an API server, with certificates and a kubeconfig, and look after it: "
    "a process that dies is restarted. Ctrl-C stops it."
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its flags."""
    parser = commands.add_parser(
        "up",
        help="start a local cluster: store members and an API server, with certificates and a kubeconfig",
        description=DESCRIPTION,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--nodes",
        type=int,
        metavar="N",
        help="store members, 1 to 6 (default: what the data directory holds, else 3); "
        "with 1, store and API server share one process",
    )
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help=f"where everything is kept (default: {default_data_dir()})"
    )
    parser.add_argument(
        "--port-base",
        type=int,
        metavar="PORT",
        help="use consecutive ports from here: client URLs, then peer URLs, then the API server "
        "(default: clients 2379, 22379, 32379, ..., peers one above each, API server 6443)",
    )
    parser.add_argument(
        "--ephemeral", action="store_true", help="keep nothing: a temporary data directory, removed at the end"
    )
    parser.add_argument(
        "--detach", action="store_true", help="return when the cluster is ready; `apilayer down` stops it"
    )
    parser.add_argument(
        "--apiserver-arg",
        action="append",
        default=[],
        metavar="FLAG",
        help="a flag for `apilayer serve`, as in --apiserver-arg=--v=4; may be repeated",
    )
    parser.add_argument(
        "--kvraft-arg",
        action="append",
        default=[],
        metavar="FLAG",
        help="a flag for every `kvraft serve`, as in --kvraft-arg=--snapshot-count=1000; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0 after a clean end, 1 when the cluster could not start, 128 + signal when told to stop before."""
    try:
        options = _options(args)
        if options.detach:
            return run_detached(options)
        operate(options, Screen(sys.stdout), ready=lambda: None)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        return 128 + int(error.args[0])
    return 0


def _options(args: argparse.Namespace) -> Options:
    data_dir: Path | None = args.data_dir
    is_default = data_dir is None and not args.ephemeral
    if data_dir is None:
        if args.ephemeral:
            try:
                data_dir = Path(tempfile.mkdtemp(prefix="apilayer-"))
            except OSError as error:
                raise ClusterError(f"cannot make a temporary data directory: {error}") from error
        else:
            data_dir = default_data_dir()
    return Options(
        data_dir=data_dir.absolute(),
        is_default=is_default,
        nodes=args.nodes,
        port_base=args.port_base,
        ephemeral=args.ephemeral,
        detach=args.detach,
        api_args=tuple(args.apiserver_arg),
        store_args=tuple(args.kvraft_arg),
    )
