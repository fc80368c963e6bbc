"""Flags of etcd's that have no meaning here: those that can be left alone, with the reason, and those that cannot.

A unit file that has them still starts a member: the first are warned of when they are given, the second are refused by
name, but only with another value than what holds here anyway. Spellings of etcd 3.4 and 3.5 count too.
"""

from __future__ import annotations

from kvraft.cli.goflags import BOOL, DURATION, INT, LIST, STRING, UINT, Flag

_NO_CALLS = "this member does not call its own client URLs"
_TRACING = "traces are not exported"
_NO_V2 = "the v2 API is not served"
_DISCOVERY = "a cluster is made from --initial-cluster alone"

IGNORED = (
    Flag(
        "initial-election-tick-advance",
        BOOL,
        True,
        "Whether to fast-forward initial election ticks on boot for faster election.",
        ignored="an election starts as soon as a majority is connected",
    ),
    Flag("max-snapshots", UINT, 5, "Maximum number of snapshot files to retain.", ignored="there are no such files"),
    Flag("max-wals", UINT, 5, "Maximum number of wal files to retain.", ignored="the log is one file"),
    Flag(
        "backend-bbolt-freelist-type",
        STRING,
        "map",
        "Type of freelist of the bbolt backend.",
        ignored="the state is not kept in bbolt",
        older=("experimental-backend-bbolt-freelist-type",),
        choices=("map", "array"),
    ),
    Flag(
        "backend-batch-interval",
        DURATION,
        0.0,
        "Maximum time before commit of the backend transaction.",
        ignored="the state is committed ten times a second; the log has what a crash takes",
    ),
    Flag(
        "backend-batch-limit",
        INT,
        0,
        "Maximum operations before commit of the backend transaction.",
        ignored="the state is committed at 10,000 operations; the log has what a crash takes",
    ),
    Flag(
        "socket-reuse-address",
        BOOL,
        False,
        "Enable to set socket option SO_REUSEADDR on listeners.",
        ignored="it is always set",
    ),
    Flag(
        "raft-read-timeout",
        DURATION,
        5.0,
        "Read timeout set on each connection of peers.",
        ignored="a silent peer is noticed after 5s",
    ),
    Flag(
        "raft-write-timeout",
        DURATION,
        5.0,
        "Write timeout set on each connection of peers.",
        ignored="a silent peer is noticed after 5s",
    ),
    Flag(
        "memory-mlock",
        BOOL,
        False,
        "Enable to enforce pages of the state to stay in RAM.",
        ignored="the pages are those of the kernel's page cache",
        older=("experimental-memory-mlock",),
    ),
    Flag(
        "compaction-batch-limit",
        INT,
        1000,
        "Sets the maximum revisions deleted in each compaction batch.",
        ignored="a compaction goes in pieces of about a millisecond",
        older=("experimental-compaction-batch-limit",),
    ),
    Flag(
        "compaction-sleep-interval",
        DURATION,
        0.01,
        "Sets the sleep interval between each compaction batch.",
        ignored="a compaction goes in pieces of about a millisecond, with everybody else's turn between",
        older=("experimental-compaction-sleep-interval",),
    ),
    Flag(
        "downgrade-check-time",
        DURATION,
        5.0,
        "Duration of time between two downgrade status checks.",
        ignored="a version is not negotiated",
        older=("experimental-downgrade-check-time",),
    ),
    Flag(
        "bootstrap-defrag-threshold-megabytes",
        UINT,
        0,
        "Enable the defrag during bootstrap on condition that it will free at least the provided threshold.",
        ignored="freed pages are used again; a start never waits for them",
        older=("experimental-bootstrap-defrag-threshold-megabytes",),
    ),
    Flag(
        "stop-grpc-service-on-defrag",
        BOOL,
        False,
        "Enable to stop serving client requests on defragmentation.",
        ignored="a defragmentation blocks nobody",
        older=("experimental-stop-grpc-service-on-defrag",),
    ),
    Flag(
        "txn-mode-write-with-shared-buffer",
        BOOL,
        True,
        "Enable the write transaction to use a shared buffer in its readonly check operations.",
        ignored="reads and writes of a transaction always share the state",
        older=("experimental-txn-mode-write-with-shared-buffer",),
    ),
    Flag(
        "enable-lease-checkpoint",
        BOOL,
        False,
        "Enable leader to send regular checkpoints to other members.",
        ignored="it always does",
        older=("experimental-enable-lease-checkpoint",),
    ),
    Flag(
        "enable-lease-checkpoint-persist",
        BOOL,
        False,
        "Enable persisting remainingTTL to prevent indefinite auto-renewal of long lived leases.",
        ignored="it is always persisted",
        older=("experimental-enable-lease-checkpoint-persist",),
    ),
    Flag("v2-deprecation", STRING, "", "Phase of v2store deprecation.", ignored="there is no v2 store"),
    Flag("client-cert-file", STRING, "", "Path to an explicit client TLS cert file.", ignored=_NO_CALLS),
    Flag("client-key-file", STRING, "", "Path to an explicit client TLS key file.", ignored=_NO_CALLS),
    Flag(
        "peer-skip-client-san-verification",
        BOOL,
        False,
        "Skip verification of SAN field in client certificate for peer connections.",
        ignored="a peer's address is not compared with its certificate",
        older=("experimental-peer-skip-client-san-verification",),
    ),
    Flag(
        "pre-vote",
        BOOL,
        True,
        "Enable the raft Pre-Vote algorithm to prevent disruption when a node that has been partitioned away rejoins "
        "the cluster.",
        ignored="it is always on",
    ),
    Flag(
        "enable-pprof",
        BOOL,
        False,
        "Enable runtime profiling data via HTTP server.",
        ignored="there is no Go runtime to profile",
    ),
    Flag(
        "enable-distributed-tracing",
        BOOL,
        False,
        "Enable distributed tracing using OpenTelemetry Tracing.",
        ignored=_TRACING,
        older=("experimental-enable-distributed-tracing",),
    ),
    Flag(
        "wait-cluster-ready-timeout",
        DURATION,
        5.0,
        "Maximum duration to wait for the cluster to be ready.",
        ignored="clients are served at once; it is ready when it knows a leader",
        older=("experimental-wait-cluster-ready-timeout",),
    ),
    Flag(
        "set-member-localaddr",
        BOOL,
        False,
        "Enable to have etcd use the first specified and non-loopback host from initial-advertise-peer-urls as the "
        "local address when communicating with a peer.",
        ignored="the system chooses the address; peers are known by what they say and by their certificates",
        older=("experimental-set-member-localaddr",),
    ),
    Flag("debug", BOOL, False, "Enable debug-level logging.", ignored="--log-level=debug does it"),
    Flag(
        "log-package-levels",
        STRING,
        "",
        "Specify a particular log level for each package.",
        ignored="--log-level is for all of it",
    ),
    *(
        Flag(f"proxy-{name}", UINT, default, "A setting of the v2 proxy.", ignored="there is no v2 proxy")
        for name, default in (
            ("failure-wait", 5000),
            ("refresh-interval", 30_000),
            ("dial-timeout", 1000),
            ("write-timeout", 5000),
            ("read-timeout", 0),
        )
    ),
    Flag("disable-log-sampling", BOOL, False, "Disable log sampling.", ignored="lines are not sampled"),
    *(
        Flag(
            f"distributed-tracing-{suffix}",
            STRING,
            "",
            "A setting of distributed tracing.",
            ignored=_TRACING,
            older=(f"experimental-distributed-tracing-{suffix}",),
        )
        for suffix in ("address", "service-name", "instance-id", "sampling-rate")
    ),
    Flag(
        "feature-gates",
        LIST,
        (),
        "A set of key=value pairs that describe server level feature gates.",
        ignored="what etcd's gates switch is always as safe as it can be here",
    ),
    Flag(
        "initial-corrupt-check",
        BOOL,
        False,
        "Enable to check data corruption before serving any client/peer traffic.",
        ignored="it is always checked",
        older=("experimental-initial-corrupt-check",),
    ),
    Flag(
        "compact-hash-check-enabled",
        BOOL,
        False,
        "Enable leader to periodically check followers compaction hashes.",
        ignored="the members' data is compared every --corrupt-check-time",
        older=("experimental-compact-hash-check-enabled",),
    ),
    Flag(
        "compact-hash-check-time",
        DURATION,
        60.0,
        "Duration of time between leader checks followers compaction hashes.",
        ignored="the members' data is compared every --corrupt-check-time",
        older=("experimental-compact-hash-check-time",),
    ),
    *(
        Flag(name, STRING, "", "No longer supported.", ignored="flag is no longer supported")
        for name in (
            "cluster-active-size",
            "cluster-remove-delay",
            "cluster-sync-interval",
            "config",
            "force",
            "max-result-buffer",
            "max-retry-attempts",
            "peer-heartbeat-interval",
            "peer-election-timeout",
            "retry-interval",
            "snapshot",
            "v",
            "vv",
        )
    ),
)

REFUSED = (
    Flag("enable-v2", BOOL, False, "Accept etcd V2 client requests.", refused=_NO_V2),
    Flag("experimental-enable-v2v3", STRING, "", "Serve v2 requests through the v3 backend.", refused=_NO_V2),
    Flag(
        "proxy",
        STRING,
        "off",
        "Proxy mode setting.",
        refused="there is no v2 proxy",
        choices=("off", "readonly", "on"),
    ),
    *(
        Flag(f"discovery{suffix}", STRING, "", "Discovery of a cluster's members.", refused=_DISCOVERY)
        for suffix in ("", "-endpoints", "-token", "-proxy", "-srv", "-srv-name", "-user", "-password")
    ),
    Flag(
        "discovery-fallback",
        STRING,
        "exit",
        "Expected behavior when discovery fails.",
        refused=_DISCOVERY,
        choices=("exit", "proxy"),
    ),
)
