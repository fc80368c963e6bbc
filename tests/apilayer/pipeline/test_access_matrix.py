"""Who may do what with the default roles: identity by verb by resource, against a table written from the documentation.

The table is Kubernetes' own description ("Default roles and role bindings", "User-facing roles", "Using Node
Authorization"), not made by any code: letters are verbs, a dot is none of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from apilayer.controllers.aggregation import aggregated, is_aggregated
from apilayer.pipeline.authentication import ANONYMOUS, AUTHENTICATED, User
from apilayer.pipeline.authorization import InTurn, Step, verdict_of
from apilayer.pipeline.node import NodeAuthorizer, NodeGraph
from apilayer.pipeline.rbac import RoleAuthorizer, RoleIndex, parse_rules
from apilayer.pipeline.request_info import RequestInfo
from apilayer.registry.roles import default_roles
from tests.reference import IS_HERE, REFERENCE, WHY_SKIPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.rbac import Rule

Object = dict[str, Any]

VERBS = {
    "g": "get",
    "l": "list",
    "w": "watch",
    "c": "create",
    "u": "update",
    "p": "patch",
    "d": "delete",
    "D": "deletecollection",
    "e": "escalate",
    "b": "bind",
    "i": "impersonate",
}
NAMED = "gupd"
"""Verbs of requests that are about one object, which is called x."""
COLUMNS = (
    ("a", "", "pods"),
    ("a", "", "pods/exec"),
    ("a", "", "secrets"),
    ("a", "", "configmaps"),
    ("a", "", "serviceaccounts"),
    ("a", "apps", "deployments"),
    ("a", "rbac.authorization.k8s.io", "roles"),
    ("a", "", "resourcequotas"),
    ("a", "", "namespaces"),
    ("b", "", "pods"),
    ("", "", "nodes"),
    ("", "", "persistentvolumes"),
    ("", "rbac.authorization.k8s.io", "clusterroles"),
)
FULL = "glwcupdD"
TABLE = f"""
#         pods   exec   secrets    configmaps accounts deployments roles  quotas namespaces b/pods nodes volumes roles
anonymous .      .      .          .          .        .           .      .      .          .      .     .       .
jane      .      .      .          .          .        .           .      .      .          .      .     .       .
viewer    glw    .      .          glw        glw      glw         .      glw    glw        .      .     .       .
editor    {FULL} {FULL} {FULL}     {FULL}     {FULL}i  {FULL}      .      glw    glw        .      .     .       .
boss      {FULL} {FULL} {FULL}     {FULL}     {FULL}i  {FULL}      {FULL} glw    glw        .      .     .       .
all       glw    .      .          glw        glw      glw         .      glw    glw        glw    .     .       .
robot     .      .      gupd       .          .        .           .      .      .          .      .     .       .
node      gcd    .      g          .          g        .           .      .      .          cd     cup   .       .
scheduler glwd   .      .          .          .        .           .      .      glw        glwd   glw   glwup   .
manager   lw     lw     glwcud     glw        glwcu    lw          lw     lw     glw        lw     lw    lw      lw
root      *      *      *          *          *        *           *      *      *          *      *     *       *
"""


def known(name: str, *groups: str) -> User:
    return User(name, groups=(*groups, AUTHENTICATED))


IDENTITIES = {
    "anonymous": ANONYMOUS,
    "jane": known("jane"),
    "viewer": known("viewer"),
    "editor": known("somebody", "editors"),
    "boss": known("boss"),
    "all": known("all"),
    "robot": known("system:serviceaccount:a:robot", "system:serviceaccounts"),
    "node": known("system:node:n1", "system:nodes"),
    "scheduler": known("system:kube-scheduler"),
    "manager": known("system:kube-controller-manager"),
    "root": known("root", "system:masters"),
}
POD = {
    "metadata": {"name": "x", "namespace": "a"},
    "spec": {"nodeName": "n1", "serviceAccountName": "x", "imagePullSecrets": [{"name": "x"}]},
}
OWN_RULES = [{"verbs": ["*"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["x"]}]


def binding(name: str, role: str, kind: str, who: str, namespace: str = "") -> tuple[str, str, Object]:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    reference = {"kind": "Role" if role == "own" else "ClusterRole", "name": role}
    plural = "rolebindings" if namespace else "clusterrolebindings"
    made = {"metadata": metadata, "roleRef": reference, "subjects": [{"kind": kind, "name": who}]}
    return f"{plural}.rbac.authorization.k8s.io", namespace, made


BINDINGS = (
    binding("v", "view", "User", "viewer", "a"),
    binding("e", "edit", "Group", "editors", "a"),
    binding("b", "admin", "User", "boss", "a"),
    binding("all", "view", "User", "all"),
    binding("r", "own", "ServiceAccount", "robot", "a"),
)


class Roles:
    """The default roles, those made of others filled in, and the bindings above."""

    def __init__(self) -> None:
        defaults = default_roles()
        cluster = [obj for resource, _, obj in defaults if resource.startswith("clusterroles.")]
        for name in ("edit", "view", "admin"):
            (role,) = (obj for obj in cluster if obj["metadata"]["name"] == name)
            role["rules"] = filled_in(role, cluster)
        own = {"metadata": {"name": "own", "namespace": "a"}, "rules": OWN_RULES}
        self.untold = [*defaults, *BINDINGS, ("roles.rbac.authorization.k8s.io", "a", own)]

    def bring_up_to_date(self, index: RoleIndex) -> bool:
        untold, self.untold = self.untold, []
        for resource, namespace, obj in untold:
            name = obj["metadata"]["name"]
            obj["metadata"] |= {"namespace": namespace} if namespace else {}
            index.put(resource, f"{namespace}/{name}" if namespace else name, obj)
        return bool(untold)


def filled_in(role: Object, cluster: list[Object]) -> list[Object]:
    """The rules of a role that is made of others, and these perhaps of others."""
    found = []
    for other in cluster:
        if is_aggregated(other) and not other.get("rules") and other is not role:
            other = {**other, "rules": filled_in(other, [item for item in cluster if item is not role])}
        found.append(other)
    return aggregated(role, found)


class Graph:
    def __init__(self) -> None:
        self.graph = NodeGraph()
        self.graph.put("pods", "a/x", POD)

    def current(self) -> NodeGraph:
        return self.graph


def rules_of_nodes() -> Sequence[Rule]:
    return next(parse_rules(obj) for _, _, obj in default_roles() if obj["metadata"]["name"] == "system:node")


@pytest.fixture(scope="module")
def authorizer() -> Authorizer:
    return InTurn([Step(NodeAuthorizer(Graph(), rules_of_nodes)), Step(RoleAuthorizer(Roles()))])


ROWS = [line.split() for line in TABLE.strip().splitlines() if not line.startswith("#")]


@pytest.mark.parametrize(("identity", "cells"), [(row[0], row[1:]) for row in ROWS])
async def test_who_may_do_what(authorizer: Authorizer, identity: str, cells: list[str]) -> None:
    found = []
    for namespace, group, resource in COLUMNS:
        allowed = ""
        for letter, verb in VERBS.items():
            plural, _, subresource = resource.partition("/")
            name = "x" if letter in NAMED else ""
            asked = RequestInfo("", verb, True, group, "v1", namespace, plural, name, subresource)
            if (await verdict_of(authorizer, IDENTITIES[identity], asked)).allowed:
                allowed += letter
        found.append({"": ".", "".join(VERBS): "*"}.get(allowed, allowed))
    assert found == cells


@pytest.mark.parametrize("path", ["/version", "/healthz", "/livez", "/readyz"])
@pytest.mark.parametrize("identity", IDENTITIES)
async def test_everybody_sees_how_it_is(authorizer: Authorizer, identity: str, path: str) -> None:
    asked = RequestInfo(path, "get")
    assert (await verdict_of(authorizer, IDENTITIES[identity], asked)).allowed
    written = await verdict_of(authorizer, IDENTITIES[identity], RequestInfo(path, "post"))
    assert written.allowed is (identity == "root")
    discovery = await verdict_of(authorizer, IDENTITIES[identity], RequestInfo("/apis", "get"))
    assert discovery.allowed is (identity != "anonymous")


@pytest.mark.skipif(not IS_HERE, reason=WHY_SKIPPED)
def test_the_default_roles_are_those_of_kubernetes() -> None:
    """Against what a real kube-apiserver has after its first start, when no controller has filled in any."""
    known = {}
    for resource, namespace, obj in default_roles():
        known[resource.partition(".")[0], namespace, obj["metadata"]["name"]] = obj
    recorded = {}
    for plural in ("clusterroles", "clusterrolebindings", "roles", "rolebindings"):
        for item in orjson.loads((REFERENCE / "golden" / f"bootstrap_{plural}.json").read_bytes())["items"]:
            recorded[plural, item["metadata"].get("namespace", ""), item["metadata"]["name"]] = item
    assert known.keys() == recorded.keys()
    for key, real in recorded.items():
        for field in ("rules", "subjects", "roleRef", "aggregationRule"):
            assert (known[key].get(field) or None) == (real.get(field) or None), (key, field)
        for field in ("labels", "annotations"):
            assert known[key]["metadata"].get(field) == real["metadata"].get(field), (key, field)
