"""``kvraft serve``: one member in this process, with etcd's flags."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvraft.durations import parse_duration
from kvraft.logs import LEVELS, configure, fields

if TYPE_CHECKING:
    from kvraft.server.config import MemberConfig

log = logging.getLogger(__name__)

DEFAULT_NAME = "default"


_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


def _urls(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _boolean(text: str) -> bool:
    """As etcd's flags take it: ``--flag`` alone, or ``--flag=true``."""
    if text.lower() not in _BOOLEANS:
        raise argparse.ArgumentTypeError(f'invalid boolean value: "{text}"')
    return _BOOLEANS[text.lower()]


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its flags, named and defaulted as etcd's."""
    parser = commands.add_parser(
        "serve", help="run one member", description="Run one member. The flags are etcd's.", allow_abbrev=False
    )
    parser.set_defaults(run=run)
    add = parser.add_argument
    add("--name", default=DEFAULT_NAME, help="human-readable name of this member (%(default)s)")
    add("--data-dir", default="", help="where this member keeps its data (NAME.etcd in the current directory)")
    add("--listen-client-urls", type=_urls, default=("http://localhost:2379",), help="URLs to listen on for clients")
    add("--advertise-client-urls", type=_urls, default=(), help="client URLs as clients see them (those listened on)")
    add("--listen-peer-urls", type=_urls, default=("http://localhost:2380",), help="URLs to listen on for peers")
    add("--initial-advertise-peer-urls", type=_urls, default=(), help="peer URLs as peers see them")
    add("--initial-cluster", default="", help="every member: name=peer-url,name=peer-url")
    add(
        "--initial-cluster-state",
        choices=("new", "existing"),
        default="new",
        help="found the cluster, or join one that has added this member (%(default)s)",
    )
    add("--initial-cluster-token", default="etcd-cluster", help="keeps clusters apart (%(default)s)")
    add("--heartbeat-interval", type=int, default=100, metavar="MS", help="time between heartbeats (%(default)s)")
    add("--election-timeout", type=int, default=1000, metavar="MS", help="silence before an election (%(default)s)")
    add("--snapshot-count", type=int, default=10_000, help="entries that trigger compaction of the log (%(default)s)")
    add("--quota-backend-bytes", type=int, default=2 << 30, help="how large the state may grow (%(default)s)")
    add("--max-request-bytes", type=int, default=1_572_864, help="how large a request may be (%(default)s)")
    _add_membership_flags(parser)
    add("--auto-compaction-mode", default="periodic", help="what the retention is of: periodic or revision")
    add(
        "--auto-compaction-retention",
        default="0",
        metavar="RETENTION",
        help="what is kept of the past: hours, a duration like 30m, or a number of revisions; 0: everything",
    )
    add("--max-txn-ops", type=int, default=128, help="the most operations of a transaction (%(default)s)")
    add(
        "--experimental-watch-progress-notify-interval",
        type=_duration,
        default=600.0,
        metavar="DURATION",
        help="how often a watch that asks for it is told how far it is (10m)",
    )
    add(
        "--experimental-corrupt-check-time",
        type=_duration,
        default=600.0,
        metavar="DURATION",
        help="how often the leader compares the members' data (10m); 0: never",
    )
    add(
        "--auth-token",
        default="simple",
        metavar="KIND",
        help="tokens of users: simple, or jwt,sign-method=...,pub-key=...,priv-key=...,ttl=... (%(default)s)",
    )
    add("--auth-token-ttl", type=int, default=300, metavar="S", help="life of an unused simple token (%(default)s)")
    add("--bcrypt-cost", type=int, default=10, help="how dear it is to try a password (%(default)s)")
    for prefix, whose in (("", "clients"), ("peer-", "peers")):
        add(f"--{prefix}cert-file", default="", help=f"certificate shown to {whose}")
        add(f"--{prefix}key-file", default="", help="its private key")
        add(f"--{prefix}trusted-ca-file", default="", help=f"CA that signs the certificates of {whose}")
        add(
            f"--{prefix}client-cert-auth",
            type=_boolean,
            nargs="?",
            const=True,
            default=False,
            metavar="BOOL",
            help=f"demand a certificate from {whose}",
        )
    add("--log-level", choices=tuple(LEVELS), default="info", help="what is logged (%(default)s)")


