"""Status answers and field errors in Kubernetes' exact shape."""

import pytest

from apilayer.api import field, status
from apilayer.api.gotext import json_text, quote, string_slice


def test_invalid_lists_every_cause_and_each_text_once() -> None:
    first = field.invalid("spec.replicas", -1, "must be greater than or equal to 0")
    second = field.required("spec.selector")
    error = status.invalid("Deployment", "apps", "web", [first, second, first])
    assert error.code == 422
    assert list(error.status) == [
        "kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code",
    ]  # fmt: skip
    assert error.status["message"] == (
        'Deployment.apps "web" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0,'
        " spec.selector: Required value]"
    )
    assert error.status["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: -1: must be greater than or equal to 0",
            "field": "spec.replicas",
        },
        {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"},
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: -1: must be greater than or equal to 0",
            "field": "spec.replicas",
        },
    ]


def test_invalid_with_one_error_has_no_brackets_and_no_empty_name() -> None:
    error = status.invalid("ConfigMap", "", "", [field.required("metadata.name", "name is required")])
    assert error.status["message"] == 'ConfigMap "" is invalid: metadata.name: Required value: name is required'
    assert "name" not in error.status["details"]
    assert error.status["details"]["kind"] == "ConfigMap"


@pytest.mark.parametrize(
    ("error", "code", "reason", "message"),
    [
        (status.not_found("pods", "", "a"), 404, "NotFound", 'pods "a" not found'),
        (status.already_exists("leases", "coordination.k8s.io", "a"), 409, "AlreadyExists",
         'leases.coordination.k8s.io "a" already exists'),
        (status.conflict("configmaps", "", "a"), 409, "Conflict",
         'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
         "please apply your changes to the latest version and try again"),
        (status.unauthorized(), 401, "Unauthorized", "Unauthorized"),
        (status.request_entity_too_large(3145728), 413, "RequestEntityTooLarge",
         "Request entity too large: limit is 3145728"),
        (status.method_not_allowed(), 405, "MethodNotAllowed",
         "the server does not allow this method on the requested resource"),
        (status.unsupported_media_type(["application/json"]), 415, "UnsupportedMediaType",
         "the body of the request was in an unknown format - accepted media types include: application/json"),
        (status.forbidden_verb("jane", "list", "pods", "", "ns", ""), 403, "Forbidden",
         'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "ns"'),
        (status.forbidden_verb("jane", "get", "deployments/status", "apps", "", "d"), 403, "Forbidden",
         'deployments.apps "d" is forbidden: User "jane" cannot get resource "deployments/status" '
         'in API group "apps" at the cluster scope'),
        (status.unprocessable(), 422, "Invalid",
         "the server rejected our request due to an error in our request"),
        (status.unknown_path_not_found(), 404, "NotFound",
         "the server could not find the requested resource"),
    ],
)  # fmt: skip
def test_failures(error: status.StatusError, code: int, reason: str, message: str) -> None:
    assert (error.code, error.status["code"]) == (code, code)
    assert error.status["reason"] == reason
    assert error.status["message"] == message == str(error)


def test_details_name_group_and_kind() -> None:
    assert status.not_found("deployments", "apps", "d").status["details"] == {
        "name": "d",
        "group": "apps",
        "kind": "deployments",
    }


def test_retry_headers() -> None:
    late = status.too_large_resource_version(9, 5)
    assert late.headers == (("Retry-After", "1"),)
    assert late.status["details"]["causes"] == [
        {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    ]
    assert status.too_many_requests("busy", 3).headers == (("Retry-After", "3"),)


def test_expired_carries_a_continue_token() -> None:
    assert status.expired("too old", "abc").status["metadata"] == {"continue": "abc"}
    assert status.expired("too old").status["metadata"] == {}


def test_success_and_raw() -> None:
    done = status.success({"name": "a", "group": "", "kind": "configmaps", "uid": "u"})
    assert done["details"] == {"name": "a", "kind": "configmaps", "uid": "u"}
    plain = status.raw(500, "resourceVersion should not be set on objects to be created")
    assert "reason" not in plain.status
    assert "details" not in plain.status


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (field.invalid("a", "x\n", "bad"), 'Invalid value: "x\\n": bad'),
        (field.invalid("a", None, "bad"), "Invalid value: null: bad"),
        (field.invalid("a", False), "Invalid value: false"),
        (field.invalid("a", {"b": ["<"]}), 'Invalid value: {"b":["\\u003c"]}'),
        (field.not_supported("a", "x", ["b", "c"]), 'Unsupported value: "x": supported values: "b", "c"'),
        (field.duplicate("a", "x"), 'Duplicate value: "x"'),
        (field.forbidden("a", "no"), "Forbidden: no"),
        (field.too_long("a", "secret", 5), "Too long: may not be more than 5 bytes"),
        (field.too_many("a", 3, 1), "Too many: 3: must have at most 1 item"),
        (field.not_found("a", "x"), 'Not found: "x"'),
        (field.type_invalid("a", 1, "must be a string"), "Invalid value: 1: must be a string"),
    ],
)
def test_field_messages(error: field.FieldError, message: str) -> None:
    assert error.message == message
    assert str(error) == f"a: {message}"


def test_go_text() -> None:
    assert quote('a"\\\t\x01\x7fä\u200b') == '"a\\"\\\\\\t\\x01\\x7fä\\u200b"'
    assert json_text("<&>") == '"\\u003c\\u0026\\u003e"'
    assert string_slice(["a", "b"]) == '[]string{"a", "b"}'
