"""Which authorizers flags and files make, what of them cannot be used, and a real server that asks a webhook."""

from __future__ import annotations

import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from apilayer.pipeline.authentication import User
from apilayer.pipeline.authorization import verdict_of
from apilayer.pipeline.request_info import parse
from apilayer.pipeline.webhook_authorizer import WebhookRules
from apilayer.registry.registry import Registry
from apilayer.server.authorization import read_authorization
from apilayer.server.authorization_file import ConfigurationError, parse_configuration
from apilayer.server.authorization_metrics import authorization_families
from apilayer.server.errors import OptionsError
from apilayer.server.options import ServerOptions
from tests.apilayer.https_server import Asked, Reply, https_server
from tests.apilayer.memory_store import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]
SELF = "/apis/authorization.k8s.io/v1/selfsubject"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def kubeconfig(folder: Path, url: str, **cluster: Any) -> Path:
    """A file that names a server."""
    path = folder / "webhook.kubeconfig"
    document = {
        "clusters": [{"name": "c", "cluster": {"server": url, **cluster}}],
        "users": [{"name": "u", "user": {"token": "of-the-server"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def webhook(file: Path | str = "/nowhere", **more: Any) -> Object:
    return {
        "type": "Webhook",
        "name": "hook",
        "webhook": {
            "timeout": "3s",
            "subjectAccessReviewVersion": "v1",
            "failurePolicy": "NoOpinion",
            "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": str(file)},
            **more,
        },
    }


def configuration(*authorizers: Object, **more: Any) -> Object:
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}
    return {**head, "authorizers": list(authorizers), **more}


NODE, RBAC = {"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}
WHERE = "authorizers[0].webhook"


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ([], "strict decoding error: Expected `object`, got `array`"),
        (configuration(RBAC, more=1), "unknown field `more`"),
        (configuration({**RBAC, "more": 1}), "unknown field `more` - at `$.authorizers[0]`"),
        (configuration(RBAC, kind="Pod"), "not an AuthorizationConfiguration of apiVersion apiserver.config.k8s.io/v1"),
        (configuration(), "authorizers: Required value: at least one authorization mode must be defined"),
        (configuration({"name": "x"}), "authorizers[0].type: Required value"),
        (configuration({"type": "rbac", "name": "x"}), 'authorizers[0].type: Unsupported value: "rbac"'),
        (configuration(RBAC, {**RBAC, "name": "b"}), 'authorizers[1].type: Duplicate value: "RBAC"'),
        (configuration({"type": "RBAC"}), "authorizers[0].name: Required value"),
        (configuration(RBAC, {**NODE, "name": "rbac"}), 'authorizers[1].name: Duplicate value: "rbac"'),
        (
            configuration({**RBAC, "name": "A b"}),
            'authorizers[0].name: Invalid value: "A b": authorizer name is invalid',
        ),
        (configuration({**RBAC, "webhook": {}}), "may only be specified when type=Webhook"),
        (configuration({"type": "Webhook", "name": "x"}), f"{WHERE}: Required value: required when type=Webhook"),
        (configuration(webhook(timeout="")), f"{WHERE}.timeout: Required value"),
        (configuration(webhook(timeout="31s")), f'{WHERE}.timeout: Invalid value: "31s": must be > 0s and <= 30s'),
        (configuration(webhook(timeout="soon")), f'{WHERE}.timeout: Invalid value: "soon"'),
        (configuration(webhook(authorizedTTL="0s")), f"{WHERE}.authorizedTTL"),
        (configuration(webhook(subjectAccessReviewVersion="v2")), 'Unsupported value: "v2": supported values: "v1"'),
        (configuration(webhook(failurePolicy="")), f"{WHERE}.failurePolicy: Required value"),
        (
            configuration(webhook(matchConditions=[{"expression": "true"}])),
            "matchConditions: Forbidden: not implemented",
        ),
        (configuration(webhook(connectionInfo={"type": "InClusterConfig"})), "Forbidden: not implemented"),
        (configuration(webhook(connectionInfo={"type": "KubeConfigFile"})), "kubeConfigFile: Required value"),
        (configuration(webhook("hook")), 'Invalid value: "hook": must be an absolute path'),
        (configuration(webhook("/nowhere")), 'Invalid value: "/nowhere": error loading file'),
        (configuration(webhook("/")), 'Invalid value: "/": must be a regular file'),
        (configuration(webhook("/dev/null")), 'Invalid value: "/dev/null": must be a regular file'),
    ],
)
def test_files_that_cannot_be_used(document: Any, error: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(document)
    assert error in str(caught.value)


def test_a_file_with_several_webhooks(tmp_path: Path) -> None:
    file = kubeconfig(tmp_path, "https://127.0.0.1:1/a")
    short = webhook(file, authorizedTTL="1m", cacheUnauthorizedRequests=False, failurePolicy="Deny")
    entries = parse_configuration(configuration(NODE, webhook(file), {**short, "name": "b"}, RBAC))
    assert [entry.mode for entry in entries] == ["Node", "Webhook", "Webhook", "RBAC"]
    assert entries[1].webhook is not None
    assert entries[2].webhook is not None
    assert (entries[1].webhook.rules, entries[1].webhook.timeout_seconds) == (WebhookRules(), 3.0)
    assert entries[2].webhook.rules == WebhookRules("v1", 60.0, 0.0, denies_on_error=True)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"authorization_mode": ["ABAC"]}, "authorization-mode ABAC's authorization policy file not passed"),
        ({"authorization_policy_file": "p"}, "cannot specify --authorization-policy-file without mode ABAC"),
        ({"authorization_mode": ["Webhook"]}, "authorization-mode Webhook's authorization config file not passed"),
        (
            {"authorization_webhook_config_file": "k", "authorization_mode": ["RBAC"]},
            "cannot specify --authorization-webhook-config-file without mode Webhook",
        ),
        (
            {"authorization_config": "c", "authorization_mode": ["RBAC"]},
            "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags",
        ),
        ({"authorization_config": "c", "authorization_webhook_version": "v1"}, "--authorization-config can not be"),
        ({"authorization_config": "none"}, "--authorization-config: {folder}/none: No such file or directory"),
        ({"authorization_config": "bad"}, "--authorization-config: {folder}/bad: not YAML"),
        (
            {"authorization_webhook_config_file": "none", "authorization_mode": ["Webhook"]},
            "--authorization-webhook-config-file: {folder}/none: {folder}/none: No such file",
        ),
        (
            {"authorization_webhook_config_file": "k", "authorization_mode": ["Webhook"]}
            | {"authorization_webhook_version": "v2"},
            "--authorization-webhook-version: 'v2' is neither v1 nor v1beta1",
        ),
        (
            {"authorization_policy_file": "bad", "authorization_mode": ["ABAC"]},
            "--authorization-policy-file: {folder}/bad: line 1: not JSON",
        ),
    ],
)
def test_flags_that_cannot_be_used(tmp_path: Path, options: Object, error: str) -> None:
    (tmp_path / "bad").write_text("{: [")
    named = {key: tmp_path / value if key.endswith(("file", "config")) else value for key, value in options.items()}
    with pytest.raises(OptionsError) as caught:
        read_authorization(ServerOptions(tmp_path, tmp_path, [], **named))
    assert str(caught.value).startswith(error.replace("{folder}", str(tmp_path)))


