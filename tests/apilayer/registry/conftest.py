"""A registry over a real member, its cache running, the system namespaces there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.registry import Registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trio

    from apilayer.storage.kvraft_backend import KvraftStore


@pytest.fixture
async def registry(store: KvraftStore, nursery: trio.Nursery) -> AsyncIterator[Registry]:
    registry = Registry(store)
    nursery.start_soon(registry.cache.run)
    await registry.cache.loaded.wait()
    await bootstrap(registry)
    yield registry
    nursery.cancel_scope.cancel()
