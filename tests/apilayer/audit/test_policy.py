"""The first rule that matches decides; wildcards never mean secrets."""

from __future__ import annotations

import pytest

from apilayer.audit.policy import Level
from apilayer.audit.policy_file import PolicyError, parse_policy, read_policy
from apilayer.pipeline.authentication import User
from apilayer.pipeline.request_info import parse

ALICE = User("alice", groups=("devs", "system:authenticated"))
HEAD = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"


def policy(rules: str, head: str = HEAD):
    return parse_policy(f"{head}rules:\n{rules}".encode())[0]


@pytest.mark.parametrize(
    ("rule", "method", "path", "matches"),
    [
        ("{}", "GET", "/api/v1/pods", True),
        ("{}", "GET", "/healthz", True),
        ("{users: [alice, bob]}", "GET", "/version", True),
        ("{users: [bob]}", "GET", "/version", False),
        ("{userGroups: [ops, devs]}", "GET", "/version", True),
        ("{userGroups: [ops]}", "GET", "/version", False),
        ("{verbs: [create]}", "POST", "/api/v1/namespaces/a/pods", True),
        ("{verbs: [create]}", "PUT", "/api/v1/namespaces/a/pods/x", False),
        ("{verbs: [get]}", "GET", "/version", True),
        ("{namespaces: [a]}", "GET", "/api/v1/namespaces/a/pods", True),
        ("{namespaces: [a]}", "GET", "/api/v1/namespaces/b/pods", False),
        ("{namespaces: [a]}", "GET", "/version", False),
        ('{namespaces: [""]}', "GET", "/api/v1/nodes", True),
        ('{namespaces: [""]}', "GET", "/api/v1/namespaces/a/pods", False),
        ("{nonResourceURLs: [/healthz]}", "GET", "/healthz", True),
        ("{nonResourceURLs: [/healthz]}", "GET", "/healthz/ping", False),
        ("{nonResourceURLs: ['/healthz*']}", "GET", "/healthz/ping", True),
        ("{nonResourceURLs: ['*']}", "GET", "/metrics", True),
        ("{nonResourceURLs: ['*']}", "GET", "/api/v1/pods", False),
        ("{resources: [{group: ''}]}", "GET", "/api/v1/pods", True),
        ("{resources: [{group: ''}]}", "GET", "/apis/apps/v1/deployments", False),
        ("{resources: [{group: apps, resources: [deployments]}]}", "GET", "/apis/apps/v1/deployments", True),
        ("{resources: [{resources: [pods]}]}", "GET", "/api/v1/namespaces/a/pods/x", True),
        ("{resources: [{resources: [pods]}]}", "GET", "/api/v1/namespaces/a/pods/x/log", False),
        ("{resources: [{resources: [pods/log]}]}", "GET", "/api/v1/namespaces/a/pods/x/log", True),
        ("{resources: [{resources: ['*']}]}", "GET", "/api/v1/namespaces/a/pods/x/log", True),
        ("{resources: [{resources: ['*/log']}]}", "GET", "/api/v1/namespaces/a/pods/x/log", True),
        ("{resources: [{resources: ['*/log']}]}", "GET", "/api/v1/namespaces/a/pods/x/status", False),
        ("{resources: [{resources: ['*/log']}]}", "GET", "/api/v1/namespaces/a/pods/x", False),
        ("{resources: [{resources: ['pods/*']}]}", "GET", "/api/v1/namespaces/a/pods/x/status", True),
        ("{resources: [{resources: ['pods/*']}]}", "GET", "/api/v1/namespaces/a/pods/x", True),
        ("{resources: [{resources: [pods], resourceNames: [x]}]}", "GET", "/api/v1/namespaces/a/pods/x", True),
        ("{resources: [{resources: [pods], resourceNames: [x]}]}", "GET", "/api/v1/namespaces/a/pods/y", False),
        ("{resources: [{resources: [pods]}], verbs: [get], users: [alice]}", "GET", "/api/v1/pods", False),
    ],
)
def test_what_a_rule_matches(rule: str, method: str, path: str, matches: bool) -> None:
    found = policy(f"- {rule[:-1]}{', ' if rule != '{}' else ''}level: Request}}").decide(ALICE, parse(method, path))
    assert (found.level == Level.REQUEST) is matches


def test_the_first_match_decides() -> None:
    read = policy("- {level: None, users: [alice]}\n- {level: Metadata}")
    info = parse("GET", "/version")
    assert read.decide(ALICE, info).level == Level.NONE
    assert read.decide(User("bob"), info).level == Level.METADATA


def test_nobody_matches_no_rule_that_names_somebody() -> None:
    read = policy("- {level: Request, users: ['']}\n- {level: Request, userGroups: [x]}\n- {level: Metadata}")
    assert read.decide(None, parse("GET", "/version")).level == Level.METADATA


