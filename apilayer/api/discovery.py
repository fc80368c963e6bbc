"""Discovery documents: which groups, versions, resources and verbs the server has; made from the rows alone.

Both forms: the classic ``/api``, ``/apis``, ``/apis/<group>`` and ``/apis/<group>/<version>`` documents, and
the aggregated ``apidiscovery.k8s.io/v2`` list that clients prefer. Key order is that of the real server.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from apilayer.api.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.api.resources import Resource, Subresource

Document = dict[str, Any]


def api_versions(server_address: str) -> Document:
    """``/api``: versions of the core group; `server_address` is ``host:port`` as clients reach it."""
    return {
        "kind": "APIVersions",
        "versions": _versions(""),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    }


def api_groups() -> Document:
    """``/apis``: all named groups, in the order that decides which group a short name means."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(name) for name in group_names() if name],
    }


def api_group(group: str) -> Document | None:
    """``/apis/<group>``, or None when no such group is served."""
    if not group or group not in group_names():
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group)}


def api_resource_list(group: str, version: str) -> Document | None:
    """``/api/v1`` or ``/apis/<group>/<version>``, or None when no such group version is served."""
    rows = _rows(group, version)
    if not rows:
        return None
    entries: list[Document] = []
    for row in rows:
        entries.append(_api_resource(row))
        entries.extend(_api_subresource(row, sub) for sub in _sorted_subresources(row))
    head: Document = {"kind": "APIResourceList"}
    if group:
        head["apiVersion"] = "v1"
    return {**head, "groupVersion": rows[0].api_version, "resources": entries}


def aggregated(core: bool) -> Document:
    """The ``APIGroupDiscoveryList`` of ``/api`` (`core`) or ``/apis``, version apidiscovery.k8s.io/v2."""
    groups = [""] if core else [name for name in group_names() if name]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [
            {
                "metadata": {"name": group} if group else {},
                "versions": [
                    {
                        "version": version,
                        "resources": [_aggregated_resource(row) for row in _rows(group, version)],
                        "freshness": "Current",
                    }
                    for version in _versions(group)
                ],
            }
            for group in groups
        ],
    }


def storage_version_hash(row: Resource) -> str:
    """Base64 of the first 8 bytes of SHA-256 of the stored ``group/version/kind``, as Kubernetes computes it."""
    kept = row.storage
    digest = hashlib.sha256(f"{kept.group}/{kept.version}/{kept.kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


def group_names() -> list[str]:
    """The served groups in discovery order, the core group ("") first."""
    return list(dict.fromkeys(row.group for row in RESOURCES))


def _versions(group: str) -> list[str]:
    return list(dict.fromkeys(row.version for row in RESOURCES if row.group == group))


def _rows(group: str, version: str) -> list[Resource]:
    rows = [row for row in RESOURCES if row.group == group and row.version == version]
    return sorted(rows, key=lambda row: row.plural)


def _sorted_subresources(row: Resource) -> Sequence[Subresource]:
    return sorted(row.subresources, key=lambda sub: sub.name)


def _group(group: str) -> Document:
    versions = [{"groupVersion": f"{group}/{version}", "version": version} for version in _versions(group)]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


def _api_resource(row: Resource) -> Document:
    entry: Document = {
        "name": row.plural,
        "singularName": row.singular,
        "namespaced": row.namespaced,
        "kind": row.kind,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if not row.virtual:
        entry["storageVersionHash"] = storage_version_hash(row)
    return entry


def _api_subresource(row: Resource, sub: Subresource) -> Document:
    entry: Document = {
        "name": f"{row.plural}/{sub.name}",
        "singularName": "",
        "namespaced": row.namespaced,
    }
    if (sub.group, sub.version) != (row.group, row.version):
        entry["group"] = sub.group
        entry["version"] = sub.version
    entry["kind"] = sub.kind
    entry["verbs"] = list(sub.verbs)
    return entry


def _response_kind(group: str, version: str, kind: str, row: Resource) -> Document:
    """Group and version stay empty where they are those of the list the entry stands in."""
    if (group, version) == (row.group, row.version):
        return {"group": "", "version": "", "kind": kind}
    return {"group": group, "version": version, "kind": kind}


def _aggregated_resource(row: Resource) -> Document:
    entry: Document = {
        "resource": row.plural,
        "responseKind": _response_kind(row.group, row.version, row.kind, row),
        "scope": "Namespaced" if row.namespaced else "Cluster",
        "singularResource": row.singular,
        "verbs": list(row.verbs),
    }
    if row.short_names:
        entry["shortNames"] = list(row.short_names)
    if row.categories:
        entry["categories"] = list(row.categories)
    if row.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _response_kind(sub.group, sub.version, sub.kind, row),
                "verbs": list(sub.verbs),
            }
            for sub in _sorted_subresources(row)
        ]
    return entry
