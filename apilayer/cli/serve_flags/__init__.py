"""The flags of ``apilayer serve``, a file for each group, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.access import add_accounts, add_authentication
from apilayer.cli.serve_flags.admission import add_admission
from apilayer.cli.serve_flags.audit import add_audit
from apilayer.cli.serve_flags.authentication import add_ways
from apilayer.cli.serve_flags.authorization import add_authorization
from apilayer.cli.serve_flags.cluster import add_controllers, add_services
from apilayer.cli.serve_flags.encryption import add_encryption
from apilayer.cli.serve_flags.serving import add_limits, add_serving
from apilayer.cli.serve_flags.signing import add_signing
from apilayer.cli.serve_flags.store import add_store
from apilayer.cli.serve_flags.transport import add_shutdown, add_transport
from apilayer.cli.serve_flags.values import count

if TYPE_CHECKING:
    import argparse


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds every flag, in the order that ``--help`` shows."""
    add_serving(parser)
    add_transport(parser)
    add_authentication(parser)
    add_ways(parser)
    add_accounts(parser)
    add_authorization(parser)
    add_store(parser)
    add_encryption(parser)
    add_admission(parser)
    add_audit(parser)
    add_services(parser)
    add_controllers(parser)
    add_signing(parser)
    add_limits(parser)
    add_shutdown(parser)
    parser.add_argument("-v", "--v", type=count, default=2, metavar="LEVEL", help="4 and above: debug")
