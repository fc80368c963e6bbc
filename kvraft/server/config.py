"""What a member is told: its name, its place in the cluster, where it listens, and its limits."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import attrs

from kvraft.auth.passwords import MAX_COST, MIN_COST
from kvraft.channel import split_url
from kvraft.server.autocompact import parse_retention
from kvraft.server.tls import ConfigError, TlsConfig

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["ConfigError", "MemberConfig", "TlsConfig", "parse_initial_cluster"]

MAX_REQUEST_BYTES = 32 << 20
"""A snapshot's frame, and a frame among peers, must hold the largest entry with room to spare."""
OPTIONAL_URLS = ("--listen-metrics-urls", "--listen-client-http-urls")
ORIGIN = re.compile(r"https?://[^/\s]+")
MAX_QUOTA_BYTES = 1 << 40
"""The state's file is mapped with four times its quota: address space is large, not endless."""


@attrs.frozen
class MemberConfig:
    """One member. ``initial_cluster`` maps every member's name to its peer URLs, this one's included."""

    name: str
    data_dir: Path
    listen_client_urls: tuple[str, ...]
    advertise_client_urls: tuple[str, ...]
    listen_peer_urls: tuple[str, ...]
    initial_advertise_peer_urls: tuple[str, ...]
    initial_cluster: dict[str, tuple[str, ...]]
    initial_cluster_token: str = "etcd-cluster"  # noqa: S105 (a name, as etcd's default has it)
    initial_cluster_state: str = "new"
    """``new``: found the cluster with the others of ``initial_cluster``; ``existing``: join it."""
    force_new_cluster: bool = False
    strict_reconfig_check: bool = True
    max_learners: int = 1
    auto_promote_learners: bool = False
    heartbeat_ms: int = 100
    election_ms: int = 1000
    snapshot_count: int = 10_000
    snapshot_catchup_entries: int = 5_000
    quota_backend_bytes: int = 2 << 30
    max_request_bytes: int = 1_572_864
    snapshot_send_bytes_per_second: int = 64 << 20
    """What snapshots for other members may take of the network and the disk; 0: whatever they can get."""
    max_txn_ops: int = 128
    auto_compaction_mode: str = "periodic"
    auto_compaction_retention: str = "0"
    watch_progress_seconds: float = 600.0
    corrupt_check_seconds: float = 600.0
    """How often the leader compares the members' data; 0: never."""
    auth_token: str = "simple"  # noqa: S105 (a kind, as etcd's flag has it)
    auth_token_ttl_seconds: int = 300
    bcrypt_cost: int = 10
    client_tls: TlsConfig = attrs.field(factory=TlsConfig)
    peer_tls: TlsConfig = attrs.field(factory=lambda: TlsConfig(flag_prefix="--peer-"))
    self_signed_cert_validity: int = 1
    """Years that a certificate lives which this member makes for itself."""
    listen_metrics_urls: tuple[str, ...] = ()
    listen_client_http_urls: tuple[str, ...] = ()
    enable_grpc_gateway: bool = True
    metrics: str = "basic"
    """``extensive``: with a histogram of how long calls take, for each method."""
    cors: tuple[str, ...] = ("*",)
    """Origins whose pages may read what HTTP answers; "*": all of them."""
    host_whitelist: tuple[str, ...] = ("*",)
    """Names that HTTP clients may call this member by where there is no TLS; "*": all of them."""
    wal_dir: Path | None = None
    """Where the log is; None: with the rest of the data."""
    unsafe_no_fsync: bool = False
    warning_apply_seconds: float = 0.1
    warning_unary_seconds: float = 0.3
    socket_reuse_port: bool = False
    max_concurrent_streams: int = (1 << 32) - 1
    """Of a client's connection; more than ``wire.http2.connection.MAX_STREAMS`` are never allowed."""
    grpc_keepalive_min_seconds: float = 5.0
    grpc_keepalive_interval_seconds: float = 7200.0
    grpc_keepalive_timeout_seconds: float = 20.0
    """Of these a 0 is what gRPC does by itself; see ``kvraft.server.http.h2``."""
    max_connections: int = 0
    """Clients' connections at once; 0: as many as there may be open files, less ``limits.RESERVED_FILES``."""

    def __attrs_post_init__(self) -> None:
        for flag, urls in (
            ("--listen-client-urls", self.listen_client_urls),
            ("--advertise-client-urls", self.advertise_client_urls),
            ("--listen-peer-urls", self.listen_peer_urls),
            ("--initial-advertise-peer-urls", self.initial_advertise_peer_urls),
            ("--listen-metrics-urls", self.listen_metrics_urls),
            ("--listen-client-http-urls", self.listen_client_http_urls),
            *(("--initial-cluster", peer_urls) for peer_urls in self.initial_cluster.values()),
        ):
            for url in urls:
                try:
                    split_url(url)
                except ValueError as error:
                    raise ConfigError(f"{flag}: {error}") from error
            if not urls and flag not in OPTIONAL_URLS:
                raise ConfigError(f"{flag}: at least one URL is required")
        if self.name not in self.initial_cluster:
            raise ConfigError(f'couldn\'t find local name "{self.name}" in the initial cluster configuration')
        if set(self.initial_cluster[self.name]) != set(self.initial_advertise_peer_urls):
            raise ConfigError(
                "--initial-cluster has {} but missing from --initial-advertise-peer-urls={}".format(
                    ",".join(f"{self.name}={url}" for url in self.initial_cluster[self.name]),
                    ",".join(self.initial_advertise_peer_urls),
                )
            )
        self._check_numbers()
        for origin in self.cors:
            if origin != "*" and ORIGIN.fullmatch(origin) is None:
                raise ConfigError(f'--cors: "{origin}" must be "*" or have the form scheme://host[:port]')
        try:
            parse_retention(self.auto_compaction_mode, self.auto_compaction_retention)
        except ValueError as error:
            raise ConfigError(f"--auto-compaction-retention: {error}") from error
        for tls in (self.client_tls, self.peer_tls):
            tls.check()

    def _check_numbers(self) -> None:
        for flag, number in (
            ("--heartbeat-interval", self.heartbeat_ms),
            ("--election-timeout", self.election_ms),
            ("--snapshot-count", self.snapshot_count),
            ("--quota-backend-bytes", self.quota_backend_bytes),
            ("--max-request-bytes", self.max_request_bytes),
            ("--max-txn-ops", self.max_txn_ops),
            ("--auth-token-ttl", self.auth_token_ttl_seconds),
            ("--self-signed-cert-validity", self.self_signed_cert_validity),
        ):
            if number <= 0:
                raise ConfigError(f"{flag} must be >0 (set to {number})")
        for flag, number in (
            ("--max-learners", self.max_learners),
            ("--snapshot-send-rate-bytes", self.snapshot_send_bytes_per_second),
        ):
            if number < 0:
                raise ConfigError(f"{flag} must be >=0 (set to {number})")
        for flag, seconds in (
            ("--grpc-keepalive-min-time", self.grpc_keepalive_min_seconds),
            ("--grpc-keepalive-interval", self.grpc_keepalive_interval_seconds),
            ("--grpc-keepalive-timeout", self.grpc_keepalive_timeout_seconds),
        ):
            if seconds < 0:
                raise ConfigError(f"{flag} must not be negative")
        if self.initial_cluster_state not in ("new", "existing"):
            raise ConfigError(
                f'--initial-cluster-state must be "new" or "existing", not "{self.initial_cluster_state}"'
            )
        if self.watch_progress_seconds <= 0:
            raise ConfigError("--experimental-watch-progress-notify-interval must be >0")
        if self.corrupt_check_seconds < 0:
            raise ConfigError("--experimental-corrupt-check-time must not be negative")
        if not MIN_COST <= self.bcrypt_cost <= MAX_COST:
            raise ConfigError(f"--bcrypt-cost must be {MIN_COST} to {MAX_COST} (set to {self.bcrypt_cost})")
        if self.max_request_bytes > MAX_REQUEST_BYTES:
            raise ConfigError(
                f"--max-request-bytes must be at most {MAX_REQUEST_BYTES} (set to {self.max_request_bytes})"
            )
        if self.quota_backend_bytes > MAX_QUOTA_BYTES:
            raise ConfigError(
                f"--quota-backend-bytes must be at most {MAX_QUOTA_BYTES} (set to {self.quota_backend_bytes})"
            )
        if self.election_ms < 5 * self.heartbeat_ms:
            raise ConfigError(
                f"--election-timeout[{self.election_ms}ms] should be at least as 5 times as "
                f"--heartbeat-interval[{self.heartbeat_ms}ms]"
            )
        if self.election_ms > 50_000:
            raise ConfigError(
                f"--election-timeout[{self.election_ms}ms] is too long, and should be set less than 50000ms"
            )

    @property
    def dials_peers_over_tls(self) -> bool:
        """Whether peers are, or may come to be, reached at https URLs."""
        known = [url for urls in self.initial_cluster.values() for url in urls]
        wanted = bool(self.peer_tls.cert_file or self.peer_tls.trusted_ca_file)
        return wanted or any(url.startswith("https:") for url in (*known, *self.listen_peer_urls))

    @property
    def has_data(self) -> bool:
        """Whether a member has lived in the data directory: it knows by itself who it is, flags do not count."""
        return (self.data_dir / "member" / "state" / "state.mdb").exists()

    @property
    def member_ids(self) -> dict[str, int]:
        """Every member's id, made as etcd makes it: SHA-1 over its sorted peer URLs and the cluster's token."""
        return {
            name: _first_64_bits("".join(sorted(urls)).encode() + self.initial_cluster_token.encode())
            for name, urls in self.initial_cluster.items()
        }

    @property
    def cluster_id(self) -> int:
        """The cluster's id, made as etcd makes it: SHA-1 over the sorted member ids."""
        return _first_64_bits(b"".join(member_id.to_bytes(8) for member_id in sorted(self.member_ids.values())))


def _first_64_bits(data: bytes) -> int:
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8])


def parse_initial_cluster(text: str) -> dict[str, tuple[str, ...]]:
    """``name=url,name=url`` with names repeated for further URLs. Raises ``ConfigError``."""
    members: dict[str, tuple[str, ...]] = {}
    for part in filter(None, text.split(",")):
        name, equals, url = part.partition("=")
        if not equals or not name or not url:
            raise ConfigError(f'--initial-cluster: "{part}" does not have the form name=url')
        members[name] = (*members.get(name, ()), url)
    return members
