"""Metrics of files that are read again when they have changed, under kube-apiserver's names."""

from __future__ import annotations

import base64
import hashlib
import socket
from functools import cache
from typing import TYPE_CHECKING, Any

from apilayer.reloads import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.reloads import Reloads


def reload_families(what: str, reloads: Reloads) -> Iterator[Any]:
    """`what` is the configuration: "authentication", "authorization" or "encryption"."""
    from prometheus_client import core

    prefix, server = f"apiserver_{what}_config_controller", server_digest()
    total = core.CounterMetricFamily(
        f"{prefix}_automatic_reloads_total",
        f"Total number of automatic reloads of {what} configuration split by status and apiserver identity.",
        labels=("status", "apiserver_id_hash"),
    )
    last = core.GaugeMetricFamily(
        f"{prefix}_automatic_reload_last_timestamp_seconds",
        f"Timestamp of the last automatic reload of {what} configuration split by status and apiserver identity.",
        labels=("status", "apiserver_id_hash"),
    )
    for outcome, count in reloads.counts.items():
        total.add_metric((outcome, server), count)
        last.add_metric((outcome, server), reloads.last[outcome])
    held = core.GaugeMetricFamily(
        f"{prefix}_last_config_info",
        f"Information about the last applied {what} configuration with hash as label, split by apiserver identity.",
        labels=("apiserver_id_hash", "hash"),
    )
    if reloads.digest:
        held.add_metric((server, reloads.digest), 1)
    yield from (total, last, held)


@cache
def server_digest() -> str:
    """Which API server this is, by its host, as kube-apiserver's metrics tell servers apart."""
    host = hashlib.sha256(socket.gethostname().encode()).digest()[:16]
    name = base64.b32encode(host).decode().rstrip("=").lower()
    return digest_of(f"apiserver-{name}".encode())
