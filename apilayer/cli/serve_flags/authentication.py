"""Flags of the ways to prove who one is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import add_truth, duration, names, pair

if TYPE_CHECKING:
    import argparse


def add_ways(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of authentication beside certificates and the token file."""
    _add_proxy(parser)
    _add_local(parser)
    _add_issuers(parser)
    _add_webhook(parser)


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
    add_truth(
        local,
        "--enable-bootstrap-token-auth",
        "tokens in Secrets of type bootstrap.kubernetes.io/token in kube-system",
        default=False,
    )
    add_truth(
        local,
        "--anonymous-auth",
        "requests without credentials are system:anonymous's",
        default=True,
        decided_later=True,
    )


def _add_issuers(parser: argparse.ArgumentParser) -> None:
    issuers = parser.add_argument_group("tokens of other issuers (OpenID Connect)")
    issuers.add_argument("--oidc-issuer-url", default="", metavar="URL", help="who issues the tokens; https only")
    issuers.add_argument("--oidc-client-id", default="", metavar="NAME", help="whom the tokens must be for")
    issuers.add_argument(
        "--oidc-ca-file", type=Path, metavar="FILE", help="CA of the issuer's server (default: those of the system)"
    )
    issuers.add_argument(
        "--oidc-username-claim", default="sub", metavar="CLAIM", help="which claim is the user (default sub)"
    )
    issuers.add_argument(
        "--oidc-username-prefix",
        default="",
        metavar="TEXT",
        help="before every user; - for none (default: the issuer and #, but for the claim email)",
    )
    issuers.add_argument("--oidc-groups-claim", default="", metavar="CLAIM", help="which claim holds the groups")
    issuers.add_argument("--oidc-groups-prefix", default="", metavar="TEXT", help="before every group")
    issuers.add_argument(
        "--oidc-signing-algs", type=names, default=("RS256",), metavar="NAME,...", help="(default RS256)"
    )
    issuers.add_argument(
        "--oidc-required-claim",
        type=pair,
        action="append",
        default=[],
        metavar="CLAIM=VALUE",
        help="what a token must say; may be given more than once",
    )
    issuers.add_argument(
        "--authentication-config",
        type=Path,
        metavar="FILE",
        help="AuthenticationConfiguration: several issuers, and conditions for anonymous requests",
    )


def _add_webhook(parser: argparse.ArgumentParser) -> None:
    webhook = parser.add_argument_group("webhook that knows tokens")
    webhook.add_argument(
        "--authentication-token-webhook-config-file", type=Path, metavar="FILE", help="whom to ask, as a kubeconfig"
    )
    webhook.add_argument(
        "--authentication-token-webhook-version",
        default="v1beta1",
        metavar="VERSION",
        help="of the TokenReview that is sent and expected: v1beta1 or v1 (default v1beta1)",
    )
    webhook.add_argument(
        "--authentication-token-webhook-cache-ttl",
        type=duration,
        default=120.0,
        metavar="DURATION",
        help="how long answers are remembered (default 2m)",
    )
