"""``apilayer down``: stop a local cluster, wherever its supervisor runs."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.cluster import state
from apilayer.cli.cluster.directory import default_data_dir, holder
from apilayer.cli.cluster.failure import ClusterError, explained

if TYPE_CHECKING:
    import argparse

DESCRIPTION = "Stop a local cluster, wherever its supervisor runs."
PATIENCE_S = 30.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its flags."""
    parser = commands.add_parser("down", help="stop a local cluster", description=DESCRIPTION)
    parser.set_defaults(run=run)
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help=f"the cluster's directory (default: {default_data_dir()})"
    )


def run(args: argparse.Namespace) -> int:
    """Exit codes: 0 when no cluster runs there any more, 1 when it cannot be stopped."""
    data_dir = (args.data_dir or default_data_dir()).absolute()
    try:
        with explained("use the data directory", data_dir):
            supervisor = holder(data_dir)
            if supervisor is None:
                print(f"no cluster runs in {data_dir}")
            else:
                _end(supervisor)
                print(f"stopped the cluster in {data_dir}")
            _remove_if_ephemeral(data_dir)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _end(supervisor: int) -> None:
    """SIGTERM, then wait; SIGKILL after 30 s, at which the kernel kills the children too."""
    try:
        pidfd = os.pidfd_open(supervisor)
        try:
            waiting = select.poll()
            waiting.register(pidfd, select.POLLIN)
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            if not waiting.poll(PATIENCE_S * 1000):
                print(f"pid {supervisor} does not end, killing it", file=sys.stderr)
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                waiting.poll(PATIENCE_S * 1000)
        finally:
            os.close(pidfd)
    except ProcessLookupError:
        return  # it has just ended by itself
    except PermissionError as error:
        raise ClusterError(f"cannot stop the cluster: pid {supervisor} belongs to another user") from error


def _remove_if_ephemeral(data_dir: Path) -> None:
    """What a supervisor that was killed could not remove itself."""
    document = state.load(data_dir)
    if document is not None and document["ephemeral"] and holder(data_dir) is None:
        shutil.rmtree(data_dir)
