"""Paths to attributes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apilayer.pipeline.request_info import RequestInfo, parse


def resource(path: str, verb: str, version: str = "v1", **fields: object) -> RequestInfo:
    return RequestInfo(path, verb, is_resource=True, version=version, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("GET", "/api/v1/pods", {"verb": "list", "resource": "pods"}),
        ("GET", "/api/v1/pods/", {"verb": "list", "resource": "pods"}),
        ("POST", "/api/v1/namespaces", {"verb": "create", "resource": "namespaces"}),
        (
            "GET",
            "/api/v1/namespaces/n",
            {"verb": "get", "namespace": "n", "resource": "namespaces", "name": "n"},
        ),
        (
            "PUT",
            "/api/v1/namespaces/n/status",
            {"verb": "update", "namespace": "n", "resource": "namespaces", "name": "n", "subresource": "status"},
        ),
        ("DELETE", "/api/v1/namespaces/n/pods", {"verb": "deletecollection", "namespace": "n", "resource": "pods"}),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/n/deployments/d/status",
            {
                "verb": "patch",
                "group": "apps",
                "namespace": "n",
                "resource": "deployments",
                "name": "d",
                "subresource": "status",
            },
        ),
        (
            "GET",
            "/api/v1/watch/namespaces/n/pods/p",
            {"verb": "watch", "namespace": "n", "resource": "pods", "name": "p", "legacy_watch": True},
        ),
        ("HEAD", "/api/v1/pods", {"verb": "", "resource": "pods"}),
        ("GET", "/api/v1/namespaces/n//pods", {"malformed": True}),
        ("GET", "/api/v1/namespaces/n/pods/p/a/b", {"malformed": True}),
    ],
)
def test_resources(method: str, path: str, fields: dict[str, object]) -> None:
    info = parse(method, path)
    assert info.is_resource
    assert info.version == "v1"
    for name, value in fields.items():
        assert getattr(info, name) == value


@pytest.mark.parametrize("path", ["/", "/api", "/apis", "/api/v1", "/apis/apps", "/apis/apps/v1", "/healthz", "//", ""])
def test_other_paths(path: str) -> None:
    assert parse("GET", path) == RequestInfo(path, "get")


@given(st.sampled_from(["GET", "POST", "X"]), st.text("/apivn1%.", max_size=40))
def test_any_path_parses(method: str, path: str) -> None:
    parse(method, path)
