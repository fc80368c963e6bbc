"""Flags of authorization."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import duration, names

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
    may.add_argument(
        "--authorization-config",
        type=Path,
        metavar="FILE",
        help="AuthorizationConfiguration, instead of the other flags",
    )
    may.add_argument(
        "--authorization-webhook-config-file", type=Path, metavar="FILE", help="kubeconfig of the webhook to ask"
    )
    may.add_argument(
        "--authorization-webhook-version",
        default="v1beta1",
        metavar="VERSION",
        help="of the SubjectAccessReview that it gets: v1 or v1beta1 (default v1beta1)",
    )
    may.add_argument(
        "--authorization-webhook-cache-authorized-ttl",
        type=duration,
        default=300.0,
        metavar="DURATION",
        help="how long a yes holds; 0: not at all (default 5m)",
    )
    may.add_argument(
        "--authorization-webhook-cache-unauthorized-ttl",
        type=duration,
        default=30.0,
        metavar="DURATION",
        help="how long a no holds; 0: not at all (default 30s)",
    )
