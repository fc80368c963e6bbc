"""Flags of the listener and of limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import add_truth, count, duration, port, seconds

if TYPE_CHECKING:
    import argparse


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the listener."""
    network = parser.add_argument_group("serving")
    network.add_argument("--bind-address", default="0.0.0.0", metavar="IP")  # noqa: S104 - its default
    network.add_argument("--advertise-address", default="", metavar="HOST", help="what clients are told to connect to")
    network.add_argument("--secure-port", type=port, default=6443, metavar="PORT")
    network.add_argument("--tls-cert-file", type=Path, required=True, metavar="FILE")
    network.add_argument("--tls-private-key-file", type=Path, required=True, metavar="FILE")


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Adds the bounds on requests."""
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-requests-inflight", type=count, default=400, metavar="N", help="reads; 0: no bound")
    limits.add_argument(
        "--max-mutating-requests-inflight", type=count, default=200, metavar="N", help="writes; 0: no bound"
    )
    add_truth(
        limits,
        "--enable-priority-and-fairness",
        "share the sum of both bounds as FlowSchemas and PriorityLevelConfigurations say",
        default=True,
    )
    limits.add_argument("--request-timeout", type=duration, default=60.0, metavar="DURATION")
    limits.add_argument("--min-request-timeout", type=seconds, default=1800.0, metavar="SECONDS")
