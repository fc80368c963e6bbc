"""The flags of ``kvraft serve`` as data: etcd's names, defaults and words, one row each.

To add a flag is to add its row to its group: what is given for it arrives in the field of ``MemberConfig`` that the row
names. Help, reference page, environment variables and YAML keys follow from the rows.
"""

from __future__ import annotations

from kvraft.cli.foreign_flags import IGNORED, REFUSED
from kvraft.cli.goflags import BOOL, DURATION, INT, LIST, STRING, UINT, URLS, Flag

PREFIX = "KVRAFT"
CONFIG_FILE = Flag(
    "config-file",
    STRING,
    "",
    "Path to the server configuration file. Note that if a configuration file is provided, other command line flags "
    "and environment variables will be ignored.",
)
VERSION = Flag("version", BOOL, False, "Print the version and exit.")

_MEMBER = (
    Flag("name", STRING, "default", "Human-readable name for this member.", "name"),
    Flag("data-dir", STRING, "", "Path to the data directory (NAME.etcd where it is empty).", "data_dir"),
    Flag("wal-dir", STRING, "", "Path to the dedicated directory of the log.", "wal_dir"),
    Flag("snapshot-count", UINT, 10_000, "Number of committed transactions to trigger a snapshot.", "snapshot_count"),
    Flag(
        "snapshot-catchup-entries",
        UINT,
        5_000,
        "Number of entries for a slow follower to catch up after compacting the raft storage entries.",
        "snapshot_catchup_entries",
        older=("experimental-snapshot-catchup-entries",),
    ),
    Flag("heartbeat-interval", UINT, 100, "Time (in milliseconds) of a heartbeat interval.", "heartbeat_ms"),
    Flag("election-timeout", UINT, 1000, "Time (in milliseconds) for an election to timeout.", "election_ms"),
    Flag(
        "listen-peer-urls",
        URLS,
        ("http://localhost:2380",),
        "List of URLs to listen on for peer traffic.",
        "listen_peer_urls",
    ),
    Flag(
        "listen-client-urls",
        URLS,
        ("http://localhost:2379",),
        "List of URLs to listen on for client traffic.",
        "listen_client_urls",
    ),
    Flag(
        "listen-client-http-urls",
        URLS,
        (),
        "List of URLs to listen on for http only client traffic.",
        "listen_client_http_urls",
    ),
    Flag("enable-grpc-gateway", BOOL, True, "Enable the JSON gateway.", "enable_grpc_gateway"),
    Flag(
        "quota-backend-bytes",
        INT,
        0,
        "Sets the maximum size (in bytes) that the state may grow to. Exceeding it refuses writes. Set to 0 to use the "
        "default 2GiB limit, below 0 for none.",
        "quota_backend_bytes",
    ),
    Flag("max-txn-ops", UINT, 128, "Maximum number of operations permitted in a transaction.", "max_txn_ops"),
    Flag(
        "max-request-bytes",
        UINT,
        1_572_864,
        "Maximum client request size in bytes the server will accept.",
        "max_request_bytes",
    ),
    Flag(
        "watch-progress-notify-interval",
        DURATION,
        600.0,
        "Duration of periodic watch progress notifications.",
        "watch_progress_seconds",
        older=("experimental-watch-progress-notify-interval",),
    ),
    Flag(
        "corrupt-check-time",
        DURATION,
        600.0,
        "Duration of time between cluster corruption check passes (0: never).",
        "corrupt_check_seconds",
        older=("experimental-corrupt-check-time",),
    ),
    Flag(
        "warning-apply-duration",
        DURATION,
        0.1,
        "Time duration after which a warning is generated if applying takes more time.",
        "warning_apply_seconds",
        older=("experimental-warning-apply-duration",),
    ),
    Flag(
        "warning-unary-request-duration",
        DURATION,
        0.3,
        "Time duration after which a warning is generated if a unary request takes more time.",
        "warning_unary_seconds",
        older=("experimental-warning-unary-request-duration",),
    ),
    Flag(
        "socket-reuse-port",
        BOOL,
        False,
        "Enable to set socket option SO_REUSEPORT on listeners allowing rebinding of a port already in use.",
        "socket_reuse_port",
    ),
    Flag(
        "max-concurrent-streams",
        UINT,
        (1 << 32) - 1,
        "Maximum concurrent streams that each client can open at a time.",
        "max_concurrent_streams",
    ),
    Flag(
        "grpc-keepalive-min-time",
        DURATION,
        5.0,
        "Minimum interval duration that a client should wait before pinging server.",
        "grpc_keepalive_min_seconds",
    ),
    Flag(
        "grpc-keepalive-interval",
        DURATION,
        7200.0,
        "Frequency duration of server-to-client ping to check if a connection is alive.",
        "grpc_keepalive_interval_seconds",
    ),
    Flag(
        "grpc-keepalive-timeout",
        DURATION,
        20.0,
        "Additional duration of wait before closing a non-responsive connection.",
        "grpc_keepalive_timeout_seconds",
    ),
)

