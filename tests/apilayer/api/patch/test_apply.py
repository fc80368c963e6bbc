"""PATCH bodies on real kinds: media types, undecodable bodies, bounds, warnings, and results of a wrong shape."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.api.patch import PATCH_TYPES, Patched, apply_patch
from apilayer.api.resources import Resource, find
from apilayer.api.status import StatusError

JSON, MERGE, STRATEGIC = PATCH_TYPES


def row(plural: str, group: str = "") -> Resource:
    found = find(group, "v1", plural)
    assert found is not None
    return found


CONFIG_MAPS = row("configmaps")
DEPLOYMENTS = row("deployments", "apps")
CONFIG_MAP = {
    "kind": "ConfigMap",
    "apiVersion": "v1",
    "metadata": {"name": "j", "namespace": "n"},
    "data": {"c": "3", "a": "1"},
}
DEPLOYMENT = {
    "kind": "Deployment",
    "apiVersion": "apps/v1",
    "metadata": {"name": "w"},
    "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}},
}


def patched(content_type: str | None, patch: Any, validation: Any = "Warn") -> Patched:
    body = patch if isinstance(patch, bytes) else json.dumps(patch).encode()
    before = copy.deepcopy(CONFIG_MAP)
    try:
        return apply_patch(content_type, CONFIG_MAP, body, CONFIG_MAPS, field_validation=validation)
    finally:
        assert before == CONFIG_MAP


def refused(content_type: str | None, patch: Any, validation: Any = "Warn") -> dict[str, Any]:
    with pytest.raises(StatusError) as caught:
        patched(content_type, patch, validation)
    assert caught.value.code == caught.value.status["code"]
    return caught.value.status


@pytest.mark.parametrize(
    ("content_type", "patch"),
    [
        (JSON, [{"op": "replace", "path": "/data/a", "value": "x"}]),
        (MERGE, {"data": {"a": "x"}}),
        (STRATEGIC, {"data": {"a": "x"}}),
        ("Application/Merge-Patch+JSON; charset=utf-8", {"data": {"a": "x"}}),
    ],
)
def test_the_same_change_three_ways(content_type: str, patch: Any) -> None:
    result = patched(content_type, patch)
    assert result.object == {**CONFIG_MAP, "data": {"c": "3", "a": "x"}}
    assert result.warnings == []


@pytest.mark.parametrize("content_type", [None, "", "application/json", "application/apply-patch+yaml"])
def test_other_media_types(content_type: str | None) -> None:
    assert refused(content_type, {}) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "415: Unsupported Media Type",
        "reason": "UnsupportedMediaType",
        "details": {},
        "code": 415,
    }


MAP = "Go value of type map[string]interface {}"


@pytest.mark.parametrize(
    ("content_type", "body", "message"),
    [
        (JSON, b"[{", "error decoding patch: unexpected end of JSON input"),
        (
            JSON,
            b'{"op":"x"}',
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ),
        (
            JSON,
            b"[1]",
            "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp",
        ),
        (
            JSON,
            b'[{"op":1}]',
            "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
        ),
        (MERGE, b"{bad", "error decoding patch: invalid character 'b' looking for beginning of object key string"),
        (MERGE, b'{"data":', "error decoding patch: unexpected end of JSON input"),
        (MERGE, b"[]", f"error decoding patch: json: cannot unmarshal array into {MAP}"),
        (MERGE, b"null", "Invalid JSON Patch"),
        (
            MERGE,
            b'{"x":1e999}',
            "error decoding patch: json: cannot unmarshal number into Go value of type float64",
        ),
        (STRATEGIC, b"", "unexpected end of JSON input"),
        (STRATEGIC, b"[]", f"json: cannot unmarshal array into {MAP}"),
        (STRATEGIC, b'"x"', f"json: cannot unmarshal string into {MAP}"),
    ],
)
def test_bodies_that_cannot_be_read(content_type: str, body: bytes, message: str) -> None:
    answer = refused(content_type, body)
    assert (answer["code"], answer["reason"], answer["message"]) == (400, "BadRequest", message)


@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC, JSON])
def test_deep_bodies_are_refused(content_type: str) -> None:
    body = b'{"a":' * 70 + b"1" + b"}" * 70
    if content_type == JSON:
        body = b'[{"op":"add","path":"/data","value":' + body + b"}]"
    assert refused(content_type, body)["code"] == 400
    assert refused(content_type, b"[" * 100_000)["code"] == 400


def test_too_many_operations() -> None:
    operation = {"op": "test", "path": "/data/a", "value": "1"}
    assert patched(JSON, [operation] * 10_000).object == CONFIG_MAP
    answer = refused(JSON, [operation] * 10_001)
    assert (answer["code"], answer["reason"]) == (413, "RequestEntityTooLarge")
    assert answer["message"] == "The allowed maximum operations in a JSON patch is 10000, got 10001"


def test_a_patch_cannot_make_a_deep_object() -> None:
    deeper = [
        {"op": "add", "path": "/b", "value": {}},
        {"op": "move", "from": "/a", "path": "/b/a"},
        {"op": "move", "from": "/b", "path": "/a"},
    ]
    answer = refused(JSON, [{"op": "add", "path": "/a", "value": {}}] + deeper * 3000)
    assert answer["code"] == 422


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/a", "value": "no"},
        {"op": "remove", "path": "/data/zz"},
        {"op": "add", "path": "/zz/y", "value": "x"},
        {"op": "zap", "path": "/data/a"},
        {"op": "add", "value": "x"},
    ],
)
def test_json_patches_that_do_not_apply(operation: dict[str, Any]) -> None:
    assert refused(JSON, [operation]) == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the server rejected our request due to an error in our request",
        "reason": "Invalid",
        "details": {},
        "code": 422,
    }


def test_unknown_fields_of_the_result() -> None:
    for content_type, patch in (
        (JSON, [{"op": "add", "path": "/bogus", "value": 1}]),
        (MERGE, {"bogus": 1}),
        (STRATEGIC, {"bogus": 1}),
    ):
        assert patched(content_type, patch).warnings == ['unknown field "bogus"']
        assert patched(content_type, patch).object == CONFIG_MAP
        assert patched(content_type, patch, "Ignore").warnings == []


def invalid(value: str, detail: str) -> dict[str, Any]:
    message = f'Invalid value: "{value}": {detail}'
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f' "" is invalid: patch: {message}',
        "reason": "Invalid",
        "details": {"causes": [{"reason": "FieldValueInvalid", "message": message, "field": "patch"}]},
        "code": 422,
    }


def test_strict_validation_refuses_unknown_fields() -> None:
    detail = 'strict decoding error: unknown field "bogus"'
    # the document is shown with its top-level members sorted, what is below in its own order
    shown = (
        r"{\"apiVersion\":\"v1\",\"bogus\":1,\"data\":{\"c\":\"3\",\"a\":\"1\"},\"kind\":\"ConfigMap\","
        r"\"metadata\":{\"name\":\"j\",\"namespace\":\"n\"}}"
    )
    assert refused(MERGE, {"bogus": 1}, "Strict") == invalid(shown, detail)
    assert refused(STRATEGIC, {"bogus": 1}, "Strict") == invalid("map[bogus:1]", detail)


def test_repeated_and_unknown_names_in_the_patch_itself() -> None:
    body = b'{"data":{"x":"1","x":"2"}}'
    for content_type in (MERGE, STRATEGIC):
        result = patched(content_type, body)
        assert result.warnings == ['duplicate field "data.x"']
        assert result.object["data"]["x"] == "2"
        assert refused(content_type, body, "Strict")["code"] == 422
    operations = b'[{"op":"add","op":"add","path":"/data/x","value":"1","extra":2}]'
    assert patched(JSON, operations).warnings == [
        'json patch duplicate field "[0].op"',
        'json patch unknown field "[0].extra"',
    ]


@pytest.mark.parametrize("value", [b"9" * 30, rb'"\ud800"', b"[{}]"])
@pytest.mark.parametrize("content_type", [MERGE, STRATEGIC])
def test_repeated_names_with_odd_values(content_type: str, value: bytes) -> None:
    body = b'{"x":1,"x":' + value + b"}"
    assert patched(content_type, body).warnings == ['duplicate field "x"', 'unknown field "x"']
    assert refused(content_type, body, "Strict")["code"] == 422


def test_wrong_types_in_the_result() -> None:
    answer = refused(MERGE, {"data": {"c": 3}})
    detail = "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
    assert answer["code"] == 422
    assert answer["message"].endswith(f'": {detail}')


@pytest.mark.parametrize(
    ("patch", "shown", "detail"),
    [
        (
            {"spec": {"template": {"spec": {"containers": {"name": "a"}}}}},
            "map[spec:map[template:map[spec:map[containers:map[name:a]]]]]",
            "cannot restore slice from map",
        ),
        ({"metadata": {"labels": []}}, "map[metadata:map[labels:[]]]", "cannot restore map from slice"),
        ({"spec": "x"}, "map[spec:x]", "cannot restore struct from: string"),
        ({"spec": {"replicas": "x"}}, "map[spec:map[replicas:x]]", "unrecognized type: int32"),
        ({"spec": {"replicas": 1.5}}, "map[spec:map[replicas:1.5]]", "cannot convert float64 to int32"),
        ({"metadata": {"namespace": 1}}, "map[metadata:map[namespace:1]]", "cannot convert int64 to string"),
        ({"spec": {"paused": 1}}, "map[spec:map[paused:1]]", "unrecognized type: bool"),
    ],
)
def test_wrong_types_after_a_strategic_merge_patch(patch: Any, shown: str, detail: str) -> None:
    with pytest.raises(StatusError) as caught:
        apply_patch(STRATEGIC, DEPLOYMENT, json.dumps(patch).encode(), DEPLOYMENTS)
    assert caught.value.status == invalid(shown, detail)


def test_strategic_errors_keep_their_code() -> None:
    missing = {"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}}
    with pytest.raises(StatusError) as caught:
        apply_patch(STRATEGIC, DEPLOYMENT, json.dumps(missing).encode(), DEPLOYMENTS)
    assert caught.value.status == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "map: map[image:x] does not contain declared merge key: name",
        "code": 500,
    }
    assert refused(STRATEGIC, {"$retainKeys": 1})["code"] == 400


def test_results_that_are_no_object_of_the_kind() -> None:
    nameless = "the name of the object (j based on URL) was undeterminable: name must be provided"
    whole = [{"op": "replace", "path": "", "value": {"metadata": {"name": "j"}}}]
    assert refused(JSON, whole)["message"] == nameless
    assert refused(MERGE, {"kind": None})["message"] == nameless
    assert refused(JSON, [{"op": "replace", "path": "", "value": []}])["code"] == 422
    other = refused(JSON, [{"op": "replace", "path": "/kind", "value": "Secret"}])
    assert other["code"] == 422
    assert "illegal base64 data at input byte" in other["message"]
    assert refused(MERGE, {"kind": "Nope"})["code"] == 422


@given(st.sampled_from(PATCH_TYPES), st.binary(max_size=40))
def test_any_body_is_a_patch_or_a_4xx(content_type: str, body: bytes) -> None:
    try:
        patched(content_type, body)
    except StatusError as error:
        assert 400 <= error.code < 500


KEYS = st.sampled_from(["data", "metadata", "labels", "finalizers", "$patch", "$retainKeys", "x", "kind", "a"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([MERGE, STRATEGIC]), st.dictionaries(KEYS, VALUES, max_size=3))
def test_any_object_is_a_patch_or_an_error_of_ours(content_type: str, patch: dict[str, Any]) -> None:
    try:
        result = patched(content_type, patch)
    except StatusError as error:
        assert error.status["message"]
    else:
        assert result.object["kind"] == "ConfigMap"
