"""Keeps ``default/kubernetes`` and its endpoints as the running API servers are: one loop in each of them."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING
from uuid import uuid4

import trio

from apilayer.api import meta
from apilayer.api.services import kubernetes
from apilayer.api.status import StatusError
from apilayer.registry.bootstrap import create_if_absent
from apilayer.registry.options import DeleteOptions, WriteOptions
from apilayer.registry.services.store import OWN_MANAGER
from apilayer.storage.interface import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from apilayer.registry.registry import Registry
    from apilayer.registry.store import Object

WITHDRAW_SECONDS = 2.0
_OWN = WriteOptions(manager=OWN_MANAGER)
_SYSTEM = "kube-system"
_HOME = "default"
_SLICES = "endpointslices.discovery.k8s.io"
_LEASES = "leases.coordination.k8s.io"
_NO_CHANGES = ("metadata", "kind", "apiVersion")

log = logging.getLogger("apilayer.server.kubernetes_service")


class KubernetesService:
    """The part of one server at `address`:`port` in the service."""

    def __init__(
        self, registry: Registry, address: str, port: int, clock: Callable[[], datetime] = meta.utc_now
    ) -> None:
        self._registry = registry
        self._port = port
        self._scope = trio.CancelScope()
        self._clock = clock
        host = f"[{address}]" if ":" in address else address
        self._address = f"{host}:{port}"
        self._hostname = socket.gethostname().lower()
        self._holder = str(uuid4())
        if not kubernetes.is_publishable(address):
            log.info("%s means another machine to each client: it becomes no endpoint of default/kubernetes", address)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Renews and reconciles until cancelled; started after the first round, whatever came of it."""
        with trio.CancelScope() as self._scope:
            while True:
                try:
                    await self.once()
                except (StoreError, StatusError) as error:
                    log.warning("default/kubernetes cannot be brought up to date now: %s", error)
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await trio.sleep(kubernetes.RENEW_SECONDS)

    async def stop(self) -> None:
        """Ends `run` and takes this server out, if the store lets it within a moment."""
        self._scope.cancel()
        with trio.move_on_after(WITHDRAW_SECONDS):
            try:
                await self.withdraw()
            except (StoreError, StatusError) as error:
                log.warning("default/kubernetes still names this server for a while: %s", error)

    async def once(self) -> None:
        """One round. Raises StoreError, StatusError."""
        first = self._registry.network.ip_ranges[0]
        await create_if_absent(self._registry, "services", _HOME, kubernetes.service(first, self._port))
        await self._write(
            _LEASES, _SYSTEM, kubernetes.lease(self._hostname, self._address, self._holder, self._clock())
        )
        await self._publish()

    async def withdraw(self) -> None:
        """Takes this server out of the endpoints, because it stops. Raises StoreError, StatusError."""
        await self._delete_lease(kubernetes.lease_name(self._hostname, self._address))
        await self._publish()

    async def _publish(self) -> None:
        leases = await self._leases()
        addresses = kubernetes.live(leases, self._clock())
        await self._write("endpoints", _HOME, kubernetes.endpoints(addresses, self._port))
        await self._write(_SLICES, _HOME, kubernetes.endpoint_slice(addresses, self._port))
        for obj in leases:
            if kubernetes.is_expired(obj, self._clock()):
                await self._delete_lease(obj["metadata"]["name"])

    async def _leases(self) -> list[Object]:
        """Every server's Lease, as they are now."""
        api = self._registry.of(_LEASES)
        await api.lists.refresh()
        entries = self._registry.cache.of(api.resource).entries(api.lists.prefix(_SYSTEM))
        objects = [entry.object() for entry in entries if entry.labels]
        return [obj for obj in objects if kubernetes.IDENTITY_LABEL in obj["metadata"]["labels"]]

    async def _delete_lease(self, name: str) -> None:
        try:
            await self._registry.of(_LEASES).store.delete(_SYSTEM, name, DeleteOptions())
        except StatusError as error:
            if error.code != 404:
                raise

    async def _write(self, group_resource: str, namespace: str, wanted: Object) -> None:
        """Creates the object, or brings its contents, labels and annotations to what is wanted."""
        await create_if_absent(self._registry, group_resource, namespace, _copy(wanted))

        def change(old: Object) -> Object:
            new = {key: value for key, value in old.items() if key in _NO_CHANGES}
            new.update((key, value) for key, value in wanted.items() if key not in _NO_CHANGES)
            for key in ("labels", "annotations"):
                if key in wanted["metadata"]:
                    new["metadata"][key] = {**(new["metadata"].get(key) or {}), **wanted["metadata"][key]}
            return new

        await self._registry.of(group_resource).store.patch(namespace, wanted["metadata"]["name"], change, _OWN)


def _copy(obj: Object) -> Object:
    return {**obj, "metadata": dict(obj["metadata"])}
