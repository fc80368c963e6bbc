"""What goes when its time is over, what namespaces say while they go, and ranges of services that come and go."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from apilayer.api.resources import find
from apilayer.client.interface import Ref
from apilayer.controllers.conditions import condition, with_conditions
from apilayer.controllers.expiry import EventExpiry, FinishedJobs, TokenCleaner, job_end, token_end
from apilayer.controllers.namespace import Content, NamespaceController, deletion_conditions
from apilayer.controllers.service_cidrs import FINALIZER, ServiceCidrController, is_free

if TYPE_CHECKING:
    from apilayer.client.interface import Cluster
    from tests.apilayer.controllers.conftest import World

Object = dict[str, Any]
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CIDRS = "servicecidrs.networking.k8s.io"


# ---------------------------------------------------------------------- expiry


class Nowhere:
    """A cluster without objects."""

    def follow(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"lastTimestamp": "2026-01-01T11:30:00Z"}, 1800),
        ({"lastTimestamp": "2026-01-01T10:00:00Z"}, -3600),
        ({"eventTime": "2026-01-01T11:59:00.000000Z"}, 3540),
        (
            {"lastTimestamp": "2026-01-01T10:00:00Z", "series": {"lastObservedTime": "2026-01-01T12:00:00.000000Z"}},
            3600,
        ),
        ({"lastTimestamp": "2030-01-01T10:00:00Z"}, 3600),
        ({"lastTimestamp": "nonsense"}, 0),
        ({}, 0),
    ],
)
async def test_how_long_an_event_is_kept(fields: Object, left: float) -> None:
    cluster: Any = Nowhere()
    end = EventExpiry(cluster, 3600, lambda: NOW).end({"metadata": {}, **fields})
    assert end == NOW + timedelta(seconds=left)


def token(expiration: str | None = None, kind: str = "bootstrap.kubernetes.io/token") -> Object:
    data = {} if expiration is None else {"expiration": base64.b64encode(expiration.encode()).decode()}
    return {"metadata": {"name": "bootstrap-token-abcdef"}, "type": kind, "data": data}


def test_when_a_bootstrap_token_expires() -> None:
    assert token_end(token("2026-01-01T12:00:00Z")) == NOW
    assert token_end(token()) is None
    assert token_end(token("2026-01-01T12:00:00Z", kind="Opaque")) is None
    unreadable = token_end(token("tomorrow"))
    assert unreadable is not None
    assert unreadable < NOW


def job(ttl: int | None, kind: str = "Complete", status: str = "True") -> Object:
    ended = {"type": kind, "status": status, "lastTransitionTime": "2026-01-01T12:00:00Z"}
    spec = {} if ttl is None else {"ttlSecondsAfterFinished": ttl}
    return {"metadata": {"name": "j"}, "spec": spec, "status": {"conditions": [ended]}}


@pytest.mark.parametrize(
    ("obj", "seconds"),
    [
        (job(10), 10),
        (job(0, "Failed"), 0),
        (job(None), None),
        (job(10, "Suspended"), None),
        (job(10, status="False"), None),
        ({"metadata": {}, "spec": {"ttlSecondsAfterFinished": 1}}, None),
    ],
)
def test_when_a_job_goes(obj: Object, seconds: int | None) -> None:
    assert job_end(obj) == (None if seconds is None else NOW + timedelta(seconds=seconds))


async def test_what_is_over_goes(world: World) -> None:
    """Events, tokens and finished Jobs; the other token stays."""
    now = datetime.now(UTC)
    text = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    involved = {"kind": "Pod", "namespace": "default", "name": "p"}
    event = {"metadata": {"name": "new"}, "involvedObject": involved, "lastTimestamp": text, "firstTimestamp": text}
    await world.create("events", event)
    await world.create("secrets", token(text), "kube-system")
    await world.create("secrets", {**token("2999-01-01T00:00:00Z"), "metadata": {"name": "later"}}, "kube-system")
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    await world.create(
        "jobs.batch", {"metadata": {"name": "j"}, "spec": {"ttlSecondsAfterFinished": 60, "template": template}}
    )
    done = {"startTime": text, "completionTime": text, "conditions": job(60)["status"]["conditions"]}
    done["conditions"] = [
        {**done["conditions"][0], "type": kind, "lastTransitionTime": text}
        for kind in ("SuccessCriteriaMet", "Complete")
    ]
    await world.change(Ref("jobs.batch", "default", "j"), lambda old: {**old, "status": done}, "status")

    def clock() -> datetime:
        return now + timedelta(seconds=61)

    await world.start(
        lambda cluster: EventExpiry(cluster, 60, clock),
        partial(TokenCleaner, clock=clock),
        partial(FinishedJobs, clock=clock),
    )
    await world.gone(Ref("events", "default", "new"))
    await world.gone(Ref("secrets", "kube-system", "bootstrap-token-abcdef"))
    await world.until(
        Ref("jobs.batch", "default", "j"), lambda obj: obj is None or "deletionTimestamp" in obj["metadata"]
    )
    assert await world.names("secrets", "kube-system") == {"later"}


# ---------------------------------------------------------------------- conditions


def test_a_condition_keeps_its_time_until_it_says_something_new() -> None:
    first = with_conditions({}, [condition("A", False, "R", "m"), condition("B", True, "R", "m")], NOW)
    again = with_conditions(first, [condition("A", False, "R", "m")], NOW + timedelta(seconds=5))
    assert again == first
    changed = with_conditions(first, [condition("A", True, "R", "m")], NOW + timedelta(seconds=5))
    assert [(item["type"], item["lastTransitionTime"]) for item in changed["status"]["conditions"]] == [
        ("A", "2026-01-01T12:00:05Z"),
        ("B", "2026-01-01T12:00:00Z"),
    ]


def content(group: str, plural: str, *finalizers: str) -> Content:
    row = find(group, "v1", plural)
    assert row is not None
    return Content(row, Ref(row.group_resource, "n", "x"), finalizers)


def test_what_a_namespace_says_of_its_deletion() -> None:
    left = [content("", "pods", "a/b"), content("", "pods", "a/b", "c/d"), content("apps", "deployments")]
    said = {item["type"]: item for item in deletion_conditions(["no"], left)}
    assert [(kind, item["status"]) for kind, item in said.items()] == [
        ("NamespaceDeletionDiscoveryFailure", "False"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False"),
        ("NamespaceDeletionContentFailure", "True"),
        ("NamespaceContentRemaining", "True"),
        ("NamespaceFinalizersRemaining", "True"),
    ]
    assert [item["message"] for item in said.values()][2:] == [
        "Failed to delete all resource types, 1 remaining: no",
        "Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances",
        "Some content in the namespace has finalizers remaining: a/b in 2 resource instances, "
        "c/d in 1 resource instances",
    ]
    assert {item["status"] for item in deletion_conditions([], [])} == {"False"}


async def test_a_namespace_says_what_holds_it(world: World) -> None:
    await world.start(NamespaceController)
    await world.create("namespaces", {"metadata": {"name": "team"}})
    await world.create("configmaps", {"metadata": {"name": "c", "finalizers": ["example.com/x"]}}, "team")
    await world.delete(Ref("namespaces", "", "team"))

    def says(obj: Object | None) -> bool:
        conditions = ((obj or {}).get("status") or {}).get("conditions") or ()
        return any("example.com/x in 1 resource instances" in item["message"] for item in conditions)

    await world.until(Ref("namespaces", "", "team"), says)


# ---------------------------------------------------------------------- ranges of services


def test_when_a_range_is_free() -> None:
    going = {"metadata": {"name": "a", "deletionTimestamp": "x"}, "spec": {"cidrs": ["10.1.0.0/24"]}}
    within = [{"metadata": {"name": "10.1.0.9"}}]
    wider: Object = {"metadata": {"name": "b"}, "spec": {"cidrs": ["10.1.0.0/16"]}}
    assert is_free(going, [], [{"metadata": {"name": "10.2.0.1"}}, {"metadata": {"name": "fd00::1"}}])
    assert not is_free(going, [], within)
    assert is_free(going, [wider], within)
    assert not is_free(going, [{**wider, "metadata": {"deletionTimestamp": "x"}}], within)


def at_once(cluster: Cluster) -> ServiceCidrController:
    return ServiceCidrController(cluster, grace_seconds=0)


async def test_a_range_in_use_goes_with_its_last_address(world: World) -> None:
    ref = Ref(CIDRS, "", "more")
    await world.start(at_once)
    await world.create(CIDRS, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.99.0.0/24"]}})

    def ready(status: str, obj: Object | None) -> bool:
        conditions = ((obj or {}).get("status") or {}).get("conditions") or ()
        return any(item["type"] == "Ready" and item["status"] == status for item in conditions)

    shown = await world.until(ref, partial(ready, "True"))
    assert shown is not None
    assert shown["metadata"]["finalizers"] == [FINALIZER]
    service = {"metadata": {"name": "s"}, "spec": {"clusterIP": "10.99.0.7", "ports": [{"port": 80}]}}
    await world.create("services", service)
    await world.delete(ref)
    await world.until(ref, partial(ready, "False"))
    await world.delete(Ref("services", "default", "s"))
    await world.gone(ref)
