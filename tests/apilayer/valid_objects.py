"""A valid object of every kind that is kept: those that the tables of rules begin with, and a few more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from apilayer.api.encoding import base64text
from apilayer.api.resources import RESOURCES, Resource, find
from tests.apilayer.certificates import signing_request

TABLES = Path(__file__).parent / "api" / "rules"
_POD = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
_ABOUT = {"kind": "Pod", "namespace": "default", "name": "p"}
_FURTHER: dict[str, dict[str, Any]] = {
    "v1 configmaps": {"data": {"a": "1"}, "binaryData": {"b": "AP8="}},
    "v1 secrets": {"stringData": {"a": "1"}, "type": "Opaque"},
    "v1 serviceaccounts": {"secrets": [{"name": "s"}]},
    "v1 namespaces": {},
    "v1 events": {"involvedObject": _ABOUT, "reason": "R", "count": 2, "lastTimestamp": "2024-01-02T03:04:05Z"},
    "events.k8s.io/v1 events": {
        "metadata": {"name": "b"},
        "regarding": _ABOUT,
        "reason": "R",
        "action": "A",
        "type": "Normal",
        "eventTime": "2024-01-02T03:04:05.000006Z",
        "reportingController": "x.y/z",
        "reportingInstance": "i",
    },
    "apps/v1 deployments": {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": _POD}},
    "autoscaling/v1 horizontalpodautoscalers": {
        "metadata": {"name": "b"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
    },
    "coordination.k8s.io/v1 leases": {"spec": {"holderIdentity": "h", "renewTime": "2024-01-02T03:04:05.000006Z"}},
    "resource.k8s.io/v1 resourceclaimtemplates": {"spec": {"spec": {}}},
    "apiextensions.k8s.io/v1 customresourcedefinitions": {
        "metadata": {"name": "ts.a.b"},
        "spec": {
            "group": "a.b",
            "scope": "Namespaced",
            "names": {"plural": "ts", "kind": "T"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    },
}


def kind_of(line: str) -> tuple[Resource, dict[str, Any]]:
    """The row and the object of a line of the tables: version, plural and the object in JSON."""
    api_version, plural, valid = line.split(" ", 2)
    group, _, version = api_version.rpartition("/")
    resource = find(group, version, plural)
    assert resource is not None, line
    return resource, json.loads(valid.replace("@CSR@", base64text.encode(signing_request())))


def valid_objects() -> list[tuple[Resource, dict[str, Any]]]:
    """Each row that is kept, with a valid object that has a name, in the order of the rows."""
    lines = [f"{kind} {json.dumps(body)}" for kind, body in _FURTHER.items()]
    for table in sorted(TABLES.glob("*.txt")):
        lines += [line for line in table.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#", " ")]
    found: dict[Resource, dict[str, Any]] = {}
    for line in lines:
        row, body = kind_of(line)
        metadata = {"name": "a", **body.get("metadata", {})}
        found.setdefault(row, {"apiVersion": row.api_version, "kind": row.kind, **body, "metadata": metadata})
    return [(row, found[row]) for row in RESOURCES if not row.virtual]
