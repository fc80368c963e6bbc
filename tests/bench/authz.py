"""What a decision costs: CPU of one, from warm caches, with many bindings; and what a change of one costs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import trio

from apilayer.api.resources import RESOURCES
from apilayer.pipeline.authentication import AUTHENTICATED, User
from apilayer.pipeline.authorization import verdict_of
from apilayer.pipeline.request_info import parse
from apilayer.registry.registry import Registry
from apilayer.registry.roles import default_roles
from apilayer.server.authorization import AuthorizationPlan, Planned
from apilayer.storage.interface import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from apilayer.pipeline.authorization import Authorizer
    from apilayer.pipeline.request_info import RequestInfo
    from apilayer.storage.interface import Store

Object = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"
NAMESPACES = 100
TURNS = 20


class Cluster:
    """A registry whose watch cache no store feeds, with the default roles and `bindings` of users to one role each."""

    def __init__(self, bindings: int) -> None:
        self.registry = Registry(cast("Store", None), RESOURCES)
        self._revision = 0
        for resource, namespace, obj in default_roles():
            self.put(resource, namespace, obj)
        rule = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps", "secrets"]}
        for index in range(NAMESPACES):
            self.put(f"roles.{GROUP}", f"n{index}", {"metadata": {"name": "reader"}, "rules": [rule]})
        for index in range(bindings):
            self.bind(index)
        modes = (Planned("Node", "node"), Planned("RBAC", "rbac"))
        self.authorizer: Authorizer = AuthorizationPlan(modes).over(self.registry)

    def bind(self, index: int) -> None:
        """Binds one user, by his name or a group, to the role of one namespace."""
        kind, name = ("Group", f"team{index % 50}") if index % 2 else ("User", f"user{index}")
        reference = {"kind": "Role", "name": "reader"}
        subjects = [{"kind": kind, "name": name}]
        bound = {"metadata": {"name": f"b{index}"}, "roleRef": reference, "subjects": subjects}
        self.put(f"rolebindings.{GROUP}", f"n{index % NAMESPACES}", bound)

    def put(self, resource: str, namespace: str, obj: Object) -> None:
        """Puts an object into the watch cache, as the watch of a store does."""
        self._revision += 1
        cache = self.registry.cache.of(self.registry.of(resource).resource)
        if namespace:
            obj["metadata"]["namespace"] = namespace
        name = obj["metadata"]["name"]
        key = cache.prefix + (f"{namespace}/{name}" if namespace else name).encode()
        cache.apply(Change(key, cache.codec.encode(obj), self._revision))


def run(bindings: int = 1000) -> list[str]:
    """The table's lines."""
    return trio.run(_run, bindings)


async def _run(bindings: int) -> list[str]:
    cluster = Cluster(bindings)
    bound = range(0, 2 * NAMESPACES, 2)
    users = [User(f"user{index}", groups=(f"team{index % 50}", "devs", AUTHENTICATED)) for index in bound]
    usual = [parse("GET", f"/api/v1/namespaces/n{index % NAMESPACES}/configmaps") for index in bound]
    warm = await _least(cluster.authorizer, users, lambda _: usual)
    first = await _least(
        cluster.authorizer,
        users,
        lambda turn: [parse("GET", f"/api/v1/namespaces/{info.namespace}/secrets/s{turn}") for info in usual],
    )

    def changed_first(_: int) -> list[RequestInfo]:
        cluster.bind(0)
        return usual[:1]

    changed = await _least(cluster.authorizer, users[:1], changed_first)
    node = User("system:node:n1", groups=("system:nodes", AUTHENTICATED))
    for index in range(bindings):
        spec = {"nodeName": "n1", "imagePullSecrets": [{"name": "s"}]}
        cluster.put("pods", f"n{index % NAMESPACES}", {"metadata": {"name": f"p{index}"}, "spec": spec})
    secret = parse("GET", "/api/v1/namespaces/n1/secrets/s")
    nodes = await _least(cluster.authorizer, [node] * 100, lambda _: [secret] * 100)
    return [
        f"| decision, {bindings} bindings | µs of CPU |",
        "| --- | --- |",
        f"| asked before | {warm:.1f} |",
        f"| not asked before | {first:.1f} |",
        f"| of a node, {bindings} pods | {nodes:.1f} |",
        f"| the first one after a change of a binding | {changed:.1f} |",
    ]


async def _least(authorizer: Authorizer, users: Sequence[User], asked: Callable[[int], Sequence[RequestInfo]]) -> float:
    """Microseconds of one decision: the least mean of some turns, so that what else runs here counts little."""
    means = []
    for turn in range(TURNS):
        pairs = list(zip(users, asked(turn), strict=True))
        start = time.process_time()
        allowed = [(await verdict_of(authorizer, user, info)).allowed for user, info in pairs]
        means.append((time.process_time() - start) / len(pairs) * 1e6)
        assert all(allowed)
    return min(means)
