"""Flags of what runs inside: service networks and controllers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import duration

if TYPE_CHECKING:
    import argparse


def add_services(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of service networks."""
    services = parser.add_argument_group("services")
    services.add_argument(
        "--service-cluster-ip-range",
        default="10.0.0.0/24",
        metavar="CIDR[,CIDR]",
        help="where cluster IPs come from; two ranges of different families for dual stack",
    )
    services.add_argument("--service-node-port-range", default="30000-32767", metavar="FIRST-LAST")


def add_controllers(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of controllers."""
    control = parser.add_argument_group("controllers")
    control.add_argument(
        "--controllers",
        default="*",
        metavar="NAMES",
        help="those that run in this server: * for all, NAME, -NAME, separated by commas; empty for none",
    )
    control.add_argument(
        "--root-ca-file", type=Path, metavar="FILE", help="published in every namespace as kube-root-ca.crt"
    )
    control.add_argument("--event-ttl", type=duration, default=3600.0, metavar="DURATION", help="(default 1h)")
