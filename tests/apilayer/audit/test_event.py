"""What events look like: JSON, the line of old, where requests come from, what bodies say."""

from __future__ import annotations

import msgspec
import orjson
import pytest

from apilayer.api import protobuf, status
from apilayer.audit import bodies
from apilayer.audit.event import (
    Event,
    ObjectReference,
    UserInfo,
    encoded,
    event_list,
    json_line,
    micro_time,
    text_line,
)
from apilayer.audit.shape import JSON, LEGACY, LIST_ITEM, Shape, TooLarge
from apilayer.audit.source import request_uri, source_ips, user_agent
from apilayer.pipeline.request import Response

WHOLE = {"name": "x", "generateName": "y", "namespace": "n", "uid": "u", "resourceVersion": "5", "labels": {"a": "b"}}
PROTOBUF = "application/vnd.kubernetes.protobuf"


def event(**fields: object) -> Event:
    return Event(
        level="Request",
        audit_id="id-1",
        stage="ResponseComplete",
        request_uri="/api/v1/namespaces/a/pods?x=y",
        verb="create",
        user=UserInfo("alice", "7", ("devs", "ops"), {"scopes": ("a",)}),
        source_ips=("10.0.0.1", "127.0.0.1"),
        user_agent='kubectl/"1"',
        object_ref=ObjectReference(resource="pods", namespace="a", name="x", api_version="v1"),
        request_received_timestamp=micro_time(1_700_000_000.25),
        stage_timestamp=micro_time(1_700_000_000.5),
        **fields,
    )


def test_fields_and_their_order() -> None:
    told = event(
        impersonated_user=UserInfo("bob"),
        response_status=bodies.of_status(status.not_found("pods", "", "x").status, 404),
        request_object=msgspec.Raw(b'{"b":1}'),
        annotations={"authorization.k8s.io/decision": "allow"},
    )
    assert json_line(encoded(told)).decode() == (
        '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"id-1","stage":"ResponseComplete",'
        '"requestURI":"/api/v1/namespaces/a/pods?x=y","verb":"create",'
        '"user":{"username":"alice","uid":"7","groups":["devs","ops"],"extra":{"scopes":["a"]}},'
        '"impersonatedUser":{"username":"bob"},"sourceIPs":["10.0.0.1","127.0.0.1"],"userAgent":"kubectl/\\"1\\"",'
        '"objectRef":{"resource":"pods","namespace":"a","name":"x","apiVersion":"v1"},'
        '"responseStatus":{"metadata":{},"status":"Failure","message":"pods \\"x\\" not found","reason":"NotFound",'
        '"details":{"name":"x","kind":"pods"},"code":404},"requestObject":{"b":1},'
        '"requestReceivedTimestamp":"2023-11-14T22:13:20.250000Z","stageTimestamp":"2023-11-14T22:13:20.500000Z",'
        '"annotations":{"authorization.k8s.io/decision":"allow"}}\n'
    )


def test_a_list_of_events() -> None:
    found = orjson.loads(event_list([encoded(event()), encoded(event())]))
    assert (found["kind"], found["apiVersion"], found["metadata"]) == ("EventList", "audit.k8s.io/v1", {})
    assert [list(item)[:2] for item in found["items"]] == [["level", "auditID"]] * 2


def test_what_is_no_text_is_shown_all_the_same() -> None:
    half = "a\ud800"
    details = {"causes": [{"message": half}], "name": half}
    told = event(
        impersonated_user=UserInfo(half, groups=(half,), extra={half: (half,)}),
        response_status=bodies.of_status({"details": details}, 422),
        request_object=msgspec.Raw(b'{"b":1}'),
    )
    found = orjson.loads(encoded(told))
    assert found["impersonatedUser"] == {"username": "a?", "groups": ["a?"], "extra": {"a?": ["a?"]}}
    assert found["responseStatus"]["details"] == {"causes": [{"message": "a?"}], "name": "a?"}
    assert (found["requestObject"], found["verb"]) == ({"b": 1}, "create")
    assert ' as="a' in Shape(LEGACY).of(told).decode()


def test_the_line_of_old() -> None:
    assert text_line(event()) == (
        '2023-11-14T22:13:20.25Z AUDIT: id="id-1" stage="ResponseComplete" ip="10.0.0.1" method="create" user="alice"'
        ' groups="devs","ops" as="<self>" asgroups=<lookup> user-agent="kubectl/\\"1\\"" namespace="a"'
        ' uri="/api/v1/namespaces/a/pods?x=y" response="<deferred>"'
    )
    acting = event(impersonated_user=UserInfo("bob", groups=("x",)), response_status=bodies.of_status({}, 200))
    assert ' as="bob" asgroups="x" ' in text_line(acting)
    assert text_line(acting).endswith(' response="200"')


@pytest.mark.parametrize(
    ("headers", "peer", "found"),
    [
        ({}, "127.0.0.1", ("127.0.0.1",)),
        ({}, "::ffff:10.1.2.3", ("10.1.2.3",)),
        ({}, "fe80::1%eth0", ("fe80::1",)),
        ({}, "", ()),
        ({"x-forwarded-for": "1.1.1.1, 2.2.2.2 ,nonsense,2001:DB8::1"}, "3.3.3.3", None),
        ({"x-forwarded-for": "1.1.1.1", "x-real-ip": "1.1.1.1"}, "1.1.1.1", ("1.1.1.1",)),
        ({"x-forwarded-for": "1.1.1.1", "x-real-ip": "2.2.2.2"}, "3.3.3.3", ("1.1.1.1", "2.2.2.2", "3.3.3.3")),
        ({"x-real-ip": "'; drop"}, "3.3.3.3", ("3.3.3.3",)),
    ],
)
def test_where_a_request_comes_from(headers: dict[str, str], peer: str, found: tuple[str, ...] | None) -> None:
    assert source_ips(headers, peer) == (found or (() if not peer else ("1.1.1.1", "2.2.2.2", "2001:db8::1", peer)))


