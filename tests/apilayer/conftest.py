"""What tests of several packages share: a real one-member store in this process, a free port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from apilayer.storage.kvraft_backend import KvraftStore
from kvraft.client import open_client
from kvraft.embed import open_member
from tests import ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "member", election_ms=100, heartbeat_ms=10) as running:
        yield running


@pytest.fixture
async def store(member: Member) -> AsyncIterator[KvraftStore]:
    async with open_client(member.client_urls) as client:
        yield KvraftStore(client)


@pytest.fixture
def free_port() -> int:
    return ports.free_port()
