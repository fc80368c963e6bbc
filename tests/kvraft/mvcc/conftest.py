"""A store over an environment of its own."""

from __future__ import annotations

import pytest

from kvraft.mvcc.store import Store
from kvraft.storage.state import StateEnvironment


@pytest.fixture
def environment(tmp_path):
    environment = StateEnvironment.open(tmp_path, sync=False)
    yield environment
    environment.close()


@pytest.fixture
def store(environment):
    return Store(environment)
