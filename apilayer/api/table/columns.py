"""The columns of every kind, as data: name, where its description stands in the schema, cell, priority.

A column of priority 0 is always shown, one of priority 1 with ``-o wide``. Descriptions that Kubernetes takes
from the API's documentation are given as a path into the kind's schema, its own ones as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.table import cells
from apilayer.api.table.pods import pod_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    Row = Callable[[Mapping[str, Any], datetime], list[Any]]

WIDE = 1


@attrs.frozen
class Column:
    """One column; `described_by` is a dotted path into the kind's schema, used when there is no `text`.

    `cell` is None where `ROWS` has a function that makes the whole row, because its cells depend on each other.
    """

    name: str
    cell: cells.Cell | None
    described_by: str = ""
    text: str = ""
    priority: int = 0
    format: str = ""


_NAME = Column("Name", cells.text("metadata", "name"), "metadata.name", format="name")
_AGE = Column("Age", cells.age("metadata", "creationTimestamp"), "metadata.creationTimestamp")

_POD_READY = "The aggregate readiness state of this pod for accepting traffic."
_POD_STATUS = "The aggregate status of the containers in this pod."
_POD_RESTARTS = (
    "The number of times the containers in this pod have been restarted and when the last container in this"
    " pod has restarted."
)

COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("", "namespaces"): (
        _NAME,
        Column("Status", cells.text("status", "phase"), text="The status of the namespace"),
        _AGE,
    ),
    ("", "configmaps"): (_NAME, Column("Data", cells.count("data", "binaryData"), "data"), _AGE),
    ("", "secrets"): (
        _NAME,
        Column("Type", cells.text("type"), "type"),
        Column("Data", cells.count("data"), "data"),
        _AGE,
    ),
    ("", "pods"): (
        _NAME,
        Column("Ready", None, text=_POD_READY),
        Column("Status", None, text=_POD_STATUS),
        Column("Restarts", None, text=_POD_RESTARTS),
        _AGE,
        Column("IP", None, "status.podIP", priority=WIDE),
        Column("Node", None, "spec.nodeName", priority=WIDE),
        Column("Nominated Node", None, "status.nominatedNodeName", priority=WIDE),
        Column("Readiness Gates", None, "spec.readinessGates", priority=WIDE),
    ),
    ("", "events"): (
        Column("Last Seen", cells.event_last_seen, "lastTimestamp"),
        Column("Type", cells.text("type"), "type"),
        Column("Reason", cells.text("reason"), "reason"),
        Column("Object", cells.event_object, "involvedObject"),
        Column(
            "Subobject",
            cells.text("involvedObject", "fieldPath"),
            "involvedObject.fieldPath",
            priority=WIDE,
        ),
        Column("Source", cells.event_source, "source", priority=WIDE),
        Column("Message", cells.event_message, "message"),
        Column("First Seen", cells.event_first_seen, "firstTimestamp", priority=WIDE),
        Column("Count", cells.event_count, "count", priority=WIDE),
        attrs.evolve(_NAME, priority=WIDE),
    ),
    ("coordination.k8s.io", "leases"): (
        _NAME,
        Column("Holder", cells.text("spec", "holderIdentity"), "spec.holderIdentity"),
        _AGE,
    ),
    ("apps", "deployments"): (
        _NAME,
        Column("Ready", cells.ready_replicas, text="Number of the pod with ready state"),
        Column("Up-to-date", cells.number("status", "updatedReplicas"), "status.updatedReplicas"),
        Column("Available", cells.number("status", "availableReplicas"), "status.availableReplicas"),
        _AGE,
        Column(
            "Containers",
            cells.container_names,
            text="Names of each container in the template.",
            priority=WIDE,
        ),
        Column(
            "Images",
            cells.container_images,
            text="Images referenced by each container in the template.",
            priority=WIDE,
        ),
        Column("Selector", cells.selector_text, "spec.selector", priority=WIDE),
    ),
}

ROWS: dict[tuple[str, str], Row] = {("", "pods"): pod_cells}
