"""Flags of authorization."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import names

if TYPE_CHECKING:
    import argparse


def add_authorization(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of authorization."""
    may = parser.add_argument_group("authorization")
    may.add_argument(
        "--authorization-mode",
        type=names,
        default=(),
        metavar="MODE,...",
        help="who decides, in the order given: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny"
        " (default: only system:masters may act)",
    )
    may.add_argument(
        "--authorization-policy-file", type=Path, metavar="FILE", help="policies of ABAC, one JSON object a line"
    )
