"""Metrics of auditing, under kube-apiserver's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.audit.policy import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.audit.counts import AuditCounts


def audit_families(counts: AuditCounts) -> Iterator[Any]:
    """What was recorded, and what was lost."""
    from prometheus_client import core

    yield core.CounterMetricFamily(
        "apiserver_audit_event_total",
        "Counter of audit events generated and sent to the audit backend.",
        value=counts.events,
    )
    yield core.CounterMetricFamily(
        "apiserver_audit_requests_rejected_total",
        "Counter of apiserver requests rejected due to an error in audit logging backend.",
        value=counts.rejected,
    )
    levels = core.CounterMetricFamily(
        "apiserver_audit_level_total",
        "Counter of policy levels for audit events (1 per request).",
        labels=("level",),
    )
    for level, count in zip(LEVELS, counts.levels, strict=True):
        if count:
            levels.add_metric((level,), count)
    yield levels
    errors = core.CounterMetricFamily(
        "apiserver_audit_error_total",
        "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the"
        " error.",
        labels=("plugin",),
    )
    for plugin, count in list(counts.errors.items()):
        errors.add_metric((plugin,), count)
    yield errors
