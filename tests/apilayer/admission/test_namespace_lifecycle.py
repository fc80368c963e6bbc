"""NamespaceLifecycle: where something may be created, and which namespaces stay."""

from __future__ import annotations

import pytest

from apilayer.admission.chain import Chain
from apilayer.admission.plugin import CREATE, DELETE, UPDATE
from apilayer.admission.plugins.namespace_lifecycle import NamespaceLifecycle
from apilayer.api.status import StatusError
from apilayer.registry.options import WriteOptions
from tests.apilayer.admitting import ALICE, ROWS, Cluster, review, setup

CLUSTER = Cluster().namespace("ns").namespace("going", "Terminating")
PLUGIN = NamespaceLifecycle(setup(CLUSTER))
OBJECT = {"metadata": {"name": "x"}}


@pytest.mark.parametrize(
    ("namespace", "refusal"),
    [
        ("ns", ""),
        ("nowhere", 'namespaces "nowhere" not found'),
        (
            "going",
            'configmaps "x" is forbidden: unable to create new content in namespace going '
            "because it is being terminated",
        ),
    ],
)
def test_creations(namespace: str, refusal: str) -> None:
    assert review(PLUGIN, CREATE, "configmaps", OBJECT, namespace=namespace).refusal == refusal


def test_an_ending_namespace_can_still_be_emptied() -> None:
    assert review(PLUGIN, UPDATE, "configmaps", OBJECT, OBJECT, namespace="going").error is None
    assert review(PLUGIN, DELETE, "configmaps", None, OBJECT, namespace="going").error is None


def test_what_is_in_no_namespace_needs_none() -> None:
    assert review(PLUGIN, CREATE, "nodes", OBJECT).error is None
    assert review(PLUGIN, CREATE, "namespaces", OBJECT).error is None


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_some_namespaces_stay(name: str) -> None:
    outcome = review(PLUGIN, DELETE, "namespaces", None, {"metadata": {"name": name}})
    assert outcome.refusal == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


def test_others_go() -> None:
    assert review(PLUGIN, DELETE, "namespaces", None, {"metadata": {"name": "ns"}}).error is None


async def test_a_namespace_deleted_a_moment_ago_is_looked_up_anew() -> None:
    now = 0.0
    cluster = Cluster().namespace("ns")
    refreshed = []

    async def refresh() -> None:
        refreshed.append(now)

    async def sleep(seconds: float) -> None:
        raise AssertionError(f"nothing is waited for ({seconds} s)")

    chain = Chain([NamespaceLifecycle(setup(cluster), lambda: now)], refresh, sleep)

    async def create() -> None:
        admission = chain.begin(ALICE)
        await admission.review(CREATE, ROWS["configmaps"], "", "ns", "x", WriteOptions()).whole({}, None)

    await create()
    assert refreshed == []
    deletion = chain.begin(ALICE).review(DELETE, ROWS["namespaces"], "", "", "ns", WriteOptions())
    await deletion.whole(None, {"metadata": {"name": "ns"}})
    await create()
    assert refreshed == [0.0], "the cache may not know yet"
    cluster.namespace("ns", "Terminating")
    with pytest.raises(StatusError, match="it is being terminated"):
        await create()
    cluster.namespace("ns")
    now = 31.0
    await create()
    assert refreshed == [0.0, 0.0]
