"""What is recorded of requests to a whole application: stages, users, objects, answers, annotations, secrets."""

from __future__ import annotations

from sys import getrefcount
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import pytest
import trio

from apilayer.api import protobuf
from apilayer.audit import bodies
from apilayer.audit.counts import AuditCounts
from apilayer.audit.event import encoded
from apilayer.audit.policy_file import parse_policy
from apilayer.audit.record import RecordingAudit
from apilayer.pipeline.authentication import User
from apilayer.pipeline.request import BodyError, Request
from apilayer.pipeline.request_info import RequestInfo
from tests.apilayer.in_process import Server, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.audit.event import Event

PODS = "/api/v1/namespaces/default/pods"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SECRETS = "/api/v1/namespaces/default/secrets"
PROTOBUF = "application/vnd.kubernetes.protobuf"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  nonResourceURLs: ["/healthz*"]
- level: Metadata
  resources: [{group: "", resources: ["pods"]}]
- level: RequestResponse
  omitManagedFields: true
  omitStages: [RequestReceived]
  resources: [{group: "", resources: ["configmaps"]}]
- level: RequestResponse
"""


class Collected:
    """A sink that keeps what it gets; it refuses while `full`."""

    def __init__(self) -> None:
        self.all: list[dict[str, Any]] = []
        self.full = False

    async def process(self, event: Event) -> bool:
        self.process_soon(event)
        return not self.full

    def process_soon(self, event: Event) -> None:
        self.all.append(orjson.loads(encoded(event)))

    async def run(self) -> None:
        await trio.sleep_forever()

    def take(self) -> list[dict[str, Any]]:
        taken, self.all = self.all, []
        return taken


@attrs.frozen
class Rig:
    server: Server
    sink: Collected
    counts: AuditCounts

    async def told(self, method: str, target: str, body: Any = None, **headers: str) -> list[dict[str, Any]]:
        """The events of one request."""
        await self.server.request(method, target, body, **headers)
        return self.sink.take()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    sink, counts = Collected(), AuditCounts()
    async with serving(audit=RecordingAudit(parse_policy(POLICY.encode())[0], sink, counts)) as server:
        yield Rig(server, sink, counts)


def pod(name: str, namespace: str = "default") -> dict[str, Any]:
    spec = {
        "containers": [{"name": "c", "image": "i"}],
        "serviceAccountName": "x",
        "automountServiceAccountToken": False,
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def config(name: str, **data: str) -> dict[str, Any]:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": data}


async def test_both_stages_at_metadata(rig: Rig) -> None:
    headers = {"audit_id": "mine-1", "x_forwarded_for": "9.9.9.9"}
    received, complete = await rig.told(
        "POST", CONFIGMAPS.replace("configmaps", "services") + "?dryRun=All", {}, **headers
    )
    assert (received["stage"], complete["stage"]) == ("RequestReceived", "ResponseComplete")
    received, complete = await rig.told("GET", f"{PODS}?limit=1", **headers)
    assert received == {
        "level": "Metadata",
        "auditID": "mine-1",
        "stage": "RequestReceived",
        "requestURI": f"{PODS}?limit=1",
        "verb": "list",
        "user": {"username": "admin", "uid": "1", "groups": ["system:masters", "system:authenticated"]},
        "sourceIPs": ["9.9.9.9"],
        "userAgent": "test/1",
        "objectRef": {"resource": "pods", "namespace": "default", "apiVersion": "v1"},
        "requestReceivedTimestamp": received["stageTimestamp"],
        "stageTimestamp": received["stageTimestamp"],
    }
    changed = {"stage", "stageTimestamp", "responseStatus", "annotations"}
    assert {key: value for key, value in complete.items() if key not in changed} == {
        key: value for key, value in received.items() if key not in changed
    }
    assert complete["responseStatus"] == {"metadata": {}, "code": 200}
    assert complete["annotations"]["authorization.k8s.io/decision"] == "allow"
    assert complete["annotations"]["authorization.k8s.io/reason"] == ""
    assert complete["stageTimestamp"] >= received["stageTimestamp"]


async def test_the_name_comes_from_the_body(rig: Rig) -> None:
    body = protobuf.encode(pod("packed"))
    for name, sent, headers in (("plain", pod("plain"), {}), ("packed", body, {"content_type": PROTOBUF})):
        received, complete = await rig.told("POST", PODS, sent, **headers)
        assert complete["responseStatus"]["code"] == 201, complete
        assert "name" not in received["objectRef"]
        assert complete["objectRef"]["name"] == name
        assert "requestObject" not in complete


async def test_what_the_body_says_of_its_object_is_what_came(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what becomes of it: who has decoded the body tells, and without that it is looked at once more."""
    one = pod("one")
    one["metadata"].pop("namespace")
    _, made = await rig.told("POST", PODS, one)
    kind = {"resource": "pods", "namespace": "default", "name": "one", "apiVersion": "v1"}
    assert made["objectRef"] == kind, "without the uid that it gets"
    one["metadata"] |= {"uid": "mine", "resourceVersion": "7"}
    for name, sent in (("one", one), ("one", {**one, "spec": 5}), ("two", {**one, "spec": {"containers": None}})):
        _, complete = await rig.told("PUT", f"{PODS}/{name}", sent)
        assert complete["responseStatus"]["code"] in (400, 409)
        assert complete["objectRef"] == {**kind, "name": name, "uid": "mine", "resourceVersion": "7"}
    monkeypatch.setattr(bodies, "metadata_of", lambda *_: pytest.fail("it was known already"))
    _, complete = await rig.told("PUT", f"{PODS}/one", one)
    assert complete["objectRef"]["uid"] == "mine"


