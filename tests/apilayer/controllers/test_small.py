"""Controllers of a page each: namespaces, accounts, the root CA, protection, aggregation; and the choice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from apilayer.client.interface import Ref
from apilayer.controllers.aggregation import ClusterRoleAggregation, aggregated
from apilayer.controllers.choice import ALIASES, UnknownController, parse_choice
from apilayer.controllers.garbage_collector import GarbageCollector
from apilayer.controllers.namespace import NamespaceController, held_by_us, released
from apilayer.controllers.protection import ClaimProtection, VolumeProtection, claims_of_pod, protected
from apilayer.controllers.root_ca import RootCaPublisher
from apilayer.controllers.service_accounts import ServiceAccountController
from apilayer.server.controllers import ControllerOptions, known

if TYPE_CHECKING:
    from tests.apilayer.controllers.conftest import World

Object = dict[str, Any]
NAMES = ["a", "b", "c"]
ROLES = "clusterroles.rbac.authorization.k8s.io"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*", "abc"),
        ("", ""),
        ("a", "a"),
        ("a,b", "ab"),
        ("*,-b", "ac"),
        ("-b,*", "ac"),
        ("-b", ""),
        ("b,-b", "b"),
        (" a , c ", "ac"),
    ],
)
def test_the_choice(text: str, expected: str) -> None:
    assert parse_choice(text, NAMES) == frozenset(expected)


def test_names_of_before_are_taken() -> None:
    known_names = known(ControllerOptions())
    assert set(ALIASES.values()) <= set(known_names)
    chosen = parse_choice("*,-csrsigning,endpoint", list(known_names))
    assert chosen == set(known_names) - {"certificatesigningrequest-signing-controller"}


@pytest.mark.parametrize("text", ["d", "-d", "*,x"])
def test_unknown_names_are_refused(text: str) -> None:
    with pytest.raises(UnknownController, match="is not in the list of known controllers: a, b, c"):
        parse_choice(text, NAMES)


# ---------------------------------------------------------------------- namespaces


def namespace(*finalizers: str, ending: bool = True) -> Object:
    metadata: Object = {"name": "n"}
    if ending:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata, "spec": {"finalizers": list(finalizers)}}


def test_whose_turn_a_namespace_is() -> None:
    assert held_by_us(namespace("kubernetes"))
    assert not held_by_us(namespace("kubernetes", ending=False))
    assert not held_by_us(namespace("example.com/other"))
    assert released(namespace("kubernetes", "x"))["spec"] == {"finalizers": ["x"]}
    assert released(namespace("kubernetes"))["spec"] == {}


async def test_a_namespace_ends_with_everything_in_it(world: World) -> None:
    await world.start(NamespaceController)
    await world.create("namespaces", {"metadata": {"name": "team"}})
    await world.create("configmaps", {"metadata": {"name": "c"}}, "team")
    await world.create("services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}, "team")
    await world.delete(Ref("namespaces", "", "team"))
    await world.gone(Ref("namespaces", "", "team"))
    assert await world.names("configmaps", "team") == set()
    assert await world.names("ipaddresses.networking.k8s.io") == set(), "what its services held is free"


async def test_a_namespace_waits_for_what_is_held_back(world: World) -> None:
    (controller,) = await world.start(NamespaceController)
    await world.create("namespaces", {"metadata": {"name": "team"}})
    await world.create("configmaps", {"metadata": {"name": "c", "finalizers": ["example.com/x"]}}, "team")
    await world.delete(Ref("namespaces", "", "team"))
    held = Ref("configmaps", "team", "c")
    await world.until(held, lambda obj: obj is None or "deletionTimestamp" in obj["metadata"])
    assert await world.get(Ref("namespaces", "", "team")) is not None
    await world.change(held, partial(_without, "finalizers"))
    await world.gone(Ref("namespaces", "", "team"))
    del controller


def _without(key: str, obj: Object) -> Object:
    obj["metadata"].pop(key, None)
    return obj


# ---------------------------------------------------------------------- accounts, root CA


async def test_every_namespace_gets_its_account_and_ca(world: World) -> None:
    await world.start(ServiceAccountController, lambda cluster: RootCaPublisher(cluster, "PEM"))
    await world.create("namespaces", {"metadata": {"name": "team"}})
    for place in ("default", "kube-system", "team"):
        await world.until(Ref("serviceaccounts", place, "default"), lambda obj: obj is not None)
        found = await world.until(Ref("configmaps", place, "kube-root-ca.crt"), lambda obj: obj is not None)
        assert found is not None
        assert found["data"] == {"ca.crt": "PEM"}
        assert found["metadata"]["annotations"]["kubernetes.io/description"].startswith("Contains a CA bundle")


async def test_they_come_back_when_somebody_removes_or_changes_them(world: World) -> None:
    await world.start(ServiceAccountController, lambda cluster: RootCaPublisher(cluster, "PEM"))
    account, bundle = Ref("serviceaccounts", "default", "default"), Ref("configmaps", "default", "kube-root-ca.crt")
    first = await world.until(account, lambda obj: obj is not None)
    assert first is not None
    await world.until(bundle, lambda obj: obj is not None)
    await world.delete(account)
    await world.until(account, lambda obj: obj is not None and obj["metadata"]["uid"] != first["metadata"]["uid"])
    await world.change(bundle, lambda old: {**old, "data": {"other": "x"}})
    await world.until(bundle, lambda obj: obj is not None and obj["data"] == {"ca.crt": "PEM"})


async def test_an_ending_namespace_gets_nothing(world: World) -> None:
    controllers = await world.start(NamespaceController, ServiceAccountController, GarbageCollector)
    await world.create("namespaces", {"metadata": {"name": "team"}})
    await world.until(Ref("serviceaccounts", "team", "default"), lambda obj: obj is not None)
    await world.delete(Ref("namespaces", "", "team"))
    await world.gone(Ref("namespaces", "", "team"))
    await world.idle(*controllers)
    assert await world.names("serviceaccounts", "team") == set()


# ---------------------------------------------------------------------- protection


@pytest.mark.parametrize(
    ("ending", "there", "used", "after"),
    [
        (False, False, False, ["f"]),
        (False, True, False, None),
        (True, True, True, None),
        (True, True, False, []),
        (True, False, False, None),
    ],
)
def test_the_finalizer(ending: bool, there: bool, used: bool, after: list[str] | None) -> None:
    obj: Object = {"metadata": {"name": "x"}}
    if ending:
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    if there:
        obj["metadata"]["finalizers"] = ["f"]
    found = protected(obj, "f", used=used)
    assert (None if found is None else found["metadata"].get("finalizers", [])) == after


def test_claims_of_a_pod() -> None:
    volumes = [
        {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "e", "ephemeral": {}},
        {"name": "z"},
    ]
    volumes[1]["ephemeral"] = {"volumeClaimTemplate": {}}
    pod = {"metadata": {"name": "p"}, "spec": {"volumes": volumes}}
    assert claims_of_pod(pod) == ["c", "p-e"]
    assert claims_of_pod({**pod, "status": {"phase": "Failed"}}) == []


def claim() -> Object:
    resources = {"requests": {"storage": "1Gi"}}
    return {"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}}


async def test_a_claim_in_use_stays(world: World) -> None:
    (controller,) = await world.start(ClaimProtection)
    await world.create("persistentvolumeclaims", claim())
    ref = Ref("persistentvolumeclaims", "default", "c")
    await world.until(ref, lambda obj: obj is not None and obj["metadata"].get("finalizers"))
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    spec = {"containers": [{"name": "x", "image": "i"}], "volumes": volumes}
    await world.create("pods", {"metadata": {"name": "p"}, "spec": spec})
    await world.delete(ref)
    await world.idle(controller)
    assert await world.get(ref) is not None
    await world.delete(Ref("pods", "default", "p"))
    await world.gone(ref)


async def test_a_bound_volume_stays(world: World) -> None:
    (controller,) = await world.start(VolumeProtection)
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    await world.create("persistentvolumes", {"metadata": {"name": "v"}, "spec": spec})
    ref = Ref("persistentvolumes", "", "v")
    await world.until(ref, lambda obj: obj is not None and obj["metadata"].get("finalizers"))
    await world.change(ref, lambda old: {**old, "status": {"phase": "Bound"}}, "status")
    await world.delete(ref)
    await world.idle(controller)
    assert await world.get(ref) is not None
    await world.change(ref, lambda old: {**old, "status": {"phase": "Released"}}, "status")
    await world.gone(ref)


# ---------------------------------------------------------------------- aggregation


def role(name: str, *verbs: str, selector: Object | None = None, **labels: str) -> Object:
    obj: Object = {"metadata": {"name": name, "labels": labels}}
    if selector is not None:
        obj["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": selector}]}
    obj["rules"] = [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]} for verb in verbs]
    return obj


def verbs(rules: list[Object]) -> list[str]:
    return [rule["verbs"][0] for rule in rules]


def test_rules_of_others() -> None:
    made = role("made", selector={"x": "y"}, x="y")
    others = [role("b", "get", "list", x="y"), role("a", "get", "watch", x="y"), role("c", "delete", x="z"), made]
    assert verbs(aggregated(made, others)) == ["get", "watch", "list"]


async def test_roles_follow_what_they_are_made_of(world: World) -> None:
    await world.start(ClusterRoleAggregation)
    await world.create(ROLES, role("made", selector={"x": "y"}))
    ref = Ref(ROLES, "", "made")
    await world.create(ROLES, role("a", "get", x="y"))
    await world.until(ref, lambda obj: obj is not None and verbs(obj.get("rules") or []) == ["get"])
    await world.delete(Ref(ROLES, "", "a"))
    await world.until(ref, lambda obj: obj is not None and not obj.get("rules"))
