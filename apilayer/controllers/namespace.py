"""Ends namespaces: deletes what is in a Terminating namespace, then lets go of it. Level-triggered, idempotent.

Source: Kubernetes documentation, "Namespaces", deletion. Several servers may run it at once over one store.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

import trio

from apilayer.api.status import StatusError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

FIRST_RETRY_SECONDS = 0.05
MAX_RETRY_SECONDS = 10.0

log = logging.getLogger("apilayer.controllers.namespace")


class NamespaceApi(Protocol):
    """What the controller needs of the cluster."""

    def terminating(self) -> AsyncGenerator[str, None]:
        """Names of namespaces that are being deleted, each at least once, for ever."""

    async def delete_contents(self, namespace: str) -> int:
        """Asks for the deletion of everything in the namespace; answers how many objects are left."""

    async def finalize(self, namespace: str) -> None:
        """Lets go of the empty namespace. Raises StatusError 404 when it is gone already."""


class NamespaceController:
    """Runs until cancelled; one task per namespace that is ending."""

    def __init__(self, api: NamespaceApi) -> None:
        self._api = api
        self._ending: set[str] = set()

    async def run(self) -> None:
        """Follows the namespaces and ends those that are to end."""
        async with trio.open_nursery() as nursery, aclosing(self._api.terminating()) as names:
            async for name in names:
                if name not in self._ending:
                    self._ending.add(name)
                    nursery.start_soon(self._end, name)

    async def _end(self, name: str) -> None:
        delay = FIRST_RETRY_SECONDS
        try:
            while True:
                try:
                    left = await self._api.delete_contents(name)
                    if not left:
                        await self._api.finalize(name)
                        return
                    log.info("namespace %s: %d objects are still there", name, left)
                except StatusError as error:
                    if error.code == 404:
                        return
                    log.warning("namespace %s: %s", name, error)
                await trio.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_SECONDS)
        finally:
            self._ending.discard(name)
