"""What every cluster has from the start: the system namespaces, the highest priorities, and the range of cluster IPs.

Servers over one store may all do this at once; what is there already stays as it is.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio

from apilayer.api import meta, status
from apilayer.registry.options import WriteOptions
from apilayer.registry.roles import reconcile_roles
from apilayer.registry.services.store import OWN_MANAGER
from apilayer.registry.together import together
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from apilayer.registry.registry import Registry
    from apilayer.registry.store import Object

SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
PRIORITY_CLASSES = {
    "system-node-critical": (
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
}
DEFAULT_CIDR_NAME = "kubernetes"
RETRY_SECONDS = 1.0

log = logging.getLogger("apilayer.registry.bootstrap")


async def keep_trying(registry: Registry) -> None:
    """Does `bootstrap`, however long the store takes to accept it."""
    while True:
        try:
            await bootstrap(registry)
            return
        except (StoreError, status.StatusError) as error:
            log.warning("what every cluster has cannot be created yet: %s", error)
            await trio.sleep(RETRY_SECONDS)


async def bootstrap(registry: Registry) -> None:
    """Creates what is missing. Raises StoreError, StatusError."""
    steps = [partial(step, registry) for step in (_namespaces, _priority_classes, _default_cidr)]
    if registry.has_roles:
        steps.append(partial(reconcile_roles, registry))
    await together([*steps, registry.ports.load])


async def _namespaces(registry: Registry) -> None:
    for name in SYSTEM_NAMESPACES:
        await create_if_absent(registry, "namespaces", "", {"metadata": {"name": name}})


async def _priority_classes(registry: Registry) -> None:
    for name, (value, description) in PRIORITY_CLASSES.items():
        wanted = {"metadata": {"name": name}, "value": value, "description": description}
        await create_if_absent(registry, "priorityclasses.scheduling.k8s.io", "", wanted)


async def create_if_absent(registry: Registry, group_resource: str, namespace: str, obj: Object) -> None:
    """Creates the object in the server's own name, unless one of that name is there."""
    store = registry.of(group_resource).store
    name = obj["metadata"]["name"]
    if registry.cache.of(store.resource).get(store.key(namespace, name)) is not None:
        return
    try:
        await store.create(namespace, obj, WriteOptions(manager=OWN_MANAGER))
    except status.StatusError as error:
        # A service of somebody faster is in the way by its address before it is by its name.
        if error.code not in (409, 422):
            raise
        await store.get(namespace, name)


async def _default_cidr(registry: Registry) -> None:
    """The ServiceCIDR of the flags, ready for use. One that differs is somebody's decision and stays."""
    resource = "servicecidrs.networking.k8s.io"
    cidrs = [str(item.network) for item in registry.network.ip_ranges]
    await create_if_absent(registry, resource, "", {"metadata": {"name": DEFAULT_CIDR_NAME}, "spec": {"cidrs": cidrs}})
    condition = {
        "type": "Ready",
        "status": "True",
        "lastTransitionTime": meta.timestamp(meta.utc_now()),
        "reason": "",
        "message": "Kubernetes default Service CIDR is ready",
    }

    def ready(old: Object) -> Object:
        known = (old.get("status") or {}).get("conditions") or []
        if not any(item.get("type") == "Ready" for item in known):
            old["status"] = {**(old.get("status") or {}), "conditions": [*known, condition]}
        return old

    await registry.of(resource).store.patch("", DEFAULT_CIDR_NAME, ready, WriteOptions(manager=OWN_MANAGER), "status")
