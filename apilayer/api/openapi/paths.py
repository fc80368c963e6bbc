"""Paths and operations of a group version as OpenAPI 3 has them, made from the resources' rows.

Clients look here for what a verb accepts: kubectl validates on the server where PATCH takes
``fieldValidation``, and sends a strategic merge patch where one is listed. Operation ids are those that client
generators know.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api.openapi.schemas import V3_REF
from apilayer.api.schema import definitions, kinds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from apilayer.api.resources import Resource, Subresource

Node = dict[str, Any]

META = "io.k8s.apimachinery.pkg.apis.meta.v1."
ANSWER_TYPES = ("application/json", "application/vnd.kubernetes.protobuf", "application/yaml")
LIST_TYPES = (
    "application/json",
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/yaml",
)
PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_LIST = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETE = (
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "propagationPolicy",
)
_DELETE_COLLECTION = tuple(sorted({*_LIST, *_DELETE} - {"allowWatchBookmarks", "watch"}))
_WRITE = ("dryRun", "fieldManager", "fieldValidation")
_PATCH = (*_WRITE, "force")
_CREATED = {"200": "OK", "201": "Created"}
_ALL_CODES = {"200": "OK", "201": "Created", "202": "Accepted"}


@functools.cache
def _parameter_rows() -> Mapping[str, tuple[str, str, str]]:
    """Where, type and text of every parameter by name."""
    rows: dict[str, tuple[str, str, str]] = {}
    text = Path(__file__).with_name("parameters.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, where, kind, description = line.split(" ", 3)
            if description.startswith("="):
                message, _, field = description[1:].partition(".")
                description = definitions()[META + message]["properties"][field]["description"]
            rows[name] = (where, kind, description)
    return rows


def _parameters(names: Iterable[str], kind: str = "") -> list[Node]:
    found: list[Node] = []
    for name in names:
        where, value_type, text = _parameter_rows()[name]
        parameter: Node = {"description": text.replace("{kind}", kind), "in": where, "name": name}
        if where == "path":
            parameter["required"] = True
        parameter["schema"] = {"type": value_type, "uniqueItems": True}
        found.append(parameter)
    return found


def _content(name: str, media_types: Sequence[str]) -> Node:
    return {media_type: {"schema": {"$ref": V3_REF + name}} for media_type in media_types}


def _responses(name: str, codes: Mapping[str, str], media_types: Sequence[str] = ANSWER_TYPES) -> Node:
    answers: Node = {
        code: {"content": _content(name, media_types), "description": text} for code, text in codes.items()
    }
    answers["401"] = {"description": "Unauthorized"}
    return answers


def _camel(group: str) -> str:
    """``rbac.authorization.k8s.io`` as ``rbacAuthorization``, the core group as ``core``."""
    first, *rest = (group.removesuffix(".k8s.io") or "core").split(".")
    return first + "".join(part.capitalize() for part in rest)


@attrs.frozen
class Naming:
    """How operations of one group version are called."""

    group: str
    version: str

    @property
    def tag(self) -> str:
        """The tag that groups operations: ``core_v1``."""
        return f"{_camel(self.group)}_{self.version}" if self.version else _camel(self.group)

    def operation(self, verb: str, rest: str) -> str:
        """An operation id: ``list`` and ``NamespacedPod`` make ``listCoreV1NamespacedPod``."""
        camel = _camel(self.group)
        version = self.version.capitalize()
        return f"{verb}{camel[0].upper()}{camel[1:]}{version}{rest}"

    @property
    def root(self) -> str:
        """Where its resources are: ``/api/v1`` or ``/apis/apps/v1``."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


@attrs.frozen
class _Target:
    """What the operations of one path act on."""

    naming: Naming
    kind: str
    definition: str
    gvk: Node
    namespaced: bool

    @property
    def scoped(self) -> str:
        return f"Namespaced{self.kind}" if self.namespaced else self.kind

    def build(
        self,
        verb: str,
        action: str,
        rest: str,
        description: str,
        responses: Node,
        *,
        parameters: Sequence[str] = (),
        body: Node | None = None,
    ) -> Node:
        operation: Node = {"description": description, "operationId": self.naming.operation(verb, rest)}
        if parameters:
            operation["parameters"] = _parameters(parameters)
        if body is not None:
            operation["requestBody"] = body
        operation["responses"] = responses
        operation["tags"] = [self.naming.tag]
        operation["x-kubernetes-action"] = action
        operation["x-kubernetes-group-version-kind"] = self.gvk
        return operation


