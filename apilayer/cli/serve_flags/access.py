"""Flags that say who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import add_truth, duration, names

if TYPE_CHECKING:
    import argparse


def add_authentication(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of authentication."""
    who = parser.add_argument_group("authentication")
    who.add_argument(
        "--client-ca-file", type=Path, metavar="FILE", help="CA of client certificates (CN: user, O: groups)"
    )
    who.add_argument("--token-auth-file", type=Path, metavar="FILE", help='CSV: token,user,uid,"group1,group2"')


def add_accounts(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of service accounts and their tokens."""
    accounts = parser.add_argument_group("service accounts")
    accounts.add_argument(
        "--service-account-signing-key-file", type=Path, metavar="FILE", help="private key (PEM) that signs tokens"
    )
    accounts.add_argument(
        "--service-account-key-file",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="further keys (PEM) that tokens are verified with; may be given more than once",
    )
    accounts.add_argument(
        "--service-account-issuer",
        action="append",
        default=[],
        metavar="URL",
        help="who tokens are issued by; further ones are accepted",
    )
    add_truth(accounts, "--service-account-lookup", "tokens of the old kind must be in their Secrets", default=True)
    accounts.add_argument("--service-account-jwks-uri", default="", metavar="URL", help="where others find the keys")
    accounts.add_argument(
        "--service-account-max-token-expiration", type=duration, default=0.0, metavar="DURATION", help="0: no bound"
    )
    add_truth(
        accounts,
        "--service-account-extend-token-expiration",
        "tokens that are projected into pods hold for a year",
        default=True,
    )
    accounts.add_argument(
        "--api-audiences",
        type=names,
        default=(),
        metavar="NAME,...",
        help="audiences of this server (default: the issuer)",
    )
