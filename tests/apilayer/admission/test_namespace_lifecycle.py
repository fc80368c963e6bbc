"""NamespaceLifecycle: where something may be created, and which namespaces stay."""

from __future__ import annotations

import pytest

from apilayer.admission.plugin import CREATE, DELETE, UPDATE
from apilayer.admission.plugins.namespace_lifecycle import NamespaceLifecycle
from tests.apilayer.admitting import Cluster, review, setup

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