def _target(row: Resource, kind: str, group: str, version: str) -> _Target:
    return _Target(
        Naming(row.group, row.version),
        kind,
        kinds()[group, version, kind],
        {"group": group, "kind": kind, "version": version},
        row.namespaced,
    )


def _object_body(target: _Target) -> Node:
    return {"content": _content(target.definition, ("*/*",)), "required": True}


def _read(target: _Target, suffix: str, what: str) -> Node:
    answers = _responses(target.definition, {"200": "OK"})
    return target.build("read", "get", f"{target.scoped}{suffix}", f"read {what}", answers)


def _replace(target: _Target, suffix: str, what: str) -> Node:
    return target.build(
        "replace",
        "put",
        f"{target.scoped}{suffix}",
        f"replace {what}",
        _responses(target.definition, _CREATED),
        parameters=_WRITE,
        body=_object_body(target),
    )


def _patch(target: _Target, suffix: str, what: str) -> Node:
    return target.build(
        "patch",
        "patch",
        f"{target.scoped}{suffix}",
        f"partially update {what}",
        _responses(target.definition, _CREATED),
        parameters=_PATCH,
        body={"content": _content(META + "Patch", PATCH_TYPES), "required": True},
    )


def _post(target: _Target, suffix: str, what: str) -> Node:
    """Creating a subresource, such as a binding."""
    del what
    return _made(target, suffix, f"create {suffix.lower()} of a {target.kind}")


def _create(target: _Target) -> Node:
    return _made(target, "", f"create {_with_article(target.kind)}")


def _made(target: _Target, suffix: str, description: str) -> Node:
    return target.build(
        "create",
        "post",
        f"{target.scoped}{suffix}",
        description,
        _responses(target.definition, _ALL_CODES),
        parameters=_WRITE,
        body=_object_body(target),
    )


def _with_article(kind: str) -> str:
    """``a Pod``, ``an Ingress``; plurals such as Endpoints stand alone."""
    if kind.endswith("s") and not kind.endswith("ss"):
        return kind
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def _delete(target: _Target, answer: str) -> Node:
    return target.build(
        "delete",
        "delete",
        target.scoped,
        f"delete {_with_article(target.kind)}",
        _responses(answer, {"200": "OK", "202": "Accepted"}),
        parameters=_DELETE,
        body={"content": _content(META + "DeleteOptions", ("*/*",))},
    )


def _delete_collection(target: _Target) -> Node:
    return target.build(
        "delete",
        "deletecollection",
        f"Collection{target.scoped}",
        f"delete collection of {target.kind}",
        _responses(META + "Status", {"200": "OK"}),
        parameters=_DELETE_COLLECTION,
        body={"content": _content(META + "DeleteOptions", ("*/*",))},
    )


def _list(target: _Target, row: Resource, rest: str, parameters: Sequence[str]) -> Node:
    answer = kinds()[row.group, row.version, row.list_kind]
    return target.build(
        "list",
        "list",
        rest,
        f"list or watch objects of kind {target.kind}",
        _responses(answer, {"200": "OK"}, LIST_TYPES),
        parameters=parameters,
    )


def _watch(target: _Target, rest: str, *, one: bool) -> Node:
    """One of the paths below ``/watch/``, which older clients use instead of a parameter."""
    if one:
        what = f"watch changes to an object of kind {target.kind}"
        instead = ", filtered to a single item with the 'fieldSelector' parameter"
    else:
        what = f"watch individual changes to a list of {target.kind}"
        instead = ""
    description = f"{what}. deprecated: use the 'watch' parameter with a list operation instead{instead}."
    answers = _responses(META + "WatchEvent", {"200": "OK"}, LIST_TYPES)
    return {"get": target.build("watch", "watch" if one else "watchlist", rest, description, answers)}


