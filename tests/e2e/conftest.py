"""Clusters for the end-to-end tests, stopped whatever happens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.cluster import LocalCluster
from tests.e2e.on_etcd import one_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.on_etcd import Cluster

STORES = ["kvraft", "etcd"]


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Every test here is slow. Where those are left out, no worker needs to load the client libraries for them."""
    return True if config.getoption("markexpr") == "not slow" else None


@pytest.fixture
def local_cluster(tmp_path: Path) -> Iterator[Callable[[int], LocalCluster]]:
    """A factory of clusters, not started yet: ``local_cluster(nodes)``."""
    made: list[LocalCluster] = []

    def make(nodes: int) -> LocalCluster:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(LocalCluster(folder, nodes))
        return made[-1]

    yield make
    for cluster in made:
        cluster.finish()


@pytest.fixture(scope="module")
def three_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A running cluster of three that the tests of a module share."""
    cluster = LocalCluster(tmp_path_factory.mktemp("three"))
    try:
        yield cluster.started()
    finally:
        cluster.finish()


@pytest.fixture(scope="session")
def one_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One process with store and API server, for every module that leaves it as it found it."""
    with one_server("kvraft", tmp_path_factory.mktemp("one")) as cluster:
        assert isinstance(cluster, LocalCluster)
        yield cluster


@pytest.fixture(scope="session")
def one_on_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The same over etcd, as two processes."""
    with one_server("etcd", tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=STORES)
def on_either(request: pytest.FixtureRequest) -> Cluster:
    """``one_node`` or ``one_on_etcd``."""
    found: Cluster = request.getfixturevalue("one_node" if request.param == "kvraft" else "one_on_etcd")
    return found


@pytest.fixture(scope="module", params=STORES)
def own_on_either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The same for one module alone."""
    with one_server(request.param, tmp_path_factory.mktemp("own")) as cluster:
        yield cluster
