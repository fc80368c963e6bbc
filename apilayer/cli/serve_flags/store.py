"""Flags of the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import backend, duration, urls

if TYPE_CHECKING:
    import argparse


def add_store(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the store."""
    store = parser.add_argument_group("store")
    store.add_argument(
        "--etcd-servers",
        type=urls,
        action="extend",
        required=True,
        metavar="URL,...",
        help="client URLs of the members of an etcd v3 cluster, or of kvraft",
    )
    store.add_argument(
        "--storage-backend",
        type=backend,
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
        "--etcd-compaction-interval", type=duration, default=300.0, metavar="DURATION", help="0: never (default 5m)"
    )
    store.add_argument(
        "--etcd-healthcheck-timeout",
        type=duration,
        default=2.0,
        metavar="DURATION",
        help="how long the store may take when health is checked (default 2s)",
    )
    store.add_argument(
        "--etcd-readycheck-timeout",
        type=duration,
        default=2.0,
        metavar="DURATION",
        help="how long the store may take when readiness is checked (default 2s)",
    )