def _watch_paths(target: _Target, row: Resource, base: str) -> Node:
    root = target.naming.root
    scope = ("namespace",) if row.namespaced else ()
    below = f"{root}/watch{base.removeprefix(root)}"
    paths: Node = {
        below: _with_parameters(
            _watch(target, f"{target.scoped}List", one=False), (*_LIST, *scope, "pretty"), row.kind
        ),
        f"{below}/{{name}}": _with_parameters(
            _watch(target, target.scoped, one=True), (*_LIST, "name", *scope, "pretty"), row.kind
        ),
    }
    if row.namespaced:
        everywhere = _watch(target, f"{row.kind}ListForAllNamespaces", one=False)
        paths[f"{root}/watch/{row.plural}"] = _with_parameters(everywhere, (*_LIST, "pretty"), row.kind)
    return paths


def _with_parameters(operations: Node, names: Iterable[str], kind: str) -> Node:
    """The item of a path; what all its operations take stands beside them, not in them."""
    taken = [{parameter["name"] for parameter in operation.get("parameters", ())} for operation in operations.values()]
    shared = set.intersection(*taken) if taken else set()
    item: Node = {}
    for method, operation in operations.items():
        own = [parameter for parameter in operation.get("parameters", ()) if parameter["name"] not in shared]
        item[method] = {key: value for key, value in operation.items() if key != "parameters" or own}
        if own:
            item[method]["parameters"] = own
    return {**item, "parameters": _parameters(sorted({*names, *shared}), kind)}


def _object_operations(target: _Target, row: Resource) -> Node:
    what = f"the specified {target.kind}"
    answer = target.definition if row.returns_deleted_object else META + "Status"
    operations: Node = {}
    if "get" in row.verbs:
        operations["get"] = _read(target, "", what)
    if "update" in row.verbs:
        operations["put"] = _replace(target, "", what)
    if "patch" in row.verbs:
        operations["patch"] = _patch(target, "", what)
    if "delete" in row.verbs:
        operations["delete"] = _delete(target, answer)
    return operations


def _subresource_operations(target: _Target, sub: Subresource, parent: str) -> Node:
    suffix = sub.name.capitalize()
    what = f"{sub.name} of the specified {parent}"
    made = {"get": ("get", _read), "update": ("put", _replace), "patch": ("patch", _patch), "create": ("post", _post)}
    return {method: make(target, suffix, what) for verb, (method, make) in made.items() if verb in sub.verbs}


def resource_paths(row: Resource) -> Node:
    """Path items of one resource and its subresources, by path."""
    target = _target(row, row.kind, row.group, row.version)
    root = target.naming.root
    scope = ("namespace",) if row.namespaced else ()
    base = f"{root}/namespaces/{{namespace}}/{row.plural}" if row.namespaced else f"{root}/{row.plural}"
    collection: Node = {}
    if "list" in row.verbs:
        collection["get"] = _list(target, row, target.scoped, _LIST)
    if "create" in row.verbs:
        collection["post"] = _create(target)
    if "deletecollection" in row.verbs:
        collection["delete"] = _delete_collection(target)
    paths: Node = {base: _with_parameters(collection, (*scope, "pretty"), row.kind)}
    single = _object_operations(target, row)
    if single:
        paths[f"{base}/{{name}}"] = _with_parameters(single, ("name", *scope, "pretty"), row.kind)
    if row.namespaced and "list" in row.verbs:
        everywhere = {"get": _list(target, row, f"{row.kind}ForAllNamespaces", ())}
        paths[f"{root}/{row.plural}"] = _with_parameters(everywhere, (*_LIST, "pretty"), row.kind)
    if "watch" in row.verbs:
        paths.update(_watch_paths(target, row, base))
    for sub in row.subresources:
        below = attrs.evolve(
            _target(row, sub.kind, sub.group, sub.version),
            kind=row.kind,
            gvk={"group": sub.group, "kind": sub.kind, "version": sub.version},
        )
        operations = _subresource_operations(below, sub, row.kind)
        paths[f"{base}/{{name}}/{sub.name}"] = _with_parameters(operations, ("name", *scope, "pretty"), sub.kind)
    return paths


def discovery_path(path: str, operation_id: str, tag: str, description: str, answer: str) -> Node:
    """The path item of a document that only can be read, such as discovery; `answer` names its definition."""
    media_types = ("application/json",) if path == "/version/" else ANSWER_TYPES
    operation: Node = {
        "description": description,
        "operationId": operation_id,
        "responses": _responses(answer, {"200": "OK"}, media_types),
        "tags": [tag],
    }
    return {path: {"get": operation}}
