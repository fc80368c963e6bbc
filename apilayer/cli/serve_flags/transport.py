"""Flags of TLS, of connections and of shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import add_truth, chance, count, duration, names

if TYPE_CHECKING:
    import argparse


def add_transport(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of TLS and of connections."""
    tls = parser.add_argument_group("transport")
    tls.add_argument(
        "--tls-min-version", default="", metavar="VERSION", help="VersionTLS12 or VersionTLS13 (default VersionTLS12)"
    )
    tls.add_argument(
        "--tls-cipher-suites",
        type=names,
        default=(),
        metavar="NAME,...",
        help="of TLS 1.2, by Go's names (default: all with forward secrecy and authenticated encryption)",
    )
    tls.add_argument(
        "--tls-sni-cert-key",
        action="append",
        default=[],
        metavar="CERT,KEY[:PATTERN,...]",
        help="a certificate for the host names that match, without patterns for those that it names; may be given more"
        " than once",
    )
    tls.add_argument(
        "--http2-max-streams-per-connection", type=count, default=0, metavar="N", help="0: the usual bound, 250"
    )
    tls.add_argument(
        "--goaway-chance",
        type=chance,
        default=0.0,
        metavar="PART",
        help="how often an HTTP/2 client is asked with a request to open another connection, 0 to 0.02 (default 0)",
    )


def add_shutdown(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of shutdown."""
    ending = parser.add_argument_group("shutdown")
    ending.add_argument(
        "--shutdown-delay-duration",
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="how long the server goes on, not ready any more, before it ends (default 0s)",
    )
    add_truth(
        ending,
        "--shutdown-send-retry-after",
        "go on listening until running requests are over, and answer new ones with 429",
        default=False,
    )
    ending.add_argument(
        "--shutdown-watch-termination-grace-period",
        type=duration,
        default=0.0,
        metavar="DURATION",
        help="over what time watches are ended, after running requests (default 0s)",
    )
