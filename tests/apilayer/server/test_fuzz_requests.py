"""YAML, patches, queries, paths and headers that nobody would send: each gets an answer that can be explained."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.pipeline.websocket import BEARER_PREFIX
from tests.apilayer.server.fuzzing import (
    APPLY,
    CONFIGMAPS,
    DEPLOYMENTS,
    JSON,
    JSON_PATCH,
    MERGE,
    PROTOBUF,
    STRATEGIC,
    YAML,
    Sent,
    check,
)

some = settings(deadline=None, max_examples=9)
BODY = b'{"metadata":{"name":"b"}}'


def several(requests: st.SearchStrategy[Sent]) -> st.SearchStrategy[list[Sent]]:
    """Some requests for one server."""
    return st.lists(requests, min_size=1, max_size=8)


# ---------------------------------------------------------------------- YAML

LINES = """\
a: b|- a|? a|: b|  x: 1|<<: *a|a: &a {b: c}|b: *a|*a : 1|&a|!!binary aGk=|!!python/x y|metadata:|  name: b|  name: 0x1F
data: {a: 1_000, b: ~}|a: .inf|a: 1e400|? [a]|---|...|a: 2020-01-01|a: >-|'|"\\x|\t|%YAML 9.9
a: !!float x|- - - -|{|["""
TEXTS = st.one_of(
    st.lists(st.sampled_from([*LINES.replace("\n", "|").split("|"), "a: |", "é: \u2028"]), max_size=8).map("\n".join),
    st.text(max_size=30),
).map(lambda text: text.encode("utf-8", "surrogatepass"))
YAMLS = st.one_of(
    st.tuples(st.just("POST"), st.just(CONFIGMAPS), TEXTS, st.just({"content_type": YAML})),
    st.tuples(st.just("PUT"), st.just(f"{CONFIGMAPS}/a"), TEXTS, st.just({"content_type": YAML})),
    st.tuples(st.just("PATCH"), st.just(f"{CONFIGMAPS}/a?fieldManager=f"), TEXTS, st.just({"content_type": APPLY})),
)


@some
@given(several(YAMLS))
def test_yaml(requests: list[Sent]) -> None:
    check(requests)


# ---------------------------------------------------------------------- patches

OBJECT_KEYS = ["a", "metadata", "spec", "template", "containers", "name", "ports", "containerPort", "data", "labels"]
DIRECTIVE_KEYS = ["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/finalizers"]
KEYS = [*OBJECT_KEYS, *DIRECTIVE_KEYS, "managedFields", "finalizers", "ownerReferences", "resourceVersion", "strategy"]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([None, True, False, 0, -1, 2**63, 2**64, 1e300, "", "a", "b", "80", "/", "-", "$patch"]),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)),
    max_leaves=10,
)
DIRECTIVES = st.sampled_from(["delete", "replace", "merge", "retainKeys", "x", 1, None])
NAMES = st.sampled_from(["c", "d", None, 1])
CONTAINERS = st.lists(st.fixed_dictionaries({}, optional={"name": NAMES, "$patch": DIRECTIVES}), max_size=3)


def pod_patch(containers: Any, order: Any) -> Any:
    return {"spec": {"template": {"spec": {"containers": containers, "$setElementOrder/containers": order}}}}


PATCHES = st.one_of(VALUES, st.builds(pod_patch, CONTAINERS, st.one_of(CONTAINERS, VALUES)))
POINTERS = st.one_of(
    st.sampled_from(["", "/", "/data", "/data/a", "/data/~0", "/data/~", "/metadata/name", "a", "/x/y"]),
    st.sampled_from(["0", "-", "99999999999999999999"]).map("/spec/template/spec/containers/".__add__),
    st.text("/~01-a", max_size=6),
)
VERBS = st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x", 1])
OPERATION = st.fixed_dictionaries({}, optional={"op": VERBS, "path": POINTERS, "from": POINTERS, "value": VALUES})
PATCHED = [
    f"{DEPLOYMENTS}/a",
    f"{CONFIGMAPS}/a",
    f"{DEPLOYMENTS}/a/scale",
    f"{DEPLOYMENTS}/a/status",
    f"{DEPLOYMENTS}/b",
]


def patch(target: str, media: str, body: Any) -> Sent:
    """A patch; an apply says what it is an apply of."""
    if media == APPLY:
        target += "?fieldManager=f&force=true"
        if isinstance(body, dict):
            kind = ("v1", "ConfigMap") if "configmaps" in target else ("apps/v1", "Deployment")
            body = {"apiVersion": kind[0], "kind": kind[1], **body}
    return "PATCH", target, json.dumps(body).encode(), {"content_type": media}


@some
@given(several(st.builds(patch, st.sampled_from(PATCHED), st.just(JSON_PATCH), st.lists(OPERATION, max_size=4))))
def test_json_patches(requests: list[Sent]) -> None:
    check(requests)


@some
@given(several(st.builds(patch, st.sampled_from(PATCHED), st.sampled_from([MERGE, STRATEGIC, APPLY]), PATCHES)))
def test_other_patches(requests: list[Sent]) -> None:
    check(requests)


# ---------------------------------------------------------------------- queries and paths

SIGNS = ["a", "=", "==", "!=", " in ", " notin ", "(", ")", ",", "!", ">", "<", "1", " ", "é", "\\", "a.b/c"]
SELECTORS = st.one_of(st.lists(st.sampled_from(SIGNS), max_size=9).map("".join), st.text(max_size=12))
NUMBERS = st.sampled_from(["", "0", "-1", "+1", "1.5", "9" * 30, "x", "0x1", " 1", "\u0661"])
TOKENS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["e30", "bnVsbA", "W10", "eyJ2IjoxfQ", "!!!!"]),
    st.just("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiLi4vIn0"),
)
FLAGS = st.sampled_from(["", "true", "false", "1", "x", "All"])
PARAMETERS = {
    "labelSelector": SELECTORS,
    "fieldSelector": SELECTORS.map(lambda text: text.replace("a", "metadata.name")),
    "limit": NUMBERS,
    "continue": TOKENS,
    "resourceVersion": NUMBERS,
    "resourceVersionMatch": st.sampled_from(["", "Exact", "NotOlderThan", "x"]),
    "timeoutSeconds": NUMBERS,
    "timeout": st.one_of(NUMBERS, st.sampled_from(["1s", "1h1m", "-1s", "9" * 400 + "h", "1µs"])),
    "watch": FLAGS,
    "sendInitialEvents": FLAGS,
    "allowWatchBookmarks": FLAGS,
    "pretty": FLAGS,
    "dryRun": FLAGS,
    "force": FLAGS,
    "fieldManager": st.text(max_size=5),
    "fieldValidation": st.sampled_from(["", "Strict", "Warn", "x"]),
    "gracePeriodSeconds": NUMBERS,
    "propagationPolicy": st.sampled_from(["", "Orphan", "x"]),
    "includeObject": st.sampled_from(["", "None", "Object", "x"]),
}


def parameter(name: str, value: str) -> str:
    return f"{name}={quote(value)}"


PARAMETER = st.sampled_from(sorted(PARAMETERS)).flatmap(lambda name: PARAMETERS[name].map(partial(parameter, name)))
QUERIES = st.one_of(st.lists(PARAMETER, max_size=4).map("&".join), st.text("&=%;+a", max_size=20))
METHODS = st.sampled_from(["GET", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "X"])
SEGMENTS = st.sampled_from(["api", "apis", "v1", "watch", "namespaces", "", "a", "..", "\0", "é", "pods", "status"])
PATHS = st.one_of(
    st.sampled_from([CONFIGMAPS, f"{CONFIGMAPS}/a", "/api/v1/configmaps", "/apis", f"{DEPLOYMENTS}/a/scale"]),
    st.lists(SEGMENTS, max_size=7).map(lambda parts: "/" + "/".join(parts)),
)


@some
@given(several(st.builds(lambda method, path, query: (method, f"{path}?{query}", BODY, {}), METHODS, PATHS, QUERIES)))
def test_queries_and_paths(requests: list[Sent]) -> None:
    check(requests)


# ---------------------------------------------------------------------- headers

PARTS = ["*/*", ";", ",", "as=Table", "g=meta.k8s.io", "v=v1", "q=0", "q=x", "=", " ", "as=PartialObjectMetadata", "é"]
MEDIA = st.lists(st.sampled_from([JSON, YAML, PROTOBUF, *PARTS]), max_size=8).map(";".join)
WORDS = st.one_of(st.text(max_size=12), MEDIA)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "accept": MEDIA,
        "content_type": st.one_of(MEDIA, st.sampled_from([JSON, YAML, PROTOBUF, JSON_PATCH, APPLY])),
        "user_agent": WORDS,
        "audit_id": WORDS,
        "authorization": st.one_of(WORDS, st.sampled_from(["Bearer", "Bearer  ", "Basic x", "bearer secret"])),
        "accept_encoding": st.sampled_from(["gzip", "gzip;q=0", "x", ""]),
        "impersonate_user": WORDS,
        "impersonate_group": WORDS,
        "if_none_match": WORDS,
        "upgrade": st.just("websocket"),
        "connection": st.sampled_from(["upgrade", "x, Upgrade", ""]),
        "sec_websocket_protocol": st.one_of(WORDS, st.just(f"{BEARER_PREFIX}c2VjcmV0, x")),
    },
)
ASKED = st.sampled_from([CONFIGMAPS, "/api", "/apis", f"{DEPLOYMENTS}/a"])


@some
@given(several(st.tuples(METHODS, ASKED, st.just(BODY), HEADERS)))
def test_headers(requests: list[Sent]) -> None:
    check(requests)
