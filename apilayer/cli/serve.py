"""``apilayer serve``: one API server, with kube-apiserver's flags."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trio

    from apilayer.server.run import ServerOptions


def _duration(text: str) -> float:
    from apilayer.pipeline.deadline import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _seconds(text: str) -> float:
    """A plain number of seconds, as kube-apiserver takes it, or a duration."""
    return float(text) if text.isdecimal() else _duration(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0-65535)")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _urls(text: str) -> list[str]:
    urls = [url.strip().rstrip("/") for url in text.split(",") if url.strip()]
    for url in urls:
        if not url.startswith(("http://", "https://")):
            raise argparse.ArgumentTypeError(f"{url!r} is not a URL (http://host:port or https://host:port)")
    if not urls:
        raise argparse.ArgumentTypeError("at least one URL is required")
    return urls


def _backend(text: str) -> str:
    from apilayer.server.backend import BACKENDS

    if text not in BACKENDS:
        allowed = ", ".join(BACKENDS)
        raise argparse.ArgumentTypeError(
            f"{text!r} is invalid, allowed values: {allowed}. If not specified, it will default to 'etcd3'"
        )
    return text


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _add_account_flags(parser: argparse.ArgumentParser) -> None:
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
    accounts.add_argument("--service-account-jwks-uri", default="", metavar="URL", help="where others find the keys")
    accounts.add_argument(
        "--service-account-max-token-expiration", type=_duration, default=0.0, metavar="DURATION", help="0: no bound"
    )
    accounts.add_argument(
        "--service-account-extend-token-expiration",
        type=_truth,
        nargs="?",
        const=True,
        default=True,
        metavar="true|false",
        help="tokens that are projected into pods hold for a year (default true)",
    )
    accounts.add_argument(
        "--api-audiences",
        type=_names,
        default=(),
        metavar="NAME,...",
        help="audiences of this server (default: the issuer)",
    )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand with its flags."""
    parser = subparsers.add_parser("serve", help="run one API server over a store", allow_abbrev=False)
    network = parser.add_argument_group("serving")
    network.add_argument("--bind-address", default="0.0.0.0", metavar="IP")  # noqa: S104
    network.add_argument("--advertise-address", default="", metavar="HOST", help="what clients are told to connect to")
    network.add_argument("--secure-port", type=_port, default=6443, metavar="PORT")
    network.add_argument("--tls-cert-file", type=Path, required=True, metavar="FILE")
    network.add_argument("--tls-private-key-file", type=Path, required=True, metavar="FILE")
    who = parser.add_argument_group("authentication")
    who.add_argument(
        "--client-ca-file", type=Path, metavar="FILE", help="CA of client certificates (CN: user, O: groups)"
    )
    who.add_argument("--token-auth-file", type=Path, metavar="FILE", help='CSV: token,user,uid,"group1,group2"')
    who.add_argument(
        "--authorization-mode",
        type=_names,
        default=(),
        metavar="MODE,...",
        help="who decides, in the order given: RBAC, AlwaysAllow, AlwaysDeny (default: only system:masters may act)",
    )
    _add_account_flags(parser)
    store = parser.add_argument_group("store")
    store.add_argument(
        "--etcd-servers",
        type=_urls,
        action="extend",
        required=True,
        metavar="URL,...",
        help="client URLs of the members of an etcd v3 cluster, or of kvraft",
    )
    store.add_argument(
        "--storage-backend",
        type=_backend,
        default="etcd3",
        metavar="BACKEND",
        help="the protocol: etcd3, which every etcd v3 and kvraft speak; kvraft, the faster one of kvraft alone"
        " (default etcd3)",
    )
    store.add_argument(
        "--etcd-prefix", default="/registry", metavar="PREFIX", help="what every key begins with (default /registry)"
    )
    store.add_argument("--etcd-cafile", type=Path, metavar="FILE")
    store.add_argument("--etcd-certfile", type=Path, metavar="FILE")
    store.add_argument("--etcd-keyfile", type=Path, metavar="FILE")
    store.add_argument(
        "--etcd-compaction-interval", type=_duration, default=300.0, metavar="DURATION", help="0: never (default 5m)"
    )
    store.add_argument(
        "--etcd-healthcheck-timeout",
        type=_duration,
        default=2.0,
        metavar="DURATION",
        help="how long the store may take when health is checked (default 2s)",
    )
    store.add_argument(
        "--etcd-readycheck-timeout",
        type=_duration,
        default=2.0,
        metavar="DURATION",
        help="how long the store may take when readiness is checked (default 2s)",
    )
    admission = parser.add_argument_group("admission")
    admission.add_argument(
        "--enable-admission-plugins",
        type=_names,
        default=(),
        metavar="NAME,...",
        help="on besides those that are by default",
    )
    admission.add_argument(
        "--disable-admission-plugins", type=_names, default=(), metavar="NAME,...", help="off, though on by default"
    )
    admission.add_argument(
        "--admission-control", type=_names, default=(), metavar="NAME,...", help="these and no others (old spelling)"
    )
    admission.add_argument(
        "--admission-control-config-file",
        type=Path,
        metavar="FILE",
        help="AdmissionConfiguration, for plugins that take one",
    )
    services = parser.add_argument_group("services")
    services.add_argument(
        "--service-cluster-ip-range",
        default="10.0.0.0/24",
        metavar="CIDR[,CIDR]",
        help="where cluster IPs come from; two ranges of different families for dual stack",
    )
    services.add_argument("--service-node-port-range", default="30000-32767", metavar="FIRST-LAST")
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
    control.add_argument("--event-ttl", type=_duration, default=3600.0, metavar="DURATION", help="(default 1h)")
    limits = parser.add_argument_group("limits")
    limits.add_argument("--max-requests-inflight", type=_count, default=400, metavar="N", help="reads; 0: no bound")
    limits.add_argument(
        "--max-mutating-requests-inflight", type=_count, default=200, metavar="N", help="writes; 0: no bound"
    )
    limits.add_argument("--request-timeout", type=_duration, default=60.0, metavar="DURATION")
    limits.add_argument("--min-request-timeout", type=_seconds, default=1800.0, metavar="SECONDS")
    limits.add_argument("--shutdown-delay-duration", type=_duration, default=0.0, metavar="DURATION")
    parser.add_argument("-v", "--v", type=_count, default=2, metavar="LEVEL", help="4 and above: debug")


