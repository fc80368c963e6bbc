"""A server on which roles decide: the default ones, what they give, and who may give what."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from apilayer.registry.roles import completed, default_roles
from apilayer.server.access import read_access
from apilayer.server.errors import OptionsError
from apilayer.server.options import ServerOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Object = dict[str, Any]
RBAC = "/apis/rbac.authorization.k8s.io/v1"
ROLES = f"{RBAC}/namespaces/default/roles"
BINDINGS = f"{RBAC}/namespaces/default/rolebindings"
CLUSTER_ROLES = f"{RBAC}/clusterroles"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
READ = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
WRITE_ROLES = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "update"]}
BOB = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}


def role(name: str, *rules: Object, **more: Any) -> Object:
    return {"metadata": {"name": name}, "rules": list(rules), **more}


def binding(name: str, to: str, *subjects: Object, kind: str = "Role") -> Object:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": to}
    return {"metadata": {"name": name}, "roleRef": reference, "subjects": list(subjects)}


@pytest.fixture
def start(start_server: Any) -> Any:
    @asynccontextmanager
    async def started() -> AsyncIterator[tuple[Any, Any, Any]]:
        async with (
            start_server(authorization_mode=["RBAC"]) as server,
            server.connect() as admin,
            server.connect("plain") as bob,
        ):
            yield server, admin, bob

    return started


async def test_who_may_what(start: Any) -> None:
    async with start() as (server, admin, bob):
        assert (await bob.request("GET", CONFIGMAPS)).status == 403
        assert (await bob.request("GET", "/api")).status == 200, "discovery is everybody's who is known"
        await admin.request("POST", ROLES, role("reader", READ))
        await admin.request("POST", BINDINGS, binding("readers", "reader", BOB))
        assert (await bob.request("GET", CONFIGMAPS)).status == 200, "at once"
        assert (await bob.request("DELETE", f"{CONFIGMAPS}/x")).status == 403
        asked = {"spec": {"resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": "default"}}}
        answer = await bob.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", asked)
        assert answer.json["status"] == {
            "allowed": True,
            "reason": 'RBAC: allowed by RoleBinding "readers/default" of Role "reader" to User "bob"',
        }
        one = {**READ, "resources": ["secrets"], "resourceNames": ["one"]}
        await admin.request("PUT", f"{ROLES}/reader", role("reader", one))
        secrets = "/api/v1/namespaces/default/secrets"
        assert (await bob.request("GET", CONFIGMAPS)).status == 403
        assert (await bob.request("GET", secrets)).status == 403
        assert (await bob.request("GET", f"{secrets}?fieldSelector=metadata.name=one")).status == 200
        async with server.connect("") as nobody:
            assert (await nobody.request("GET", "/version")).status == 200
            refused = await nobody.request("GET", CONFIGMAPS)
            assert (refused.status, 'User "system:anonymous" cannot list' in refused.message) == (403, True)


async def test_nobody_gives_away_what_he_does_not_have(start: Any) -> None:
    head = (
        'user "bob" (groups=["devs" "system:authenticated"]) is attempting to grant RBAC permissions not currently held'
    )
    async with start() as (_, admin, bob):
        for made in (role("r", READ, WRITE_ROLES), role("strong", {**READ, "verbs": ["*"]})):
            await admin.request("POST", ROLES, made)
        await admin.request("POST", BINDINGS, binding("b", "r", BOB))
        assert (await bob.request("POST", ROLES, role("ok", READ))).status == 201
        refused = await bob.request("POST", ROLES, role("no", {**READ, "verbs": ["delete"]}))
        lacks = '{APIGroups:[""], Resources:["configmaps"], Verbs:["delete"]}'
        assert (refused.status, refused.message) == (
            403,
            f'roles.rbac.authorization.k8s.io "no" is forbidden: {head}:\n{lacks}',
        )
        assert (await bob.request("PUT", f"{ROLES}/ok", role("ok", {**READ, "verbs": ["*"]}))).status == 403
        assert (await bob.request("PUT", f"{ROLES}/strong", role("strong", {**READ, "verbs": ["*"]}))).status == 200
        labelled = {**role("strong", {**READ, "verbs": ["*"]}), "metadata": {"name": "strong", "labels": {"a": "b"}}}
        assert (await bob.request("PUT", f"{ROLES}/strong", labelled)).status == 403, "whatever it is that changes"
        owned = {"apiVersion": "v1", "kind": "ConfigMap", "name": "c", "uid": "u"}
        labelled["metadata"] = {"name": "strong", "ownerReferences": [owned]}
        assert (await bob.request("PUT", f"{ROLES}/strong", labelled)).status == 200, "but who owns it"
        assert (await bob.request("POST", BINDINGS, binding("x", "ok", BOB))).status == 201
        assert head in (await bob.request("POST", BINDINGS, binding("y", "strong", BOB))).message
        absent = await bob.request("POST", BINDINGS, binding("z", "none", BOB))
        assert (absent.status, absent.message) == (404, 'rolebindings.rbac.authorization.k8s.io "none" not found')
        allowed = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["escalate", "bind"]}
        await admin.request("PUT", f"{ROLES}/r", role("r", READ, WRITE_ROLES, allowed))
        assert (await bob.request("POST", ROLES, role("no", {**READ, "verbs": ["delete"]}))).status == 201
        assert (await bob.request("POST", BINDINGS, binding("y", "strong", BOB))).status == 201
        await admin.request("POST", CLUSTER_ROLES, role("writer", WRITE_ROLES))
        cluster = binding("w", "writer", BOB, kind="ClusterRole")
        await admin.request("POST", f"{RBAC}/clusterrolebindings", cluster)
        aggregate = role("a", aggregationRule={"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]})
        refused = await bob.request("POST", CLUSTER_ROLES, aggregate)
        assert "must have cluster-admin privileges to use an aggregationRule" in refused.message
        await admin.request("POST", CLUSTER_ROLES, aggregate)
        refused = await bob.request("PUT", f"{CLUSTER_ROLES}/a", role("a"))
        assert "must have cluster-admin privileges to use an aggregationRule" in refused.message, "nor take it away"
        await admin.request("DELETE", f"{CLUSTER_ROLES}/writer")
        refused = await bob.request("POST", ROLES, role("more", {**READ, "resources": ["secrets"]}))
        assert refused.status == 201, "he may escalate here"
        refused = await bob.request("POST", CLUSTER_ROLES, role("more", READ))
        assert refused.status == 403


async def test_default_roles_are_made_and_mended(start: Any) -> None:
    """What somebody added stays; one that is not to be mended is left alone."""
    async with start() as (_, admin, _bob):
        listed = (await admin.request("GET", CLUSTER_ROLES)).json["items"]
        names = {
            name for resource, _, obj in default_roles() if (name := obj["metadata"]["name"]) and "cluster" in resource
        }
        assert {item["metadata"]["name"] for item in listed} <= names
        assert len(listed) == 69
        assert b"[+]poststarthook/rbac/bootstrap-roles ok" in (await admin.request("GET", "/readyz?verbose")).body
        extra = {**READ, "verbs": ["watch"]}
        changed = next(item for item in listed if item["metadata"]["name"] == "system:basic-user")
        await admin.request("PUT", f"{CLUSTER_ROLES}/system:basic-user", {**changed, "rules": [extra]})
        left = next(item for item in listed if item["metadata"]["name"] == "system:discovery")
        left["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false"
        await admin.request("PUT", f"{CLUSTER_ROLES}/system:discovery", {**left, "rules": []})
        await admin.request("DELETE", f"{CLUSTER_ROLES}/cluster-admin")
    async with start() as (_, admin, _bob):
        mended = (await admin.request("GET", f"{CLUSTER_ROLES}/system:basic-user")).json["rules"]
        assert extra in mended
        assert len(mended) > 1
        assert not (await admin.request("GET", f"{CLUSTER_ROLES}/system:discovery")).json["rules"]
        assert (await admin.request("GET", f"{CLUSTER_ROLES}/cluster-admin")).status == 200


def test_what_a_default_role_lacks() -> None:
    wanted = {"metadata": {"name": "x", "labels": {"a": "b"}, "annotations": {}}, "rules": [READ]}
    present = {"metadata": {"name": "x", "labels": {"a": "mine"}}, "rules": [{**READ, "verbs": ["get", "delete"]}]}
    made = completed(present, wanted)
    assert made["metadata"]["labels"] == {"a": "mine"}
    assert made["rules"] == [present["rules"][0], {**READ, "verbs": ["list"]}]
    assert completed(made, wanted) == made
    bound = completed({"metadata": {}, "subjects": [BOB]}, {**wanted, "subjects": [{"kind": "Group", "name": "g"}]})
    assert bound["subjects"] == [BOB, {"kind": "Group", "name": "g"}]


@pytest.mark.parametrize(
    ("modes", "text"),
    [
        (["rbac"], "'rbac' is not a valid mode"),
        (["RBAC", "RBAC"], "'RBAC' is given more than once"),
    ],
)
def test_modes_that_cannot_be_used(certificates: Path, modes: list[str], text: str) -> None:
    options = ServerOptions(certificates / "server.crt", certificates / "server.key", [], authorization_mode=modes)
    with pytest.raises(OptionsError, match=f"--authorization-mode: {text}"):
        read_access(options)
