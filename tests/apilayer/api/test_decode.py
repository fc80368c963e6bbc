"""Request bodies in JSON and YAML: what comes out, and what each kind of bad body is told."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.decode import Decoded, DecodeError, decode_body, decode_document, decode_options
from apilayer.api.resources import Resource, find
from apilayer.api.status import StatusError

JSON, YAML = "application/json", "application/yaml"


def row(plural: str, group: str = "") -> Resource:
    found = find(group, "v1", plural)
    assert found is not None
    return found


def load(body: Any, plural: str = "configmaps", group: str = "", **options: Any) -> Decoded:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return decode_body(raw, options.pop("content_type", JSON), row(plural, group), **options)


def refused(body: Any, plural: str = "configmaps", group: str = "", **options: Any) -> str:
    with pytest.raises(StatusError) as caught:
        load(body, plural, group, **options)
    assert caught.value.code == 400
    assert caught.value.status["reason"] == "BadRequest"
    return str(caught.value)


def test_kind_and_version_default_to_the_resource() -> None:
    decoded = load({"metadata": {"name": "a"}})
    assert decoded.object == {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a"}}
    assert decoded.warnings == []
    assert load(b"null").object == {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {}}


def test_zero_values_are_left_out_or_written_as_kubernetes_does() -> None:
    event = load({"metadata": {"name": "e", "labels": {}}, "count": 0, "message": ""}, "events").object
    assert event == {
        "kind": "Event",
        "apiVersion": "v1",
        "metadata": {"name": "e"},
        "involvedObject": {},
        "source": {},
        "firstTimestamp": None,
        "lastTimestamp": None,
        "eventTime": None,
        "reportingComponent": "",
        "reportingInstance": "",
    }
    pod = load({"spec": {"hostNetwork": False, "hostUsers": False, "containers": [{"name": "c"}]}}, "pods").object
    assert pod["spec"] == {"hostUsers": False, "containers": [{"name": "c", "resources": {}}]}
    assert pod["status"] == {}
    assert load({"spec": {"replicas": 0}}, "deployments", "apps").object["spec"] == {
        "replicas": 0,
        "selector": None,
        "template": {"metadata": {}, "spec": {"containers": None}},
        "strategy": {},
    }
    assert load({"data": {"a": None}, "binaryData": {}}).object["data"] == {"a": ""}


def test_values_are_written_in_canonical_form() -> None:
    container = {"name": "c", "resources": {"limits": {"cpu": "1000m", "memory": 1024}}}
    pod = load({"spec": {"containers": [container]}}, "pods").object
    assert pod["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1024"}
    half = b'{"spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":0.5,"memory":1e3}}}]}}'
    limits = load(half, "pods").object["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "500m", "memory": "1e3"}
    lease = load(
        {"spec": {"renewTime": "2024-01-02T05:04:05.5+02:00".replace(".5", ".500000")}}, "leases", "coordination.k8s.io"
    )
    assert lease.object["spec"] == {"renewTime": "2024-01-02T03:04:05.500000Z"}
    meta = load({"metadata": {"deletionTimestamp": "2024-01-02T03:04:05.9Z"}}).object["metadata"]
    assert meta == {"deletionTimestamp": "2024-01-02T03:04:05Z"}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"a":', 'unexpected end of JSON input ({"a":)'),
        (b"", "unexpected end of JSON input (<empty>)"),
        (b"a: b", "invalid character 'a' looking for beginning of value (613a2062)"),
        (b'{"a":1} {}', "invalid character '{' after top-level value ({\"a\":1} {})"),
        (b'{"a" 1}', "invalid character '1' after object key ({\"a\" 1})"),
        (b'{"a":1 2}', "invalid character '2' after object key:value pair ({\"a\":1 2})"),
        (b'{"a":[1 2]}', "invalid character '2' after array element ({\"a\":[1 2]})"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string ({\"a\":1,})"),
        (b'{"a":NaN}', "invalid character 'N' looking for beginning of value ({\"a\":NaN})"),
        (b'{"a":"\n"}', "invalid character '\\n' in string literal ({\"a\":\"\n\"})"),
        (b'{"a":"\\x"}', "invalid character 'x' in string escape code ({\"a\":\"\\x\"})"),
        (b'{"a":"x', "unexpected end of JSON input ({\"a\":\"x)"),
    ],
)  # fmt: skip
def test_bad_json(body: bytes, problem: str) -> None:
    head = (
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: "
    )
    assert refused(body) == head + problem


def test_documents_that_are_no_objects() -> None:
    assert "json: cannot unmarshal array into Go value of type struct { APIVersion string" in refused(b"[]")
    assert refused(b'"x"').endswith("(227822)")
    assert "cannot unmarshal number into Go struct field .kind of type string" in refused({"kind": 5})


def test_long_bodies_are_cut_in_messages() -> None:
    assert refused(b'{"metadata": {"name": "secret-value-here"').endswith('({"metadata": {"name": "secret- ...)')


def test_wrong_kinds_and_versions() -> None:
    scheme = 'in scheme "pkg/api/legacyscheme/scheme.go:30"'
    assert refused({"apiVersion": "v1", "kind": "Secret"}) == (
        'Secret in version "v1" cannot be handled as a ConfigMap: '
        "converting (v1.Secret) to (core.ConfigMap): unknown conversion"
    )
    assert refused({"apiVersion": "v1", "kind": "Nope"}) == (
        f'Nope in version "v1" cannot be handled as a ConfigMap: no kind "Nope" is registered for version "v1" {scheme}'
    )
    assert refused({"apiVersion": "v2", "kind": "ConfigMap"}) == (
        'ConfigMap in version "v2" cannot be handled as a ConfigMap: '
        f'no kind "ConfigMap" is registered for version "v2" {scheme}'
    )
    assert "converting (v1.List) to (core.ConfigMap)" in refused({"apiVersion": "v1", "kind": "List"})
    assert "to (apps.Deployment)" in refused({"apiVersion": "v1", "kind": "Pod"}, "deployments", "apps")
    for api_version, kind, expected in (
        ("autoscaling/v1", "HorizontalPodAutoscaler", "autoscaling/v2"),
        ("events.k8s.io/v1", "Event", "v1"),
        ("v1", "Event", "events.k8s.io/v1"),
    ):
        group, _, version = expected.rpartition("/")
        resource = find(group, version, f"{kind.lower()}s")
        assert resource is not None
        with pytest.raises(StatusError) as caught:
            decode_body(json.dumps({"apiVersion": api_version, "kind": kind}).encode(), None, resource)
        assert (caught.value.code, str(caught.value)) == (
            400,
            f"the API version in the data ({api_version}) does not match the expected API version ({expected})",
        )


@pytest.mark.parametrize(
    ("plural", "body", "problem"),
    [
        ("configmaps", {"data": {"a": 1}}, "number into Go struct field ConfigMap.data of type string"),
        ("configmaps", {"data": []}, "array into Go struct field ConfigMap.data of type map[string]string"),
        ("configmaps", {"immutable": "x"}, "string into Go struct field ConfigMap.immutable of type bool"),
        ("configmaps", {"metadata": {"name": 5}},
         "number into Go struct field ObjectMeta.metadata.name of type string"),
        ("pods", {"spec": []}, "array into Go struct field Pod.spec of type v1.PodSpec"),
        ("pods", {"spec": {"containers": "x"}},
         "string into Go struct field PodSpec.spec.containers of type []v1.Container"),
        ("pods", {"spec": {"containers": [{"ports": [{"containerPort": "80"}]}]}},
         "string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"),
        ("pods", {"spec": {"terminationGracePeriodSeconds": 1.5}},
         "number 1.5 into Go struct field PodSpec.spec.terminationGracePeriodSeconds of type int64"),
        ("pods", {"spec": {"priority": 2147483648}},
         "number 2147483648 into Go struct field PodSpec.spec.priority of type int32"),
        ("pods", {"spec": {"restartPolicy": True}},
         "bool into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"),
        ("pods", {"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": True}}}]}},
         "bool into Go struct field HTTPGetAction.spec.containers.livenessProbe.httpGet.port of type int32"),
    ],
)  # fmt: skip
def test_wrong_types(plural: str, body: Any, problem: str) -> None:
    kind = row(plural).kind
    expected = f'{kind} in version "v1" cannot be handled as a {kind}: json: cannot unmarshal {problem}'
    assert refused(body, plural) == expected


@pytest.mark.parametrize(
    ("plural", "body", "problem"),
    [
        ("configmaps", {"binaryData": {"a": "not base64!"}}, "illegal base64 data at input byte 3"),
        ("secrets", {"data": {"a": "eA="}}, "illegal base64 data at input byte 3"),
        ("secrets", {"data": {"a": "eA==x"}}, "illegal base64 data at input byte 4"),
        ("secrets", {"data": {"a": "eAx"}}, "illegal base64 data at input byte 0"),
        ("pods", {"spec": {"overhead": {"cpu": "1x"}}},
         "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"),
        ("configmaps", {"metadata": {"creationTimestamp": "x"}},
         'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'),
        ("configmaps", {"metadata": {"creationTimestamp": "2024-13-01T00:00:00Z"}},
         'parsing time "2024-13-01T00:00:00Z": month out of range'),
        ("configmaps", {"metadata": {"creationTimestamp": "2024-02-30T00:00:00Z"}},
         'parsing time "2024-02-30T00:00:00Z": day out of range'),
        ("configmaps", {"metadata": {"creationTimestamp": "2024-01-01T00:00:00"}},
         'parsing time "2024-01-01T00:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00"'),
        ("events", {"eventTime": "2024-01-01T00:00:00Z"},
         'parsing time "2024-01-01T00:00:00Z" as "2006-01-02T15:04:05.000000Z07:00": '
         'cannot parse "Z" as ".000000"'),
    ],
)  # fmt: skip
def test_bad_values(plural: str, body: Any, problem: str) -> None:
    assert refused(body, plural).endswith(f": {problem}")


UNKNOWN = {"metadata": {"name": "p", "foo": "x"}, "spec": {"containers": [{"name": "c", "zap": [1]}], "bogus": 1}}
UNKNOWN_TEXTS = [
    'unknown field "metadata.foo"',
    'unknown field "spec.containers[0].zap"',
    'unknown field "spec.bogus"',
]


def test_unknown_fields() -> None:
    decoded = load(UNKNOWN, "pods")
    assert decoded.warnings == UNKNOWN_TEXTS
    assert decoded.object["metadata"] == {"name": "p"}
    assert decoded.object["spec"] == {"containers": [{"name": "c", "resources": {}}]}
    assert load(UNKNOWN, "pods", field_validation="Ignore").warnings == []
    assert refused(UNKNOWN, "pods", field_validation="Strict") == (
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: ' + ", ".join(UNKNOWN_TEXTS)
    )
    assert load({"Data": {"a": "b"}}).warnings == ['unknown field "Data"']


def test_repeated_fields() -> None:
    body = b'{"metadata":{"name":"a","name":"b"},"data":{"a":"1","a" : "2"}}'
    decoded = load(body)
    assert decoded.warnings == ['duplicate field "metadata.name"', 'duplicate field "data.a"']
    assert decoded.object["data"] == {"a": "2"}
    assert refused(body, field_validation="Strict").endswith(
        'strict decoding error: duplicate field "metadata.name", duplicate field "data.a"'
    )
    assert load(body, field_validation="Ignore").warnings == []
    quoted = {"data": {"a": '{"x":1,"x":2}', "b": '\\":'}}
    assert load(quoted, field_validation="Strict").object["data"] == quoted["data"]


def test_strict_errors_are_bounded() -> None:
    many = {f"u{index:03}": 0 for index in range(300)}
    assert len(load(many).warnings) == 100


def nested(depth: int) -> Any:
    value: Any = {}
    for _ in range(depth - 1):
        value = {"f:a": value}
    return value


def test_depth_is_bounded() -> None:
    fits = {"metadata": {"managedFields": [{"fieldsV1": nested(60)}]}}
    assert load(fits).object["metadata"]["managedFields"][0]["fieldsV1"] == nested(60)
    for deep in ({"metadata": {"managedFields": [{"fieldsV1": nested(61)}]}}, {"x": nested(64)}):
        assert "exceeded max depth of 64" in refused(deep)
    assert "exceeded max depth of 64" in refused(b'{"a":' + b"[" * 100_000)
    assert "exceeded max depth of 64" in refused(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}")


def test_text_that_is_not_unicode_is_repaired() -> None:
    assert load(b'{"data":{"a":"\xff"}}').object["data"] == {"a": "\ufffd"}
    assert load(b'{"data":{"a":"\\ud800"}}').object["data"] == {"a": "\ufffd"}
    assert load({"data": {"a": "ä\u2028<&>"}}).object["data"] == {"a": "ä\u2028<&>"}


def test_huge_numbers_are_refused() -> None:
    body = b'{"spec":{"priority":' + b"9" * 5000 + b"}}"
    assert "of type int32" in refused(body, "pods")


@pytest.mark.parametrize("content_type", [None, "", JSON, "application/json; charset=utf-8", "Application/JSON"])
def test_json_media_types(content_type: str | None) -> None:
    assert load({"data": {}}, content_type=content_type).object["kind"] == "ConfigMap"


@pytest.mark.parametrize("content_type", ["application/xml", "text/plain", "json", "application/json-patch+json"])
def test_other_media_types(content_type: str) -> None:
    with pytest.raises(StatusError) as caught:
        load({}, content_type=content_type)
    assert caught.value.code == 415
    assert "application/json, application/yaml, application/vnd.kubernetes.protobuf" in str(caught.value)


def test_decode_document_leaves_its_input_and_raises_plain_errors() -> None:
    document = {"kind": "ConfigMap", "apiVersion": "v1", "data": {"a": "b"}, "bogus": 1}
    decoded = decode_document(document, row("configmaps"))
    assert decoded.warnings == ['unknown field "bogus"']
    assert "bogus" in document
    with pytest.raises(DecodeError, match=r'^strict decoding error: unknown field "bogus"$'):
        decode_document(document, row("configmaps"), field_validation="Strict")
    with pytest.raises(DecodeError, match="cannot unmarshal number"):
        decode_document({"data": {"a": 3}}, row("configmaps"))
    with pytest.raises(DecodeError, match="cannot be handled as a ConfigMap"):
        decode_document({"kind": "Secret", "apiVersion": "v1"}, row("configmaps"))
    with pytest.raises(DecodeError, match="max depth"):
        decode_document({"x": nested(70)}, row("configmaps"))


def test_options() -> None:
    assert decode_options(b"", None) == {}
    body = {
        "kind": "DeleteOptions",
        "apiVersion": "apps/v1",
        "gracePeriodSeconds": 0,
        "x": 1,
        "preconditions": {"uid": "u"},
    }
    assert decode_options(json.dumps(body).encode(), JSON) == {
        "gracePeriodSeconds": 0,
        "preconditions": {"uid": "u"},
    }
    assert decode_options(b"propagationPolicy: Orphan", YAML) == {"propagationPolicy": "Orphan"}
    with pytest.raises(StatusError, match=r'^no kind "ConfigMap" is registered for version "v1"'):
        decode_options(b'{"kind":"ConfigMap"}', JSON)
    with pytest.raises(StatusError, match=r"^couldn't get version/kind; json parse error: unexpected end"):
        decode_options(b'{"a"', JSON)
    with pytest.raises(StatusError):
        decode_options(b"{}", "text/plain")


@given(st.binary(max_size=200), st.sampled_from([JSON, YAML, "application/vnd.kubernetes.protobuf"]))
def test_any_bytes_are_decoded_or_refused(body: bytes, content_type: str) -> None:
    for prefix in (b"", b"k8s\x00"):
        try:
            decode_body(prefix + body, content_type, row("pods"))
        except StatusError as error:
            assert error.code == 400


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["metadata", "spec", "name", "containers", "ports", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_any_json_is_decoded_or_refused(value: Any) -> None:
    try:
        decoded = decode_body(json.dumps(value).encode(), JSON, row("pods"))
    except StatusError as error:
        assert error.code == 400
    else:
        again = decode_body(json.dumps(decoded.object).encode(), JSON, row("pods"), field_validation="Strict")
        assert again.object == decoded.object