def run(arguments: argparse.Namespace) -> int:
    """Serves until SIGTERM or SIGINT; 0 after a clean shutdown, 1 when it cannot start."""
    import trio

    from apilayer.server.listener import ListenError
    from apilayer.server.logs import configure
    from apilayer.server.run import OptionsError
    from apilayer.server.tls import CertificateError

    configure(debug=arguments.v >= 4)
    failures: list[BaseException] = []
    try:
        trio.run(_serve, options_of(arguments))
    except* (ListenError, OptionsError, CertificateError) as group:
        failures = _leaves(group)
    for failure in failures:
        print(f"apilayer serve: {failure}", file=sys.stderr)
    return 1 if failures else 0


def options_of(arguments: argparse.Namespace) -> ServerOptions:
    """The server's options as the flags say."""
    import attrs

    from apilayer.server.run import ServerOptions

    return ServerOptions(**{field.name: getattr(arguments, field.name) for field in attrs.fields(ServerOptions)})


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for part in error.exceptions for leaf in _leaves(part)]
    return [error]


async def _serve(options: ServerOptions) -> None:
    import trio

    from apilayer.server.run import run_apiserver

    stop = trio.Event()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_relay, signals, stop)
            await run_apiserver(options, stop=stop)
            nursery.cancel_scope.cancel()


async def _relay(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for _ in signals:
        stop.set()
