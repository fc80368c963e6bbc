"""Metrics of sealing values in the store, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.storage.encryption.counts import SealingCounts

_RELOADS = "apiserver_encryption_config_controller_automatic_reload"


def sealing_families(counts: SealingCounts) -> Iterator[Any]:
    """What was sealed and opened, and changes of the configuration."""
    from prometheus_client import core

    operations = core.CounterMetricFamily(
        "apiserver_storage_transformation_operations_total",
        "Total number of transformations. Successful transformation will have a status 'OK' and a varied status string"
        " when the transformation fails.",
        labels=("resource", "transformation_type", "transformer_prefix", "status"),
    )
    for labels, count in list(counts.transformations.items()):
        operations.add_metric(labels, count)
    yield operations
    reloads = core.CounterMetricFamily(
        f"{_RELOADS}s_total",
        "Total number of reload successes and failures of encryption configuration.",
        labels=("status",),
    )
    last = core.GaugeMetricFamily(
        f"{_RELOADS}_last_timestamp_seconds",
        "Timestamp of the last successful or failed automatic reload of encryption configuration.",
        labels=("status",),
    )
    for outcome, count in counts.reloads.items():
        reloads.add_metric((outcome,), count)
        last.add_metric((outcome,), counts.last_reload[outcome])
    yield reloads
    yield last
