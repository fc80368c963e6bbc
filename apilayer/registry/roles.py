"""The roles and bindings that every cluster with role-based access has.

Those that are missing are made; to those that are there what is missing is added, unless they are annotated
``rbac.authorization.kubernetes.io/autoupdate: "false"``. Nothing that somebody added is taken away.

Source: Kubernetes documentation, "Using RBAC Authorization", "Default roles and role bindings", "Auto-reconciliation".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api import status
from apilayer.pipeline.rbac import missing_from, parse_rules
from apilayer.registry.options import DeleteOptions, WriteOptions
from apilayer.registry.services.store import OWN_MANAGER
from apilayer.registry.together import together

if TYPE_CHECKING:
    from apilayer.registry.registry import Registry

Object = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}


def default_roles() -> list[tuple[str, str, Object]]:
    """Each with its resource's qualified name and its namespace ("" for none)."""
    data = orjson.loads(Path(__file__).with_name("data").joinpath("roles.json").read_bytes())
    found = []
    for item in data:
        resource, namespace = f"{item.pop('resource')}.{GROUP}", item.pop("namespace", "")
        metadata = {
            "name": item.pop("name"),
            "labels": {**LABELS, **item.pop("labels", {})},
            "annotations": {AUTOUPDATE: "true"},
        }
        found.append((resource, namespace, {"metadata": metadata, **item}))
    return found


async def reconcile_roles(registry: Registry) -> None:
    """Brings the default roles and bindings to where they are to be. Raises StoreError, StatusError."""
    await together([partial(_reconcile, registry, *item) for item in default_roles()])
    registry.roles_are_there = True


async def _reconcile(registry: Registry, resource: str, namespace: str, wanted: Object) -> None:
    store, name, own = registry.of(resource).store, wanted["metadata"]["name"], WriteOptions(manager=OWN_MANAGER)
    entry = registry.cache.of(store.resource).get(store.key(namespace, name))
    if entry is None:
        try:
            await store.create(namespace, wanted, own)
            return
        except status.StatusError as error:
            if error.status.get("reason") != "AlreadyExists":
                raise
            entry = await store.get(namespace, name)
    present = entry.object()
    if (present["metadata"].get("annotations") or {}).get(AUTOUPDATE) == "false":
        return
    if "roleRef" in wanted and present.get("roleRef") != wanted["roleRef"]:
        await store.delete(namespace, name, DeleteOptions(uid=present["metadata"]["uid"]))
        await store.create(namespace, wanted, own)
    elif completed(present, wanted) != present:
        await store.patch(namespace, name, lambda old: completed(old, wanted), own)


def completed(present: Object, wanted: Object) -> Object:
    """A role or binding with what it lacks of a default one. Pure."""
    metadata = dict(present["metadata"])
    for key in ("labels", "annotations"):
        metadata[key] = {**wanted["metadata"][key], **(metadata.get(key) or {})}
    made = {**present, "metadata": metadata}
    if "aggregationRule" in wanted:
        selectors = list((present.get("aggregationRule") or {}).get("clusterRoleSelectors") or ())
        selectors += [item for item in wanted["aggregationRule"]["clusterRoleSelectors"] if item not in selectors]
        made["aggregationRule"] = {**(present.get("aggregationRule") or {}), "clusterRoleSelectors": selectors}
    elif "rules" in wanted:
        missing = missing_from(parse_rules(present), wanted["rules"])
        if missing:
            made["rules"] = [*(present.get("rules") or ()), *missing]
    if wanted.get("subjects"):
        subjects = list(present.get("subjects") or ())
        made["subjects"] = subjects + [item for item in wanted["subjects"] if item not in subjects]
    return made