def test_a_chain_of_proxies_is_bounded() -> None:
    assert len(source_ips({"x-forwarded-for": ",".join(["1.1.1.1"] * 10_000)}, "3.3.3.3")) == 65


def test_long_user_agents_and_odd_paths() -> None:
    assert user_agent("x" * 2000) == "x" * 1024 + "...TRUNCATED"
    assert request_uri("/api/v1/namespaces/a b/é", "x=1") == "/api/v1/namespaces/a%20b/%C3%A9?x=1"


@pytest.mark.parametrize(
    ("body", "content_type", "found"),
    [
        (b'{"metadata":{"name":"x","namespace":"n","uid":"u","resourceVersion":"5"},"a":[1]}', "", "x n u 5"),
        (b'{"metadata":{"name":"x"}}', "application/json; charset=utf-8", "x   "),
        (b"metadata:\n  name: x\n", "application/yaml", "x   "),
        (protobuf.encode({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}), PROTOBUF, "x   "),
        (protobuf.encode({"kind": "Pod", "apiVersion": "v1", "metadata": WHOLE, "spec": {}}), PROTOBUF, "x n u 5"),
        (protobuf.encode({"kind": "Pod", "apiVersion": "v1", "spec": {}}), PROTOBUF, "   "),
        (protobuf.MAGIC, PROTOBUF, "   "),
        (b'{"metadata":{"name":1}}', "", "   "),
        (b'{"metadata":[]}', "", "   "),
        (b"{", "", "   "),
        (b'{"a":' * 100_000, "", "   "),
        (b"k8s\0\xff", PROTOBUF, "   "),
        (b"\xff", "application/yaml", "   "),
        (b"[]", "application/yaml", "   "),
        (b"x", "text/plain", "   "),
    ],
)
def test_the_metadata_of_a_body(body: bytes, content_type: str, found: str) -> None:
    metadata = bodies.metadata_of(body, content_type)
    assert f"{metadata.name} {metadata.namespace} {metadata.uid} {metadata.resource_version}" == found


@pytest.mark.parametrize(
    ("body", "content_type", "found"),
    [
        (b'{\n  "a": 1\n}', "application/json", {"a": 1}),
        (b'[{"op":"remove","path":"/a"}]', "application/json-patch+json", [{"op": "remove", "path": "/a"}]),
        (b"a: {b: x}", "application/apply-patch+yaml", {"a": {"b": "x"}}),
        (b'{"a":1}', "application/apply-patch+yaml", {"a": 1}),
        (protobuf.encode({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}), PROTOBUF, None),
        (b"a: [", "application/yaml", "unreadable"),
        (b'{"a":123456789012345678901234567890}', "application/yaml", {"a": 1.2345678901234568e29}),
        (b"x: " + b"y" * 300_000, "application/yaml", "unreadable"),
        (b"{", "application/json", "unreadable"),
        (b"text", "text/plain", "unreadable"),
    ],
)
def test_bodies_as_json(body: bytes, content_type: str, found: object) -> None:
    raw = bodies.as_json(body, content_type, omit_managed_fields=False, compact=False)
    if found == "unreadable":
        assert raw is None
        return
    assert raw is not None
    assert b"\n" not in bytes(raw)
    if found is not None:
        assert orjson.loads(bytes(raw)) == found
    else:
        assert orjson.loads(bytes(raw))["metadata"]["name"] == "x"


def test_managed_fields_can_be_left_out() -> None:
    managed = {"name": "x", "managedFields": [{"manager": "m"}]}
    for obj in ({"metadata": dict(managed)}, {"items": [{"metadata": dict(managed)}]}, [1]):
        raw = bodies.as_json(orjson.dumps(obj), "application/json", omit_managed_fields=True, compact=True)
        assert raw is not None
        assert b"managedFields" not in bytes(raw)


def test_the_status_of_an_answer() -> None:
    gone = orjson.dumps(status.success({"name": "x", "kind": "pods"}))
    found = bodies.response_status(Response(200, gone))
    assert (found.status, found.details, found.code) == ("Success", {"name": "x", "kind": "pods"}, 200)
    assert bodies.response_status(Response(200, b'{"kind":"Pod"}')) == bodies.of_status({}, 200)
    assert bodies.response_status(Response(404, b"404 page not found", b"text/plain")).code == 404
    missing = protobuf.encode(status.not_found("pods", "", "x").status)
    assert bodies.response_status(Response(404, missing, PROTOBUF.encode())).reason == "NotFound"


def test_shapes() -> None:
    large = event(request_object=msgspec.Raw(b'"%s"' % (b"x" * 5000)))
    whole = Shape(JSON).of(large)
    assert len(whole) > 5000
    cut = orjson.loads(Shape(JSON, 1000).of(large))
    assert "requestObject" not in cut
    assert cut["annotations"] == {"audit.k8s.io/truncated": "true"}
    assert Shape(LIST_ITEM).of(event()).startswith(b'{"level":')
    assert Shape(LEGACY).of(event()).startswith(b"2023-11-14T22:13:20.25Z AUDIT: ")
    with pytest.raises(TooLarge, match="even after truncating"):
        Shape(LEGACY, 100).of(large)
    with pytest.raises(TooLarge):
        Shape(JSON, 100).of(msgspec.structs.replace(event(), level="Metadata"))