def test_stages_and_managed_fields_are_inherited() -> None:
    head = f"{HEAD}omitStages: [RequestReceived]\nomitManagedFields: true\n"
    rules = "- {level: Request, verbs: [get], omitStages: [Panic], omitManagedFields: false}\n- {level: Request}"
    read = policy(rules, head)
    one, other = read.decide(ALICE, parse("GET", "/version")), read.decide(ALICE, parse("POST", "/version"))
    assert (one.omit_stages, one.omit_managed_fields) == ({"RequestReceived", "Panic"}, False)
    assert (other.omit_stages, other.omit_managed_fields) == ({"RequestReceived"}, True)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/a/secrets",
        "/api/v1/namespaces/a/serviceaccounts/x/token",
        "/apis/authentication.k8s.io/v1/tokenreviews",
    ],
)
def test_bodies_with_secrets_are_told_only_where_a_rule_names_them(path: str) -> None:
    info = parse("POST", path)
    resource = f"{info.resource}/{info.subresource}".rstrip("/")
    for rule in ("", ", resources: [{group: %s}]", ", resources: [{group: %s, resources: ['*', '*/*', '*/token']}]"):
        wide = policy(f"- {{level: RequestResponse{rule.replace('%s', repr(info.group))}}}")
        assert wide.decide(ALICE, info).level == Level.METADATA
    named = policy(f"- {{level: RequestResponse, resources: [{{group: '{info.group}', resources: [{resource}]}}]}}")
    assert named.decide(ALICE, info).level == Level.REQUEST_RESPONSE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "failed decoding: must be an object"),
        ("a: [", "failed decoding: while parsing"),
        ("kind: Policy", "unknown group version field , Kind=Policy in policy"),
        ("apiVersion: audit.k8s.io/v1beta1\nkind: Policy", "unknown group version field audit.k8s.io/v1beta1, Kind=P"),
        (HEAD, "loaded illegal policy with 0 rules"),
        (f"{HEAD}rules: x", 'rules: Invalid value: "x": must be a list'),
        (f"{HEAD}rules: [x]", 'rules[0]: Invalid value: "x": must be an object'),
        (f"{HEAD}rules: [{{}}]", "rules[0].level: Required value"),
        (
            f"{HEAD}rules: [{{level: All}}]",
            'rules[0].level: Unsupported value: "All": supported values: "None", "Metadata", "Request",'
            ' "RequestResponse"',
        ),
        (f"{HEAD}rules: [{{level: None, users: me}}]", 'rules[0].users: Invalid value: "me": must be a list of strin'),
        (f"{HEAD}rules: [{{level: None, users: [2001-01-01]}}]", "rules[0].users: Invalid value: ["),
        (f"{HEAD}rules: [{{level: None, users: {{1: 2}}}}]", "failed decoding: "),
        (f"{HEAD}rules: [{{level: None, omitManagedFields: 1}}]", "rules[0].omitManagedFields: Invalid value: 1"),
        (
            f"{HEAD}rules: [{{level: None, resources: [x]}}]",
            'rules[0].resources: Invalid value: ["x"]: must be a list of objects',
        ),
        (
            f"{HEAD}rules: [{{level: None, resources: [{{group: 1}}]}}]",
            "rules[0].resources[0].group: Invalid value: 1: must be a string",
        ),
        (
            f"{HEAD}rules: [{{level: None, nonResourceURLs: [x]}}]",
            "rules[0].nonResourceURLs[0]: Invalid value: \"x\": non-resource URL rules must begin with a '/' character",
        ),
        (
            f"{HEAD}rules: [{{level: None, nonResourceURLs: ['/*/x']}}]",
            "rules[0].nonResourceURLs[0]: Invalid value: \"/*/x\": non-resource URL wildcards '*' must be the final",
        ),
        (
            f"{HEAD}rules: [{{level: None, nonResourceURLs: [/x], namespaces: [a]}}]",
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and',
        ),
        (
            f"{HEAD}rules: [{{level: None, resources: [{{group: A_B}}]}}]",
            'rules[0].resources.group: Invalid value: "A_B": a lowercase RFC 1123 subdomain must consist of',
        ),
        (
            f"{HEAD}rules: [{{level: None, resources: [{{resourceNames: [x]}}]}}]",
            'rules[0].resources.resourceNames: Invalid value: ["x"]: using resourceNames requires at least one',
        ),
        (
            f"{HEAD}omitStages: [End]\nrules: [{{level: None, omitStages: [Panic, Begin]}}]",
            '[omitStages[0]: Invalid value: "End": allowed stages are RequestReceived,ResponseStarted,'
            'ResponseComplete,Panic, rules[0].omitStages[1]: Invalid value: "Begin": allowed stages are',
        ),
        (f"{HEAD}#{'x' * 2**20}", "failed decoding: larger than 1048576 bytes"),
    ],
)
def test_what_is_wrong_with_a_policy(text: str, message: str, tmp_path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(f": from file {path}")


def test_a_file_that_is_not_there(tmp_path) -> None:
    with pytest.raises(PolicyError, match=r'^failed to read file path ".*/none": No such file or directory$'):
        read_policy(tmp_path / "none")


def test_unknown_fields_are_passed_over_and_named() -> None:
    text = f"{HEAD}wat: 1\nrules: [{{level: None, user: [x], resources: [{{groups: a}}]}}]"
    _, unknown = parse_policy(text.encode())
    assert unknown == ["wat", "rules[0].user", "rules[0].resources[0].groups"]