_AUTH = (
    Flag(
        "auth-token",
        STRING,
        "simple",
        "Specify a v3 authentication token type and its options ('simple' or 'jwt').",
        "auth_token",
    ),
    Flag(
        "bcrypt-cost",
        UINT,
        10,
        "Specify the cost / strength of the bcrypt algorithm for hashing auth passwords.",
        "bcrypt_cost",
    ),
    Flag("auth-token-ttl", UINT, 300, "Time (in seconds) of the auth-token-ttl.", "auth_token_ttl_seconds"),
)

_CLUSTERING = (
    Flag(
        "auto-compaction-mode",
        STRING,
        "periodic",
        "Interpret 'auto-compaction-retention' one of: periodic|revision. 'periodic' for duration based retention, "
        "defaulting to hours if no time unit is provided (e.g. '5m'). 'revision' for revision number based retention.",
        "auto_compaction_mode",
    ),
    Flag(
        "auto-compaction-retention",
        STRING,
        "0",
        "Auto compaction retention length. 0 means disable auto compaction.",
        "auto_compaction_retention",
    ),
    Flag(
        "initial-advertise-peer-urls",
        URLS,
        (),
        "List of this member's peer URLs to advertise to the rest of the cluster (those it listens on).",
        "initial_advertise_peer_urls",
    ),
    Flag(
        "initial-cluster",
        STRING,
        "",
        "Initial cluster configuration for bootstrapping, NAME=PEER-URL,... (this member alone).",
        "initial_cluster",
    ),
    Flag(
        "initial-cluster-state",
        STRING,
        "new",
        "Initial cluster state ('new' when bootstrapping a new cluster or 'existing' when adding new members to an "
        "existing cluster). After successful initialization (bootstrapping or adding), flag is ignored on restarts.",
        "initial_cluster_state",
        choices=("new", "existing"),
    ),
    Flag(
        "strict-reconfig-check",
        BOOL,
        True,
        "Reject reconfiguration requests that would cause quorum loss.",
        "strict_reconfig_check",
    ),
    Flag(
        "max-learners",
        UINT,
        1,
        "Sets the maximum number of learners that can be available in the cluster membership.",
        "max_learners",
        older=("experimental-max-learners",),
    ),
    Flag(
        "auto-promote-learners",
        BOOL,
        False,
        "While this member leads, make learners voters once they have caught up.",
        "auto_promote_learners",
    ),
    Flag(
        "snapshot-send-rate-bytes",
        UINT,
        64 << 20,
        "Bytes a second that snapshots for other members may take (0: no limit).",
        "snapshot_send_bytes_per_second",
    ),
    Flag(
        "initial-cluster-token",
        STRING,
        "etcd-cluster",
        "Initial cluster token for the cluster during bootstrap.",
        "initial_cluster_token",
    ),
    Flag(
        "advertise-client-urls",
        URLS,
        (),
        "List of this member's client URLs to advertise to the public (those it listens on).",
        "advertise_client_urls",
    ),
)


def _security(side: str, prefix: str, client_prefix: str, whose: str) -> tuple[Flag, ...]:
    """The family that clients and peers have alike. ``client_prefix`` is for the names that etcd writes differently."""
    return (
        Flag(f"{prefix}cert-file", STRING, "", f"Path to the {whose} server TLS cert file.", f"{side}.cert_file"),
        Flag(f"{prefix}key-file", STRING, "", f"Path to the {whose} server TLS key file.", f"{side}.key_file"),
        Flag(
            f"{prefix}client-cert-auth",
            BOOL,
            False,
            f"Enable {whose} cert authentication.",
            f"{side}.client_cert_auth",
        ),
        Flag(
            f"{client_prefix}crl-file",
            STRING,
            "",
            f"Path to the {whose} certificate revocation list file.",
            f"{side}.crl_file",
        ),
        Flag(
            f"{client_prefix}cert-allowed-hostname",
            LIST,
            (),
            f"Comma-separated list of allowed SAN hostnames for {whose} cert authentication.",
            f"{side}.allowed_hostnames",
        ),
        Flag(
            f"{prefix}trusted-ca-file",
            STRING,
            "",
            f"Path to the {whose} server TLS trusted CA file.",
            f"{side}.trusted_ca_file",
        ),
        Flag(
            f"{prefix}auto-tls",
            BOOL,
            False,
            f"{whose.capitalize()} TLS using generated certificates.",
            f"{side}.auto",
        ),
    )


