"""Metrics of sealing values in the store, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.server.reload_metrics import reload_families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.storage.encryption.counts import SealingCounts


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
    yield from reload_families("encryption", counts.reloads)