async def test_a_server_that_asks(start_server: Any, certificates: Path, tmp_path: Path) -> None:
    """Over TLS, after the roles: what the webhook says decides, and without an answer nobody knows."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")

    async def handler(asked: Asked) -> Reply:
        attributes = asked.json["spec"].get("resourceAttributes") or {}
        if attributes.get("verb") == "delete":
            return Reply(status=404)
        allowed = attributes.get("resource") == "configmaps" and attributes.get("verb") == "list"
        return Reply({**asked.json, "status": {"allowed": allowed, "reason": "as the webhook says"}})

    async with https_server(context, handler) as hook:
        file = kubeconfig(tmp_path, f"{hook.url}/may", **{"certificate-authority": str(certificates / "ca.crt")})
        path = tmp_path / "authorization.yaml"
        path.write_text(yaml.safe_dump(configuration(NODE, RBAC, webhook(file))))
        async with start_server(authorization_config=path) as server, server.connect("plain") as bob:
            for _ in range(2):
                assert (await bob.request("GET", CONFIGMAPS)).status == 200
            assert len(hook.asked) == 1, "a yes holds for a while"
            assert hook.asked[0].headers["authorization"] == "Bearer of-the-server"
            assert hook.asked[0].json["spec"]["user"] == "bob"
            async with server.connect() as admin:
                metrics = (await admin.request("GET", "/metrics")).body
            counted = b'apiserver_authorization_decisions_total{decision="allowed",name="hook",type="Webhook"} 2.0'
            assert counted in metrics
            assert b'authorization_webhook_evaluations_total{name="hook",result="success"} 1.0' in metrics
            refused = await bob.request("POST", CONFIGMAPS, {"metadata": {"name": "x"}})
            assert (refused.status, refused.message.endswith(": as the webhook says")) == (403, True)
            unknown = await bob.request("DELETE", f"{CONFIGMAPS}/x")
            assert unknown.status == 500
            assert unknown.message.endswith(": the webhook answered with status 404")
            asked = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "configmaps"}}}
            review = (await bob.request("POST", f"{SELF}accessreviews", asked)).json["status"]
            assert review == {
                "allowed": False,
                "evaluationError": "the webhook answered with status 404",
            }
            rules = (await bob.request("POST", f"{SELF}rulesreviews", {"spec": {"namespace": "default"}})).json[
                "status"
            ]
            assert rules["incomplete"] is True
            assert rules["evaluationError"] == "webhook authorizer does not support user rule resolution"
            assert {
                "verbs": ["create"],
                "apiGroups": ["authentication.k8s.io"],
                "resources": ["selfsubjectreviews"],
            } in (rules["resourceRules"])


async def test_a_binding_counts_as_soon_as_it_is_made(start_server: Any) -> None:
    """Also for the other server over the same store, once that shows it."""
    group = "rbac.authorization.k8s.io"
    bindings = f"/apis/{group}/v1/namespaces/default/rolebindings"
    bound = {
        "metadata": {"name": "readers"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "bob"}],
    }
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    async with (
        start_server(authorization_mode=["RBAC"]) as one,
        start_server(authorization_mode=["RBAC"]) as two,
        one.connect() as admin,
        two.connect() as there,
        two.connect("plain") as bob,
    ):
        role = {"metadata": {"name": "reader"}, "rules": [rule]}
        assert (await admin.request("POST", f"/apis/{group}/v1/namespaces/default/roles", role)).status == 201
        assert (await bob.request("GET", CONFIGMAPS)).status == 403
        for _ in range(2):
            assert (await admin.request("POST", bindings, bound)).status == 201
            assert (await there.request("GET", f"{bindings}?limit=1")).status == 200, "a list shows what was written"
            assert (await bob.request("GET", CONFIGMAPS)).status == 200
            assert (await admin.request("DELETE", f"{bindings}/readers")).status == 200
            await there.request("GET", bindings)
            assert (await bob.request("GET", CONFIGMAPS)).status == 403


async def test_a_file_that_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was decided by roles goes on; a file that cannot be used changes nothing."""
    path = tmp_path / "authorization.yaml"

    def write(*authorizers: Object) -> None:
        path.write_text(yaml.safe_dump(configuration(*authorizers)))

    async def says() -> str:
        verdict = await verdict_of(authorizer, User("jane"), parse("GET", "/api/v1/pods"))
        return verdict.reason or str(verdict.allowed)

    async def hook(name: str, asked: Asked) -> Reply:
        return Reply({**asked.json, "status": {"allowed": False, "reason": name}})

    async with https_server(None, partial(hook, "one")) as one, https_server(None, partial(hook, "two")) as two:
        first = webhook(kubeconfig(tmp_path, one.url))
        write(RBAC, first)
        plan = read_authorization(ServerOptions(tmp_path, tmp_path, [], authorization_config=path))
        authorizer = plan.over(Registry(MemoryStore()))
        assert await says() == "one"
        await plan.look()
        assert await says() == "one"
        assert len(one.asked) == 1, "nothing has changed, so answers hold"
        kubeconfig(tmp_path, two.url)
        await plan.look()
        assert await says() == "two"
        write(RBAC, {"type": "AlwaysAllow", "name": "all"})
        await plan.look()
        assert await says() == "True"
        for authorizers in ((first,), (RBAC, NODE), (RBAC, RBAC)):
            write(*authorizers)
            await plan.look()
            assert await says() == "True"
        assert "type RBAC can neither be added nor removed" in caplog.text
        assert "type Node can neither be added nor removed" in caplog.text
        await plan.look()
        assert caplog.text.count('authorizers[1].type: Duplicate value: "RBAC"') == 1, "told once, however often seen"
        told = {
            (sample.name, sample.labels["status"]): sample.value
            for family in authorization_families(authorizer, {})
            for sample in family.samples
            if "config_controller_automatic_reloads_total" in sample.name
        }
        total = "apiserver_authorization_config_controller_automatic_reloads_total"
        assert told == {(total, "success"): 2.0, (total, "failure"): 3.0}
        await plan.close()
