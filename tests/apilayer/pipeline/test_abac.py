"""Policies of a file: whom they are about, what they allow, and which lines cannot be used."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from apilayer.pipeline.abac import PolicyAuthorizer, PolicyError, parse_policies
from apilayer.pipeline.authentication import ANONYMOUS, User
from apilayer.pipeline.authorization import Rules, Verdict
from apilayer.pipeline.request_info import parse

JANE = User("jane", groups=("devs", "system:authenticated"))
NO = Verdict(False, "No policy matched.")


def line(**spec: Any) -> str:
    policy = {"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": spec}
    return orjson.dumps(policy).decode()


def authorizer(*lines: str) -> PolicyAuthorizer:
    return PolicyAuthorizer(parse_policies(lines))


PODS, ALL = {"namespace": "n", "resource": "pods"}, {"namespace": "*", "resource": "*", "apiGroup": "*"}
POD = "/api/v1/namespaces/n/pods/p"


@pytest.mark.parametrize(
    ("spec", "request_line", "allowed"),
    [
        ({"user": "jane", **PODS}, f"GET {POD}", True),
        ({"user": "jane", **PODS}, f"DELETE {POD}", True),
        ({"user": "jane", **PODS, "readonly": True}, f"DELETE {POD}", False),
        ({"user": "jane", **PODS, "readonly": True}, "GET /api/v1/namespaces/n/pods", True),
        ({"user": "jane", **PODS}, f"GET {POD}/log", True),
        ({"user": "jane", **PODS}, "GET /api/v1/namespaces/m/pods/p", False),
        ({"user": "jane", **PODS}, "GET /api/v1/pods", False),
        ({"user": "jane", **PODS}, "GET /api/v1/namespaces/n/secrets/p", False),
        ({"user": "jane", **PODS}, "GET /apis/x/v1/namespaces/n/pods/p", False),
        ({"user": "jane", **ALL}, "GET /apis/x/v1/namespaces/n/pods/p", True),
        ({"user": "jane", **ALL}, "GET /version", False),
        ({"user": "jo", **ALL}, f"GET {POD}", False),
        ({"group": "devs", **ALL}, f"GET {POD}", True),
        ({"group": "ops", **ALL}, f"GET {POD}", False),
        ({"user": "jane", "group": "ops", **ALL}, f"GET {POD}", False),
        ({"user": "jane", "group": "devs", **ALL}, f"GET {POD}", True),
        ({"user": "*", **ALL}, f"GET {POD}", True),
        ({"group": "*", **ALL}, f"GET {POD}", True),
        (ALL, f"GET {POD}", False),
        ({"user": "jane", "nonResourcePath": "/version"}, "GET /version", True),
        ({"user": "jane", "nonResourcePath": "/version"}, "GET /version/x", False),
        ({"user": "jane", "nonResourcePath": "/ver*"}, "POST /version", True),
        ({"user": "jane", "nonResourcePath": "/ver*", "readonly": True}, "POST /version", False),
        ({"user": "jane", "nonResourcePath": "*"}, "GET /metrics", True),
        ({"user": "jane", "nonResourcePath": "*"}, f"GET {POD}", False),
    ],
)
def test_what_a_policy_allows(spec: dict[str, Any], request_line: str, allowed: bool) -> None:
    method, path = request_line.split()
    assert authorizer(line(**spec)).decide(JANE, parse(method, path)) == (Verdict(True) if allowed else NO)


def test_everybody_is_whoever_is_known() -> None:
    policies = authorizer("# all", "", line(user="*", nonResourcePath="/version"), line(group="*", **ALL))
    for path in ("/version", POD):
        assert policies.decide(JANE, parse("GET", path)).allowed
        assert policies.decide(ANONYMOUS, parse("GET", path)) == NO
    named = authorizer(line(group="system:unauthenticated", nonResourcePath="/version"))
    assert named.decide(ANONYMOUS, parse("GET", "/version")).allowed


def test_what_may_somebody() -> None:
    policies = authorizer(
        line(user="jane", readonly=True, **PODS),
        line(user="jo", **ALL),
        line(user="jane", namespace="*", nonResourcePath="/x"),
    )
    reads = ["get", "list", "watch"]
    paths = ({"verbs": ["*"], "nonResourceURLs": ["/x"]},)
    assert policies.rules(JANE, "n") == Rules(({"verbs": reads, "apiGroups": [""], "resources": ["pods"]},), paths)
    assert policies.rules(JANE, "m") == Rules((), paths)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: must be an object"),
        (
            '{"user":"jane"}',
            'line 2: must have kind "Policy" and apiVersion "abac.authorization.kubernetes.io/v1beta1"',
        ),
        (line(user=1), "line 2: spec.user: must be a string"),
        (line(readonly="yes"), "line 2: spec.readonly: must be true or false"),
        (line(verbs="get"), "line 2: spec.verbs: unknown field"),
        (line().replace("{}", "[1]"), "line 2: spec: must be an object"),
    ],
)
def test_lines_that_cannot_be_used(written: str, reason: str) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_policies(["# a comment counts as a line", written])
    assert reason in str(caught.value)
