"""Every backend, so that what is promised of a store is tested on each: kvraft by its own protocol and by etcd's,
Debian's etcd, and the store in memory that stands for them in other tests."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest

from apilayer.storage.etcd_backend import EtcdStore
from apilayer.storage.kvraft_backend import KvraftStore
from kvraft.client import open_client
from kvraft.embed import open_member
from tests.apilayer.memory_store import MemoryStore
from tests.apilayer.storage.backends import IN_MEMORY, ON_A_STORE
from tests.apilayer.storage.encryption.configurations import keyed, rule, sealing
from tests.kvraft.client.etcd.stores import start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from apilayer.storage.interface import Store
    from tests.kvraft.processes import Processes


@contextmanager
def _etcd(directory: Path) -> Iterator[Processes]:
    yield from start("etcd", directory, 1)


@pytest.fixture(scope="module")
def etcd_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real etcd, for the tests of a module one after the other."""
    with _etcd(tmp_path_factory.mktemp("etcd")) as processes:
        yield processes.urls[0]


@asynccontextmanager
async def _on_etcd(url: str) -> AsyncIterator[EtcdStore]:
    async with open_client([url], protocol="etcd", timeout_seconds=30) as client:
        await client.delete_range(b"\0", b"\0")  # what the test before has left
        yield EtcdStore(client)


@asynccontextmanager
async def _on_kvraft(directory: Path, backend: str) -> AsyncIterator[KvraftStore]:
    async with open_member(directory, election_ms=100, heartbeat_ms=10) as member:
        if backend == "kvraft":
            async with open_client(member.client_urls) as client:
                yield KvraftStore(client)
        else:
            async with open_client(member.client_urls, protocol="etcd") as client:
                yield EtcdStore(client)


@pytest.fixture(params=[*IN_MEMORY, *ON_A_STORE])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore()
        return
    if request.param == "sealed":
        yield sealing(MemoryStore(), rule([keyed("aesgcm", "a")], "*.*"))
        return
    if request.param == "etcd3":
        opened = _on_etcd(request.getfixturevalue("etcd_url"))
    else:
        opened = _on_kvraft(tmp_path / "member", request.param)
    async with opened as store:
        yield store
