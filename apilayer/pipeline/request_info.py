"""What a method and path ask for: verb, group, version, resource, subresource, namespace and name. Pure.

Source: Kubernetes' request attributes ("Authorization Overview", "Review your request attributes").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from apilayer.api.selectors import FieldTerm, Requirement

MAX_REMEMBERED_CHARS = 512
"""What follows from longer requests is worked out each time, so that what is remembered stays small."""
_NAMESPACE_SUBRESOURCES = frozenset({"status", "finalize"})
_OBJECT_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_COLLECTION_VERBS = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}


class RequestInfo(msgspec.Struct, frozen=True, cache_hash=True):
    """`verb` is "" where the method means nothing for the path. For other paths only `path` and `verb` are set.

    `malformed` is a resource path with empty or too many segments, which names nothing. `fields` and `labels` are what
    a request for a collection asks for, as authorizers see it; none for a selector that cannot be read, which
    `unreadable` then names.
    """

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    name: str = ""
    subresource: str = ""
    legacy_watch: bool = False
    malformed: bool = False
    fields: tuple[FieldTerm, ...] = ()
    labels: tuple[Requirement, ...] = ()
    unreadable: tuple[str, ...] = ()

    @property
    def is_small(self) -> bool:
        """Whether what follows from it may be remembered by it: what clients make long must not pile up."""
        return len(self.path) <= MAX_REMEMBERED_CHARS and not (self.fields or self.labels or self.unreadable)


def parse(method: str, path: str) -> RequestInfo:
    """The request's attributes; `path` is percent-decoded."""
    segments = path.split("/")[1:]
    if segments and segments[-1] == "":
        segments.pop()
    root = segments[0] if segments else ""
    skip = {"api": 2, "apis": 3}.get(root, 0)
    if not skip or len(segments) <= skip:
        return RequestInfo(path, method.lower())
    group = segments[1] if root == "apis" else ""
    version = segments[skip - 1]
    rest = segments[skip:]
    malformed = "" in rest or (root == "apis" and not group)
    legacy_watch = len(rest) > 1 and rest[0] == "watch"
    if legacy_watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    resource, name, subresource = (*rest, "", "")[:3] if len(rest) < 3 else rest[:3]
    return RequestInfo(
        path,
        _verb(method, name, legacy_watch=legacy_watch),
        is_resource=True,
        group=group,
        version=version,
        namespace=namespace,
        resource=resource,
        name=name,
        subresource=subresource,
        legacy_watch=legacy_watch,
        malformed=malformed or len(rest) > 3,
    )


def _verb(method: str, name: str, *, legacy_watch: bool) -> str:
    if legacy_watch:
        return "watch" if method == "GET" else ""
    return (_OBJECT_VERBS if name else _COLLECTION_VERBS).get(method, "")
