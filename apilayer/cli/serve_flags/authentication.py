"""Flags of the ways to prove who one is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import names, truth

if TYPE_CHECKING:
    import argparse


def add_ways(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of authentication beside certificates and the token file."""
    _add_proxy(parser)
    _add_local(parser)


def _add_proxy(parser: argparse.ArgumentParser) -> None:
    proxy = parser.add_argument_group("authenticating proxy")
    proxy.add_argument(
        "--requestheader-client-ca-file",
        type=Path,
        metavar="FILE",
        help="CA of proxies that name in headers for whom they ask; without it such headers mean nothing",
    )
    for flag, metavar, explained in (
        ("--requestheader-allowed-names", "NAME,...", "common names of proxies (default: any that the CA vouches for)"),
        ("--requestheader-username-headers", "HEADER,...", "who; X-Remote-User is common"),
        ("--requestheader-uid-headers", "HEADER,...", "with which uid; X-Remote-Uid is common"),
        ("--requestheader-group-headers", "HEADER,...", "in which groups; X-Remote-Group is common"),
        ("--requestheader-extra-headers-prefix", "PREFIX,...", "what else; X-Remote-Extra- is common"),
    ):
        proxy.add_argument(flag, type=names, default=(), metavar=metavar, help=explained)


def _add_local(parser: argparse.ArgumentParser) -> None:
    local = parser.add_argument_group("further ways to authenticate")
    local.add_argument(
        "--basic-auth-file", type=Path, metavar="FILE", help='CSV: password,user,uid,"group1,group2" (old)'
    )
    local.add_argument(
        "--enable-bootstrap-token-auth",
        type=truth,
        nargs="?",
        const=True,
        default=False,
        metavar="true|false",
        help="tokens in Secrets of type bootstrap.kubernetes.io/token in kube-system",
    )
    local.add_argument(
        "--anonymous-auth",
        type=truth,
        nargs="?",
        const=True,
        default=None,
        metavar="true|false",
        help="requests without credentials are system:anonymous's (default true)",
    )
