"""Plugins that only refuse, and are off by default: absent namespaces, anti-affinity, external addresses, owners."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from apilayer.admission.plugin import CREATE, DELETE, UPDATE
from apilayer.admission.plugins.deny_service_external_ips import DenyServiceExternalIPs
from apilayer.admission.plugins.limit_pod_hard_anti_affinity_topology import LimitPodHardAntiAffinityTopology
from apilayer.admission.plugins.namespace_exists import NamespaceExists
from apilayer.admission.plugins.owner_references_permission_enforcement import OwnerReferencesPermissionEnforcement
from tests.apilayer.admitting import Cluster, review, setup

if TYPE_CHECKING:
    from apilayer.pipeline.authentication import User

Object = dict[str, Any]


def test_namespaces_that_exist() -> None:
    plugin, obj = NamespaceExists(setup(Cluster().namespace("ns"))), {"metadata": {"name": "x"}}
    for operation in (CREATE, UPDATE, DELETE):
        new = None if operation == DELETE else obj
        assert review(plugin, operation, "configmaps", new, obj).error is None
        refused = review(plugin, operation, "configmaps", new, obj, namespace="none")
        assert refused.refusal == 'namespaces "none" not found'
    assert review(plugin, CREATE, "nodes", obj).error is None


@pytest.mark.parametrize(("key", "refused"), [("kubernetes.io/hostname", False), ("zone", True)])
def test_anti_affinity(key: str, refused: bool) -> None:
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key}]}
    pod = {"metadata": {"name": "p"}, "spec": {"affinity": {"podAntiAffinity": terms}}}
    outcome = review(LimitPodHardAntiAffinityTopology(setup(Cluster())), CREATE, "pods", pod)
    text = (
        'pods "p" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key '
        "kubernetes.io/hostname is allowed"
    )
    assert outcome.refusal == (text if refused else "")


def service(*addresses: str) -> Object:
    return {"metadata": {"name": "s"}, "spec": {"externalIPs": list(addresses)}}


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        (None, service(), False),
        (None, service("1.1.1.1"), True),
        (service("1.1.1.1"), service("1.1.1.1"), False),
        (service("1.1.1.1"), service(), False),
        (service("1.1.1.1"), service("2.2.2.2"), True),
    ],
)
def test_external_addresses(old: Object | None, new: Object, refused: bool) -> None:
    operation = CREATE if old is None else UPDATE
    outcome = review(DenyServiceExternalIPs(setup(Cluster())), operation, "services", new, old)
    text = 'services "s" is forbidden: Use of external IPs is denied by admission control'
    assert outcome.refusal == (text if refused else "")


OWNER = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u"}
BLOCKING = {**OWNER, "blockOwnerDeletion": True}
DELETES = ("delete", "", "configmaps", "ns", "c")
FINALIZES = ("update", "apps", "deployments/finalizers", "ns", "d")
NO_DELETE = "cannot set an ownerRef on a resource you can't delete: , <nil>"
NO_FINALIZERS = (
    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>"
)


@pytest.mark.parametrize(
    ("old", "new", "rights", "refusal"),
    [
        ([], [], [], ""),
        ([OWNER], [OWNER], [], ""),
        ([], [OWNER], [], NO_DELETE),
        ([OWNER], [], [], NO_DELETE),
        ([], [OWNER], [DELETES], ""),
        ([], [BLOCKING], [DELETES], NO_FINALIZERS),
        ([OWNER], [BLOCKING], [DELETES], NO_FINALIZERS),
        ([BLOCKING], [OWNER], [DELETES], ""),
        ([], [BLOCKING], [DELETES, FINALIZES], ""),
        (
            [],
            [{**BLOCKING, "kind": "None"}],
            [DELETES],
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for "
            "APIVersion apps/v1 Kind None",
        ),
    ],
)
def test_owners(old: list[Object], new: list[Object], rights: list[tuple[str, ...]], refusal: str) -> None:
    async def may(_: User, *what: str) -> bool:
        return what in rights

    plugin = OwnerReferencesPermissionEnforcement(setup(Cluster(), may=may))
    objects = [{"metadata": {"name": "c", "ownerReferences": owners}} for owners in (new, old)]
    outcome = review(plugin, UPDATE, "configmaps", *objects)
    assert outcome.refusal == (f'configmaps "c" is forbidden: {refusal}' if refusal else "")
