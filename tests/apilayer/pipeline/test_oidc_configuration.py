"""AuthenticationConfiguration files and ``--oidc-*``: what they make, and every error at its field."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from apilayer.pipeline.authentication import Anonymous
from apilayer.pipeline.oidc.claims import JwtIssuer
from apilayer.pipeline.oidc.configuration import ConfigurationError, issuer_of_flags, parse_configuration
from tests.apilayer.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]
GOOD: Object = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AuthenticationConfiguration",
    "jwt": [
        {
            "issuer": {"url": "https://a", "audiences": ["x", "y"], "audienceMatchPolicy": "MatchAny"},
            "claimValidationRules": [{"claim": "hd", "requiredValue": "acme"}],
            "claimMappings": {
                "username": {"claim": "sub", "prefix": ""},
                "groups": {"claim": "groups", "prefix": "g:"},
                "uid": {"claim": "oid"},
            },
        },
        {
            "issuer": {"url": "https://b", "discoveryURL": "https://c/d", "audiences": ["x"]},
            "claimMappings": {"username": {"claim": "email", "prefix": "b:"}},
        },
    ],
    "anonymous": {"enabled": True, "conditions": [{"path": "/livez"}, {"path": "/readyz"}]},
}


def test_a_whole_configuration() -> None:
    found = parse_configuration(GOOD)
    assert found.issuers == (
        JwtIssuer(
            "https://a",
            ("x", "y"),
            username_claim="sub",
            groups_claim="groups",
            groups_prefix="g:",
            uid_claim="oid",
            required=(("hd", "acme"),),
        ),
        JwtIssuer("https://b", ("x",), "https://c/d", username_claim="email", username_prefix="b:"),
    )
    assert found.anonymous == Anonymous(True, ("/livez", "/readyz"))
    bare = {"apiVersion": "apiserver.config.k8s.io/v1beta1", "kind": "AuthenticationConfiguration"}
    assert parse_configuration(bare).issuers == ()


def test_authorities_of_an_issuer(tmp_path: Path) -> None:
    pem = Authority(tmp_path).pem.decode()
    document = copy.deepcopy(GOOD)
    document["jwt"][0]["issuer"]["certificateAuthority"] = pem
    assert parse_configuration(document).issuers[0].authorities == pem.encode()


def changed(where: str, value: Any) -> Object:
    """GOOD with something else at a path such as ``jwt.0.issuer.url``."""
    document = copy.deepcopy(GOOD)
    *parents, last = [int(step) if step.isdecimal() else step for step in where.split(".")]
    at: Any = document
    for step in parents:
        at = at.setdefault(step, {}) if isinstance(at, dict) else at[step]
    at[last] = value
    return document


EXPRESSION = "CEL expressions are not implemented by this server: use a claim"


@pytest.mark.parametrize(
    ("where", "value", "message"),
    [
        ("kind", "Pod", "not an AuthenticationConfiguration of apiVersion apiserver.config.k8s.io/v1"),
        ("apiVersion", "v1", "not an AuthenticationConfiguration of apiVersion apiserver.config.k8s.io/v1"),
        ("jwts", [], "jwts: Forbidden: unknown field"),
        ("jwt", {}, "jwt: Invalid value: must be a list"),
        ("jwt", [{}] * 65, "jwt: Too many: 65: must have at most 64 items"),
        ("jwt.0.issuer.url", "", "jwt[0].issuer.url: Required value"),
        ("jwt.0.issuer.url", 7, "jwt[0].issuer.url: Invalid value: must be a string"),
        (
            "jwt.0.issuer.url",
            "http://a",
            'jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https',
        ),
        (
            "jwt.0.issuer.url",
            "https://a?b#c",
            'jwt[0].issuer.url: Invalid value: "https://a?b#c": URL must not contain a query;'
            ' jwt[0].issuer.url: Invalid value: "https://a?b#c": URL must not contain a fragment',
        ),
        ("jwt.0.issuer.url", "https://b", 'jwt[1].issuer.url: Duplicate value: "https://b"'),
        (
            "jwt.0.issuer.url",
            "https://own",
            'jwt[0].issuer.url: Invalid value: "https://own": URL must not overlap with disallowed issuers:'
            " [https://own]",
        ),
        (
            "jwt.0.issuer.discoveryURL",
            "https://a/",
            'jwt[0].issuer.discoveryURL: Invalid value: "https://a/": discoveryURL must be different from URL',
        ),
        ("jwt.0.issuer.discoveryURL", "https://c/d", 'jwt[1].issuer.discoveryURL: Duplicate value: "https://c/d"'),
        ("jwt.0.issuer.audiences", [], "jwt[0].issuer.audiences: Required value: at least one"),
        ("jwt.0.issuer.audiences", ["x", ""], "jwt[0].issuer.audiences[1]: Required value"),
        ("jwt.0.issuer.audiences", ["x", "x"], 'jwt[0].issuer.audiences[1]: Duplicate value: "x"'),
        (
            "jwt.0.issuer.audienceMatchPolicy",
            "",
            'jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple'
            " audiences",
        ),
        (
            "jwt.1.issuer.audienceMatchPolicy",
            "All",
            'jwt[1].issuer.audienceMatchPolicy: Invalid value: "All": audienceMatchPolicy must be empty or MatchAny for'
            " single audience",
        ),
        (
            "jwt.0.issuer.certificateAuthority",
            "nothing",
            'jwt[0].issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or'
            " ECDSA certificates",
        ),
        ("jwt.0.issuer.egressSelectorType", "cluster", "jwt[0].issuer.egressSelectorType: Forbidden: is not part"),
        ("jwt.0.claimMappings.username", {}, "jwt[0].claimMappings.username: Required value: claim or expression is"),
        (
            "jwt.0.claimMappings.username",
            {"claim": "sub"},
            "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be set"
            " to an empty string to disable prefixing",
        ),
        (
            "jwt.0.claimMappings.username",
            {"expression": "claims.sub"},
            f"jwt[0].claimMappings.username.expression: Forbidden: {EXPRESSION}",
        ),
        (
            "jwt.0.claimMappings.groups",
            {"claim": "g", "expression": "x"},
            'jwt[0].claimMappings.groups: Invalid value: "": claim and expression can\'t both be set',
        ),
        (
            "jwt.0.claimMappings.uid",
            {"expression": "x"},
            f"jwt[0].claimMappings.uid.expression: Forbidden: {EXPRESSION}",
        ),
        ("jwt.0.claimMappings.extra", [{"key": "a/b"}], f"jwt[0].claimMappings.extra: Forbidden: {EXPRESSION}"),
        ("jwt.0.userValidationRules", [{}], f"jwt[0].userValidationRules: Forbidden: {EXPRESSION}"),
        (
            "jwt.0.claimValidationRules",
            [{"expression": "x"}],
            f"jwt[0].claimValidationRules[0].expression: Forbidden: {EXPRESSION}",
        ),
        (
            "jwt.0.claimValidationRules",
            [{"claim": "a"}, {"claim": "a"}],
            'jwt[0].claimValidationRules[1].claim: Duplicate value: "a"',
        ),
        (
            "jwt.0.claimValidationRules",
            [{}],
            "jwt[0].claimValidationRules[0]: Required value: claim or expression is required",
        ),
        (
            "anonymous",
            {"enabled": False, "conditions": [{"path": "/x"}]},
            'anonymous.conditions: Invalid value: ["/x"]: enabled should be set to true when conditions are defined',
        ),
        ("anonymous", {"enabled": "yes"}, "anonymous.enabled: Invalid value: must be true or false"),
    ],
)
def test_what_is_wrong_with_a_configuration(where: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(changed(where, value), ["https://own"])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "prefix"),
    [
        ({}, "https://i#"),
        ({"username_claim": "name"}, "https://i#"),
        ({"username_claim": "email"}, ""),
        ({"username_prefix": "-"}, ""),
        ({"username_prefix": "oidc:"}, "oidc:"),
    ],
)
def test_users_of_an_issuer_are_told_apart(options: Object, prefix: str) -> None:
    issuer = issuer_of_flags("https://i", "kube", **options)
    assert (issuer.username_prefix, issuer.audiences, issuer.algorithms) == (prefix, ("kube",), ("RS256",))


@pytest.mark.parametrize(
    ("url", "client", "options", "message"),
    [
        ("https://i", "", {}, "--oidc-issuer-url and --oidc-client-id must be specified together"),
        ("", "kube", {}, "--oidc-issuer-url and --oidc-client-id must be specified together"),
        ("http://i", "kube", {}, '--oidc-issuer-url: Invalid value: "http://i": URL scheme must be https'),
        ("https://i", "kube", {"algorithms": ["HS256"]}, '--oidc-signing-algs: Unsupported value: "HS256"'),
        ("https://i", "kube", {"algorithms": ["none"]}, '--oidc-signing-algs: Unsupported value: "none"'),
        ("https://i", "kube", {"authorities": b"x"}, "--oidc-ca-file: Invalid value"),
        ("https://i", "kube", {"username_claim": ""}, "--oidc-username-claim: Required value"),
    ],
)
def test_flags_that_make_no_issuer(url: str, client: str, options: Object, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        issuer_of_flags(url, client, **options)
    assert str(caught.value).startswith(message)
