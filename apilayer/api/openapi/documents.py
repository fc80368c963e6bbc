"""Whole OpenAPI documents: the version 3 index and its documents, and the version 2 one.

Made on first use and kept encoded, each with the hash that the index announces: clients cache a document for
as long as its hash stays.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from apilayer.api.discovery import group_names
from apilayer.api.openapi import schemas
from apilayer.api.openapi.gnostic import encode_v2
from apilayer.api.openapi.paths import META, Naming, discovery_path, resource_paths
from apilayer.api.openapi.swagger import swagger_paths
from apilayer.api.resources import RESOURCES
from apilayer.api.schema import KUBERNETES_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Node = dict[str, Any]

# Documents of one path that belongs to no group version: operation id, tag, description and answer.
_PLAIN = {
    "api": ("getCoreAPIVersions", "core", "get available API versions", META + "APIVersions"),
    "apis": ("getAPIVersions", "apis", "get available API versions", META + "APIGroupList"),
    "version": (
        "getCodeVersion",
        "version",
        "get the version information for this server",
        "io.k8s.apimachinery.pkg.version.Info",
    ),
}
_SECURITY = {
    "BearerToken": {
        "description": "Bearer Token authentication",
        "in": "header",
        "name": "authorization",
        "type": "apiKey",
    }
}


@attrs.frozen
class Encoded:
    """A document as JSON, and the SHA-512 of that in upper-case hexadecimal: its ETag and hash parameter."""

    body: bytes
    hash: str


def _encode(document: Node) -> Encoded:
    body = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return Encoded(body, hashlib.sha512(body).hexdigest().upper())


def openapi_v3_index() -> Node:
    """``/openapi/v3``: the path of every document with its hash; makes all of them on first use."""
    return {
        "paths": {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={encoded.hash}"}
            for path in _document_makers()
            if (encoded := openapi_v3_encoded(path)) is not None
        }
    }


def openapi_v3_paths() -> list[str]:
    """What the index lists: "api", "api/v1", "apis", "apis/apps", "apis/apps/v1", ..., "version"."""
    return list(_document_makers())


def openapi_v3(path: str) -> Node | None:
    """The document of ``/openapi/v3/<path>``, e.g. "apis/apps/v1", or None when there is none."""
    maker = _document_makers().get(path)
    return None if maker is None else maker()


@functools.cache
def _encoded_v3(path: str) -> Encoded:
    return _encode(_document_makers()[path]())


def openapi_v3_encoded(path: str) -> Encoded | None:
    """As `openapi_v3`, encoded; kept after the first call."""
    return _encoded_v3(path) if path in _document_makers() else None


def openapi_v2() -> Node:
    """``/openapi/v2``: everything in one Swagger 2.0 document."""
    groups = group_names()
    paths: Node = {}
    names: set[str] = set()
    for path in _document_makers():
        items = _paths_of(path)
        names.update(_definition_names(items))
        paths.update(swagger_paths(items))
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": f"v{KUBERNETES_VERSION}"},
        "paths": paths,
        "definitions": {name: schemas.v2_schema(name, groups) for name in schemas.closure(names)},
        "securityDefinitions": _SECURITY,
        "security": [{"BearerToken": []}],
    }


@functools.cache
def openapi_v2_encoded() -> Encoded:
    """As `openapi_v2`, encoded; kept after the first call."""
    return _encode(openapi_v2())


@functools.cache
def openapi_v2_protobuf() -> Encoded:
    """As `openapi_v2_encoded`, in protobuf."""
    body = encode_v2(openapi_v2())
    return Encoded(body, hashlib.sha512(body).hexdigest().upper())


@functools.cache
def _document_makers() -> Mapping[str, Callable[[], Node]]:
    return {path: functools.partial(_document, path) for path in sorted(_served_paths())}


def _served_paths() -> Iterator[str]:
    yield from ("api", "apis", "version")
    for row in RESOURCES:
        if row.group:
            yield f"apis/{row.group}"
        yield Naming(row.group, row.version).root[1:]


def _document(path: str) -> Node:
    items = _paths_of(path)
    group, version = path.split("/")[1:] if path.count("/") == 2 else ("", "v1")
    names = schemas.closure(_definition_names(items))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": items,
        "components": {
            "schemas": {name: schemas.v3_schema(name, [group], version) for name in names},
            "securitySchemes": _SECURITY,
        },
    }


@functools.cache
def _paths_of(path: str) -> Node:
    """The path items of one document; shared, not to be changed."""
    if path in _PLAIN:
        return discovery_path(f"/{path}/", *_PLAIN[path])
    parts = path.split("/")
    if len(parts) == 2 and parts[0] == "apis":
        naming = Naming(parts[1], "")
        ids = (naming.operation("get", "APIGroup"), naming.tag)
        return discovery_path(f"/{path}/", *ids, "get information of a group", META + "APIGroup")
    group, version = (parts[1], parts[2]) if parts[0] == "apis" else ("", parts[1])
    naming = Naming(group, version)
    ids = (naming.operation("get", "APIResources"), naming.tag)
    items = discovery_path(f"/{path}/", *ids, "get available resources", META + "APIResourceList")
    for row in RESOURCES:
        if (row.group, row.version) == (group, version):
            items.update(resource_paths(row))
    return items


def _definition_names(items: Node) -> set[str]:
    found: set[str] = set()
    waiting: list[Any] = [items]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                found.add(reference.removeprefix(schemas.V3_REF))
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return found