async def test_bodies_as_sent_and_answered(rig: Rig) -> None:
    (created,) = await rig.told("POST", CONFIGMAPS, config("c", a="1"))
    assert created["requestObject"] == config("c", a="1")
    assert created["responseObject"]["metadata"]["uid"]
    assert "managedFields" not in created["responseObject"]["metadata"]
    (patched,) = await rig.told(
        "PATCH", f"{CONFIGMAPS}/c", {"data": {"b": "2"}}, content_type="application/merge-patch+json"
    )
    assert patched["requestObject"] == {"data": {"b": "2"}}
    assert patched["responseObject"]["data"] == {"a": "1", "b": "2"}
    applied = b"kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}\ndata: {c: '3'}\n"
    (told,) = await rig.told(
        "PATCH", f"{CONFIGMAPS}/c?fieldManager=m", applied, content_type="application/apply-patch+yaml"
    )
    assert told["requestObject"]["data"] == {"c": "3"}
    (packed,) = await rig.told(
        "PUT", f"{CONFIGMAPS}/c", protobuf.encode(config("c", d="4")), content_type=PROTOBUF, accept=PROTOBUF
    )
    assert packed["requestObject"]["data"] == packed["responseObject"]["data"] == {"d": "4"}
    (yaml,) = await rig.told("GET", f"{CONFIGMAPS}/c", accept="application/yaml")
    assert yaml["responseObject"]["kind"] == "ConfigMap"
    (table,) = await rig.told("GET", CONFIGMAPS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table["responseObject"]["kind"] == "Table"
    (deleted,) = await rig.told("DELETE", f"{CONFIGMAPS}/c", {"gracePeriodSeconds": 0})
    assert deleted["requestObject"] == {"gracePeriodSeconds": 0}
    assert deleted["responseStatus"]["status"] == "Success"
    assert deleted["responseStatus"]["details"]["name"] == "c"


async def test_large_bodies(rig: Rig) -> None:
    (told,) = await rig.told("POST", CONFIGMAPS, config("large", a="x" * 200_000))
    assert len(told["requestObject"]["data"]["a"]) == len(told["responseObject"]["data"]["a"]) == 200_000


async def test_refusals_are_told_with_their_status(rig: Rig) -> None:
    (missing,) = await rig.told("GET", f"{CONFIGMAPS}/none")
    assert missing["responseStatus"] == {
        "metadata": {},
        "status": "Failure",
        "message": 'configmaps "none" not found',
        "reason": "NotFound",
        "details": {"name": "none", "kind": "configmaps"},
        "code": 404,
    }
    (broken,) = await rig.told("POST", CONFIGMAPS, b'{"metadata":')
    assert (broken["responseStatus"]["code"], "requestObject" in broken) == (400, False)
    assert rig.counts.events == 2
    assert rig.counts.levels == [0, 0, 0, 2]


async def test_whoever_fails_to_prove_himself_is_told_of(rig: Rig) -> None:
    (event,) = await rig.told("GET", f"{PODS}?watch=1", authorization="Bearer wrong")
    assert (event["stage"], event["user"], event["verb"]) == ("ResponseStarted", {}, "watch")
    assert event["responseStatus"]["code"] == 401
    assert "wrong" not in str(event)


async def test_nobody_may(rig: Rig) -> None:
    _, event = await rig.told("GET", PODS, authorization="")
    assert event["user"]["username"] == "system:anonymous"
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert event["responseStatus"]["code"] == 403


async def test_acting_as_somebody_else(rig: Rig) -> None:
    _, event = await rig.told("GET", PODS, impersonate_user="bob", impersonate_group="devs")
    assert event["user"]["username"] == "admin"
    assert event["impersonatedUser"] == {"username": "bob", "groups": ["devs", "system:authenticated"]}
    assert event["authenticationMetadata"] == {"impersonationConstraint": "impersonate:user-info"}
    _, event = await rig.told("GET", PODS, impersonate_user="bob", impersonate_group="system:masters")
    assert "authenticationMetadata" not in event, "that takes the plain right"
    assert event["annotations"]["authorization.k8s.io/decision"] == "allow"


async def test_a_watch_is_told_when_it_starts_and_when_it_ends(rig: Rig) -> None:
    watching = await rig.server.watch(f"{CONFIGMAPS}?watch=1")
    (started,) = rig.sink.take()
    assert (started["stage"], started["verb"], started["responseStatus"]["code"]) == ("ResponseStarted", "watch", 200)
    await watching.close()
    (ended,) = rig.sink.take()
    assert ended["stage"] == "ResponseComplete"
    assert ended["auditID"] == started["auditID"]
    refused = await rig.told("GET", f"{CONFIGMAPS}?watch=1&resourceVersion=x")
    assert [event["stage"] for event in refused] == ["ResponseStarted", "ResponseComplete"]


async def test_what_nobody_foresaw(rig: Rig, monkeypatch, caplog) -> None:
    async def failing(*_: object, **__: object) -> None:
        raise KeyError("canary-in-a-message")

    monkeypatch.setattr(rig.server.registry.of("pods").store, "get", failing)
    answer = await rig.server.request("GET", f"{PODS}/x", audit_id="mine-2")
    assert answer.status == 500
    for hint in (b"Traceback", b"KeyError", b"canary", b".py"):
        assert hint not in answer.body
    assert "audit id mine-2" in caplog.text
    _, event = rig.sink.take()
    assert event["stage"] == "Panic"
    assert event["responseStatus"] == {
        "metadata": {},
        "status": "Failure",
        "message": "APIServer panic'd: KeyError",
        "reason": "InternalError",
        "code": 500,
    }


async def test_a_request_whose_time_is_over(rig: Rig, autojump_clock) -> None:
    async def never() -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def cut_off() -> bytes:
        raise BodyError

    headers = {"authorization": "Bearer secret"}
    with trio.move_on_after(1):
        await rig.server.app.handle(Request("POST", PODS, "", dict(headers), None, never))
    with pytest.raises(BodyError):
        await rig.server.app.handle(Request("POST", PODS, "", dict(headers), None, cut_off))
    events = rig.sink.take()
    assert [event["stage"] for event in events] == ["RequestReceived", "ResponseComplete"] * 2
    assert events[1]["responseStatus"]["code"] == 504


async def test_a_request_that_cannot_be_recorded_is_refused(rig: Rig) -> None:
    rig.sink.full = True
    answer = await rig.server.request("POST", PODS, pod("x"))
    assert (answer.status, answer.json["message"]) == (500, "Internal error occurred: failed to store audit event")
    assert rig.counts.rejected == 1
    assert [event["stage"] for event in rig.sink.take()] == ["RequestReceived"]
    rig.sink.full = False
    assert (await rig.server.request("GET", f"{PODS}/x")).status == 404


async def test_what_no_rule_wants_leaves_no_trace(rig: Rig) -> None:
    assert await rig.told("GET", "/healthz") == []
    assert (rig.counts.events, rig.counts.levels[0]) == (0, 1)


async def test_documents_are_no_objects(rig: Rig) -> None:
    _, version = await rig.told("GET", "/version")
    assert "responseObject" not in version
    _, discovery = await rig.told("GET", "/apis")
    assert discovery["responseObject"]["kind"] == "APIGroupList"


async def test_a_deprecated_resource_says_so(rig: Rig) -> None:
    _, event = await rig.told("GET", "/api/v1/namespaces/default/endpoints")
    assert event["annotations"]["k8s.io/deprecated"] == "true"
    _, event = await rig.told("GET", "/api/v1/namespaces/default/services")
    assert "k8s.io/deprecated" not in event["annotations"]


async def test_a_slow_request_says_so(rig: Rig, monkeypatch) -> None:
    times = iter([100.0, 101.25])
    monkeypatch.setattr("apilayer.audit.record.time", lambda: next(times))
    (event,) = await rig.told("GET", CONFIGMAPS)
    assert event["annotations"]["apiserver.latency.k8s.io/total"] == "1.25s"


@pytest.mark.parametrize(("path", "kept"), [("/short", True), ("/" + "long" * 200, False)])
async def test_what_the_policy_says_is_remembered_unless_the_path_is_long(path: str, kept: bool) -> None:
    async def body() -> bytes:
        return b""

    audit = RecordingAudit(parse_policy(POLICY.encode())[0], Collected(), AuditCounts())
    info = RequestInfo(path, "get")
    before = getrefcount(info)
    assert audit.begin(Request("GET", path, "", {}, None, body), "id").concerns(info, User("jane"))
    assert (getrefcount(info) > before) == kept


async def test_canaries_never_get_into_a_record(rig: Rig) -> None:
    """A rule without names asks for whole bodies of everything; those with secrets are left out all the same."""
    canary = "Y2FuYXJ5LXZhbHVl"
    secret = {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s"}, "data": {"k": canary}}
    review = {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "spec": {"token": canary}}
    asked = (
        ("POST", SECRETS, secret, {}),
        ("PUT", f"{SECRETS}/s", secret, {}),
        ("GET", f"{SECRETS}/s", None, {}),
        ("GET", SECRETS, None, {"accept": PROTOBUF}),
        ("PATCH", f"{SECRETS}/s", {"data": {"k": canary}}, {"content_type": "application/merge-patch+json"}),
        ("DELETE", f"{SECRETS}/s", None, {}),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review, {}),
        ("GET", "/version", None, {"authorization": f"Bearer {canary}"}),
    )
    for method, target, body, headers in asked:
        events = await rig.told(method, target, body, **headers)
        assert events, target
        assert canary not in str(events)
        assert "canary-value" not in str(events)