_SECURITY = (
    *_security("client_tls", "", "client-", "client"),
    *_security("peer_tls", "peer-", "peer-", "peer"),
    Flag(
        "peer-client-cert-file",
        STRING,
        "",
        "Path to an explicit peer client TLS cert file otherwise peer cert file will be used when client auth is "
        "required.",
        "peer_tls.client_cert_file",
    ),
    Flag(
        "peer-client-key-file",
        STRING,
        "",
        "Path to an explicit peer client TLS key file otherwise peer key file will be used when client auth is "
        "required.",
        "peer_tls.client_key_file",
    ),
    Flag(
        "peer-cert-allowed-cn",
        LIST,
        (),
        "Comma-separated list of allowed CNs for inter-peer TLS authentication.",
        "peer_tls.allowed_cns",
    ),
    Flag(
        "self-signed-cert-validity",
        UINT,
        1,
        "The validity period of the client and peer certificates, unit is year.",
        "self_signed_cert_validity",
    ),
    Flag(
        "cors",
        LIST,
        ("*",),
        "Comma-separated white list of origins for CORS, or cross-origin resource sharing (empty or * means all).",
        "cors",
    ),
    Flag(
        "host-whitelist",
        LIST,
        ("*",),
        "Comma-separated acceptable hostnames from HTTP client requests, if server is not secure (empty or * means "
        "all).",
        "host_whitelist",
    ),
    Flag("cipher-suites", LIST, (), "Comma-separated list of supported TLS cipher suites.", "both_tls.cipher_suites"),
    Flag(
        "tls-min-version",
        STRING,
        "TLS1.2",
        "Minimum TLS version supported. Possible values: TLS1.2, TLS1.3.",
        "both_tls.min_version",
    ),
    Flag(
        "tls-max-version",
        STRING,
        "",
        "Maximum TLS version supported. Possible values: TLS1.2, TLS1.3.",
        "both_tls.max_version",
    ),
)

_MONITORING = (
    Flag(
        "listen-metrics-urls",
        URLS,
        (),
        "List of URLs to listen on for the metrics and health endpoints.",
        "listen_metrics_urls",
    ),
    Flag(
        "metrics",
        STRING,
        "basic",
        "Set level of detail for exported metrics, specify 'extensive' to include server side grpc histogram metrics.",
        "metrics",
        choices=("basic", "extensive"),
    ),
)

_LOGGING = (
    Flag("logger", STRING, "zap", "Currently only supports 'zap' for structured logging.", choices=("zap",)),
    Flag(
        "log-outputs",
        LIST,
        ("default",),
        "Specify 'stdout' or 'stderr', or list of comma separated output targets.",
        "log.outputs",
        older=("log-output",),
    ),
    Flag(
        "log-level",
        STRING,
        "info",
        "Configures log level. Only supports debug, info, warn, error, panic, or fatal.",
        "log.level",
        choices=("debug", "info", "warn", "error", "panic", "fatal"),
    ),
    Flag(
        "enable-log-rotation",
        BOOL,
        False,
        "Enable log rotation of a single log-outputs file target.",
        "log.rotate",
    ),
    Flag(
        "log-rotation-config-json",
        STRING,
        '{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}',
        "Configures log rotation if enabled with a JSON logger config. MaxSize(MB), MaxAge(days,0=no limit), "
        "MaxBackups(0=no limit), LocalTime(use computers local time), Compress(gzip).",
        "log.rotation_json",
    ),
    Flag("log-format", STRING, "json", "Configures log format.", "log.format", choices=("json", "console")),
)

_UNSAFE = (
    Flag("force-new-cluster", BOOL, False, "Force to create a new one-member cluster.", "force_new_cluster"),
    Flag("unsafe-no-fsync", BOOL, False, "Disables fsync, unsafe, will cause data loss.", "unsafe_no_fsync"),
)

GROUPS: dict[str, tuple[Flag, ...]] = {
    "Member": _MEMBER,
    "Clustering": _CLUSTERING,
    "Security": _SECURITY,
    "Auth": _AUTH,
    "Profiling and Monitoring": _MONITORING,
    "Logging": _LOGGING,
    "Unsafe feature": _UNSAFE,
    "Without effect here": IGNORED,
    "Refused": REFUSED,
}
FLAGS = (*(flag for group in GROUPS.values() for flag in group), CONFIG_FILE, VERSION)