def _add_membership_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    boolean: dict[str, Any] = {"type": _boolean, "nargs": "?", "const": True, "metavar": "BOOL"}
    add(
        "--strict-reconfig-check",
        default=True,
        help="refuse changes of the membership that would cost the quorum (%(default)s)",
        **boolean,
    )
    add("--max-learners", type=int, default=1, help="how many learners there may be (%(default)s)")
    add(
        "--auto-promote-learners",
        default=False,
        help="while this member leads, make learners voters once they have caught up",
        **boolean,
    )
    add(
        "--force-new-cluster",
        default=False,
        help="go on as the only member: the others are lost for good, and will be told so if they come back",
        **boolean,
    )
    add(
        "--snapshot-send-rate-bytes",
        type=int,
        default=64 << 20,
        help="bytes a second that snapshots for other members may take, 0: no limit (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end, 1 with one line on standard error otherwise."""
    configure(args.log_level)
    sys.setswitchinterval(0.0001)  # the disk thread must not wait long for the loop when a sync is done
    import trio  # after the flags are known to be good: it takes most of the start-up time

    from kvraft.errors import KvraftError
    from kvraft.server.config import ConfigError
    from kvraft.server.joining import join
    from kvraft.server.member import Member

    try:
        config = config_from(args)
        joining = config.initial_cluster_state == "existing" and not config.has_data
        member = Member(config, trio.run(join, config, config.peer_client_tls()) if joining else None)
    except (ConfigError, KvraftError, OSError) as error:
        print(f"kvraft: {error}".replace("\n", " "), file=sys.stderr)
        return 1

    async def serve() -> Exception | None:
        failure: Exception | None = None
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_stop_on_signal, signals, member)
                try:
                    await member.run()
                except (KvraftError, OSError) as error:
                    failure = error
                nursery.cancel_scope.cancel()
        return failure

    failure = trio.run(serve)
    if failure is not None:
        print(f"kvraft: {failure}", file=sys.stderr)
        return 1
    log.info("stopped", extra=fields(name=args.name))
    return 0


async def _stop_on_signal(signals: object, member: object) -> None:
    from kvraft.server.member import Member

    assert isinstance(member, Member)
    async for number in signals:  # type: ignore[attr-defined]
        log.info("received signal; shutting down", extra=fields(signal=signal.Signals(number).name))
        await member.stop()


def config_from(args: argparse.Namespace) -> MemberConfig:
    """The settings that the flags describe. Raises ``ConfigError``."""
    from kvraft.server.config import MemberConfig, TlsConfig, parse_initial_cluster

    peer_urls = args.initial_advertise_peer_urls or args.listen_peer_urls
    cluster = parse_initial_cluster(args.initial_cluster) or {args.name: peer_urls}
    return MemberConfig(
        name=args.name,
        data_dir=Path(args.data_dir or f"{args.name}.etcd"),
        listen_client_urls=args.listen_client_urls,
        advertise_client_urls=args.advertise_client_urls or args.listen_client_urls,
        listen_peer_urls=args.listen_peer_urls,
        initial_advertise_peer_urls=peer_urls,
        initial_cluster=cluster,
        initial_cluster_token=args.initial_cluster_token,
        initial_cluster_state=args.initial_cluster_state,
        force_new_cluster=args.force_new_cluster,
        strict_reconfig_check=args.strict_reconfig_check,
        max_learners=args.max_learners,
        auto_promote_learners=args.auto_promote_learners,
        snapshot_send_bytes_per_second=args.snapshot_send_rate_bytes,
        heartbeat_ms=args.heartbeat_interval,
        election_ms=args.election_timeout,
        snapshot_count=args.snapshot_count,
        quota_backend_bytes=args.quota_backend_bytes,
        max_request_bytes=args.max_request_bytes,
        max_txn_ops=args.max_txn_ops,
        auto_compaction_mode=args.auto_compaction_mode,
        auto_compaction_retention=args.auto_compaction_retention,
        corrupt_check_seconds=args.experimental_corrupt_check_time,
        watch_progress_seconds=args.experimental_watch_progress_notify_interval,
        auth_token=args.auth_token,
        auth_token_ttl_seconds=args.auth_token_ttl,
        bcrypt_cost=args.bcrypt_cost,
        client_tls=TlsConfig(args.cert_file, args.key_file, args.trusted_ca_file, args.client_cert_auth),
        peer_tls=TlsConfig(
            args.peer_cert_file, args.peer_key_file, args.peer_trusted_ca_file, args.peer_client_cert_auth, "--peer-"
        ),
    )
