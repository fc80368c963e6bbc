"""``apilayer status``: how the members and the API server of a local cluster are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.cluster import state
from apilayer.cli.cluster.directory import default_data_dir, holder
from apilayer.cli.cluster.failure import ClusterError, explained
from apilayer.cli.cluster.screen import status_text

if TYPE_CHECKING:
    import argparse


DESCRIPTION = "Show how the members and the API server of a local cluster are."


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its flags."""
    parser = commands.add_parser(
        "status", help="show the members and the API server of a local cluster", description=DESCRIPTION
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help=f"the cluster's directory (default: {default_data_dir()})"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="the form of the answer")


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0 when a cluster runs there, whatever state its servers are in; 1 when none does."""
    data_dir = (args.data_dir or default_data_dir()).absolute()
    try:
        with explained("read the data directory", data_dir):
            supervisor = holder(data_dir)
            document = state.load(data_dir)
            if supervisor is None:
                raise ClusterError(f"no cluster runs in {data_dir}")
            if document is None or document["pid"] != supervisor:
                raise ClusterError(f"the cluster in {data_dir} is starting (pid {supervisor})")
            from apilayer.cli.cluster import probe

            view = probe.cluster_view(data_dir / "pki", document)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(view, indent=2) if args.output == "json" else status_text(view))
    return 0
