"""Auditing of a real server: from flags over TLS to a file and a webhook."""

from __future__ import annotations

import argparse
import re
import ssl
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from apilayer.cli.cluster.account_key import ensure_account_key
from apilayer.cli.serve_flags import add_flags
from apilayer.cli.serve_flags.audit import audit_options
from apilayer.server.errors import OptionsError
from tests.apilayer.https_server import Asked, Reply, https_server
from tests.apilayer.server.test_h2 import opened

if TYPE_CHECKING:
    from pathlib import Path

    from apilayer.audit.options import AuditOptions

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/metrics"]
- level: Metadata
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "{url}/events", certificate-authority: ca.crt}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
current-context: c
users: [{{name: u, user: {{token: hook-token}}}}]
"""


def flags(*words: str) -> AuditOptions:
    """Options from a command line."""
    parser = argparse.ArgumentParser()
    add_flags(parser)
    required = ["--tls-cert-file=x", "--tls-private-key-file=x", "--etcd-servers=http://x:1"]
    return audit_options(parser.parse_args([*required, *words]))


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


async def test_the_log_of_a_server(start_server, policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "audit.log"
    audit = flags(f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking-strict")
    async with start_server(audit=audit) as server, server.connect() as client:
        answer = await client.request("POST", CONFIGMAPS, {"metadata": {"name": "c"}}, User_Agent="test/1")
        (event,) = lines(log)
        assert event["auditID"] == answer.headers["audit-id"]
        assert (event["kind"], event["apiVersion"]) == ("Event", "audit.k8s.io/v1")
        assert (event["sourceIPs"], event["userAgent"]) == (["127.0.0.1"], "test/1")
        assert (event["requestURI"], event["verb"], event["objectRef"]["name"]) == (CONFIGMAPS, "create", "c")
        assert event["responseStatus"] == {"metadata": {}, "code": 201}
        await client.request("GET", f"{CONFIGMAPS}/%63?pretty=1")
        assert lines(log)[1]["requestURI"] == f"{CONFIGMAPS}/%63?pretty=1"
        async with server.connect() as other:
            await other.watch(f"{CONFIGMAPS}?watch=1")
            assert lines(log)[2]["stage"] == "ResponseStarted"
        await client.request("GET", "/metrics")
        text = (await client.request("GET", "/metrics")).body.decode()
    assert lines(log)[-1]["stage"] == "ResponseComplete"
    assert "apiserver_audit_requests_rejected_total 0.0" in text
    assert 'apiserver_audit_level_total{level="None"} 2.0' in text
    assert 'apiserver_audit_level_total{level="Metadata"} 3.0' in text
    assert b"secret" not in log.read_bytes()


async def test_what_admission_notes(start_server, policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    audit = flags(f"--audit-policy-file={policy}", f"--audit-log-path={log}")
    labels = {"pod-security.kubernetes.io/audit": "baseline"}
    pod = {"metadata": {"name": "p"}, "spec": {"hostPID": True, "containers": [{"name": "c", "image": "i"}]}}
    async with start_server(audit=audit) as server, server.connect() as client:
        await client.request("POST", "/api/v1/namespaces", {"metadata": {"name": "watched", "labels": labels}})
        assert (await client.request("POST", "/api/v1/namespaces/watched/pods", pod)).status == 201
        assert (await client.request("POST", "/api/v1/namespaces/default/pods", pod)).status == 201
    _, strict, plain = (line["annotations"] for line in lines(log))
    kept = "pod-security.kubernetes.io/enforce-policy"
    assert strict[kept] == plain[kept] == "privileged:latest"
    violations = 'would violate PodSecurity "baseline:latest": host namespaces (hostPID=true)'
    assert strict["pod-security.kubernetes.io/audit-violations"] == violations
    assert strict["authorization.k8s.io/decision"] == "allow"


async def test_over_http_2(start_server, policy: Path, tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    audit = flags(f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-format=legacy")
    async with start_server(audit=audit) as server, opened(server) as client:
        await client.request("GET", f"{CONFIGMAPS}/%6eone?pretty=1")
    text = log.read_text()
    assert ' ip="127.0.0.1" method="get" user="admin" ' in text
    assert f' uri="{CONFIGMAPS}/%6eone?pretty=1" response="404"\n' in text


async def test_a_webhook(start_server, policy: Path, tmp_path: Path, certificates: Path) -> None:
    async def handler(_asked: Asked) -> Reply:
        return Reply()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    (tmp_path / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())
    async with https_server(context, handler) as hook:
        config = tmp_path / "hook.yaml"
        config.write_text(KUBECONFIG.format(url=hook.url))
        audit = flags(f"--audit-policy-file={policy}", f"--audit-webhook-config-file={config}")
        async with start_server(audit=audit) as server, server.connect() as client:
            for name in "ab":
                await client.request("GET", f"{CONFIGMAPS}/{name}")
        (asked,) = hook.asked  # what waited was sent at the end
    assert (asked.target, asked.headers["authorization"]) == ("/events?timeout=30s", "Bearer hook-token")
    assert [item["objectRef"]["name"] for item in asked.json["items"]] == ["a", "b"]


async def test_a_token_can_be_followed_from_its_making_to_its_use(start_server, policy: Path, tmp_path: Path) -> None:
    ensure_account_key(tmp_path)
    log = tmp_path / "audit.log"
    options = {
        "audit": flags(f"--audit-policy-file={policy}", f"--audit-log-path={log}"),
        "service_account_signing_key_file": tmp_path / "sa.key",
        "service_account_issuer": ["https://here"],
    }
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    async with start_server(**options) as server, server.connect() as client:
        await client.request("POST", accounts, {"metadata": {"name": "sa"}})
        token = (await client.request("POST", f"{accounts}/sa/token", {"spec": {}})).json["status"]["token"]
        async with server.connect(token) as account:
            await account.request("GET", accounts)
    _, made, used = lines(log)
    issued = made["annotations"]["authentication.kubernetes.io/issued-credential-id"]
    assert issued.startswith("JTI=")
    assert used["user"]["extra"]["authentication.kubernetes.io/credential-id"] == [issued]
    assert token not in log.read_text()


@pytest.fixture
def bad_policy(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(POLICY.replace("level: Metadata", "level: Everything"))
    return path


async def test_a_policy_with_an_error_keeps_the_server_from_starting(start_server, bad_policy: Path) -> None:
    wrong = 'rules[1].level: Unsupported value: "Everything": supported values: "None", "Metadata", "Request", '
    with pytest.RaisesGroup(
        pytest.RaisesExc(OptionsError, match=re.escape(f"--audit-policy-file: loading audit policy file: {wrong}")),
        flatten_subgroups=True,
    ):
        async with start_server(audit=flags(f"--audit-policy-file={bad_policy}", "--audit-log-path=-")):
            pass


def test_defaults_are_kube_apiservers() -> None:
    found = flags()
    assert (found.policy_file, found.log_path, found.webhook_initial_backoff) == (None, "", 10.0)
    assert (found.log.mode, found.log.batch_max_size, found.log.batch_throttle_enable) == ("blocking", 1, False)
    assert (found.webhook.mode, found.webhook.batch_max_size, found.webhook.batch_max_wait) == ("batch", 400, 30.0)
    assert (found.webhook.batch_throttle_qps, found.webhook.batch_throttle_burst) == (10.0, 15)
    assert (found.log.batch_buffer_size, found.log.truncate_max_event_size) == (10_000, 102_400)
