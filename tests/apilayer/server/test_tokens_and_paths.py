"""Tokens of every kind at one real server, what becomes of them, and tricks with paths and headers. All are refused."""

from __future__ import annotations

import base64
import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.apilayer.authority import Authority
from tests.apilayer.https_server import Asked, HttpsServer, Reply, https_server
from tests.apilayer.oidc_provider import OidcProvider, oidc_provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
SOON = {"exp": 4_000_000_000}
BOOTSTRAP = "abcdef.0123456789abcdef"
CANARIES = ("canary1", "canary2", "canary3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("tokens")
    Authority(made).leaf("server", server=True)
    key = ec.generate_private_key(ec.SECP256R1())
    (made / "sa.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (made / "tokens.csv").write_text('secret,admin,1,"system:masters"\nbobs-own,bob,2\n')
    policies = [
        {"user": "bob", "namespace": "a", "resource": "configmaps", "readonly": True},
        {"user": "bob", "nonResourcePath": "/healthz/*", "readonly": True},
        {"group": "system:authenticated", "apiGroup": "authentication.k8s.io", "resource": "*", "namespace": "*"},
    ]
    head = {"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy"}
    (made / "policy.jsonl").write_text("\n".join(json.dumps({**head, "spec": spec}) for spec in policies))
    return made


async def knows_wendy(asked: Asked) -> Reply:
    known = asked.json["spec"]["token"] == "wendys"
    status = {"authenticated": True, "user": {"username": "wendy"}} if known else {"error": asked.json["spec"]["token"]}
    return Reply({**asked.json, "status": status})


def write_files(folder: Path, provider: OidcProvider, webhook: HttpsServer) -> dict[str, Path]:
    issuer = {"url": provider.url, "audiences": ["kube"], "certificateAuthority": (folder / "ca.crt").read_text()}
    document = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{"issuer": issuer, "claimMappings": {"username": {"claim": "sub", "prefix": "oidc:"}}}],
        "anonymous": {"enabled": True, "conditions": [{"path": "/livez"}]},
    }
    (folder / "authentication.yaml").write_text(yaml.safe_dump(document))
    cluster = {"server": f"{webhook.url}/authenticate", "certificate-authority": "ca.crt"}
    kubeconfig = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "x", "context": {"cluster": "c"}}],
        "current-context": "x",
    }
    (folder / "webhook.yaml").write_text(yaml.safe_dump(kubeconfig))
    return {
        "authentication_config": folder / "authentication.yaml",
        "authentication_token_webhook_config_file": folder / "webhook.yaml",
    }


@asynccontextmanager
async def everything(folder: Path, start_server: Any) -> AsyncIterator[tuple[Any, OidcProvider, HttpsServer]]:
    """A server with every way to know a token."""
    tls = Authority.__new__(Authority)
    tls.folder, tls.file = folder, folder / "ca.crt"
    context = tls.server_context()
    async with (
        oidc_provider(context) as provider,
        https_server(context, knows_wendy) as webhook,
        start_server(
            **write_files(folder, provider, webhook),
            tls_cert_file=folder / "server.crt",
            tls_private_key_file=folder / "server.key",
            client_ca_file=folder / "ca.crt",
            token_auth_file=folder / "tokens.csv",
            service_account_signing_key_file=folder / "sa.key",
            service_account_issuer=["https://kube"],
            enable_bootstrap_token_auth=True,
            authorization_mode=["ABAC"],
            authorization_policy_file=folder / "policy.jsonl",
            controllers="namespace-controller",
        ) as server,
    ):
        server.certificates = folder
        yield server, provider, webhook


async def who(client: Any, token: str) -> str:
    """The user whom the token names, else the status."""
    client.token = token
    answer = await client.request("POST", WHO, {})
    return str(answer.json["status"]["userInfo"]["username"] if answer.status == 201 else answer.status)


async def reviewed(admin: Any, token: str) -> dict[str, Any]:
    answer = await admin.request("POST", REVIEW, {"spec": {"token": token}})
    assert answer.status == 201
    status: dict[str, Any] = answer.json["status"]
    return status


async def test_tokens_of_every_kind(folder: Path, start_server: Any, caplog: Any) -> None:
    """Each is known by its way and by TokenReview; what does not hold is 401, and nothing gets into a log."""
    caplog.set_level(logging.DEBUG)
    async with everything(folder, start_server) as (server, provider, webhook), server.connect() as admin:
        data = {"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}
        secret = {
            "metadata": {"name": "bootstrap-token-abcdef"},
            "type": "bootstrap.kubernetes.io/token",
            "stringData": data,
        }
        assert (await admin.request("POST", "/api/v1/namespaces/kube-system/secrets", secret)).status == 201
        await admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": "gone"}})
        accounts = "/api/v1/namespaces/gone/serviceaccounts"
        await admin.request("POST", accounts, {"metadata": {"name": "sa"}})

        async def account_token() -> str:
            answer = await admin.request("POST", f"{accounts}/sa/token", {"spec": {}})
            return str(answer.json["status"]["token"])

        account = await account_token()
        oidc = provider.token(**SOON)
        expected = {
            "bobs-own": "bob",
            account: "system:serviceaccount:gone:sa",
            BOOTSTRAP: "system:bootstrap:abcdef",
            oidc: "oidc:jane",
            "wendys": "wendy",
        }
        async with server.connect() as client:
            for token, name in expected.items():
                assert await who(client, token) == name
                assert (await reviewed(admin, token))["user"]["username"] == name
            bad = [oidc[:-4], provider.token(aud="x", **SOON), provider.token(exp=1), account[:-4], BOOTSTRAP + "0"]
            for token in (*bad, *CANARIES):
                assert await who(client, token) == "401"
                status = await reviewed(admin, token)
                assert (status["user"], "authenticated" in status) == ({}, False)
                assert token not in status["error"]
            assert await who(client, "") == "401"
            assert (await client.request("GET", "/livez")).status == 403, "nobody is let in here, and may do nothing"
            await revoke(admin, client, accounts, account, account_token)
        assert any(asked.json["spec"]["token"] == "canary1" for asked in webhook.asked), "the last way is asked"
    said = caplog.text
    for token in (*expected, *CANARIES, data["token-secret"]):
        assert token not in said, "a token in a log"


async def revoke(admin: Any, client: Any, accounts: str, account: str, account_token: Any) -> None:
    """What an account's tokens are worth once it is replaced, and once its namespace is deleted."""
    await admin.request("DELETE", f"{accounts}/sa")
    assert await who(client, account) == "401"
    await admin.request("POST", accounts, {"metadata": {"name": "sa"}})
    assert await who(client, account) == "401", "another of the same name"
    newer = await account_token()
    assert await who(client, newer) == "system:serviceaccount:gone:sa"
    listed = await admin.request("GET", "/api/v1/namespaces")
    await admin.request("DELETE", "/api/v1/namespaces/gone")
    version = listed.json["metadata"]["resourceVersion"]
    client.token = "secret"
    watching = await client.watch(f"/api/v1/namespaces?watch=1&resourceVersion={version}&timeoutSeconds=9")
    while (event := await watching.event())["type"] != "DELETED":
        assert event["object"]["metadata"]["name"] == "gone"
    assert (await reviewed(admin, newer))["user"] == {}


B = "/api/v1/namespaces/b"
TRICKS = [
    f"{B}/configmaps/x",
    f"{B}/secrets/x",
    "/api/v1/namespaces/a/secrets/x",
    "/api/v1/namespaces/a/../b/configmaps/x",
    "/api/v1/namespaces/a/%2e%2e/b/configmaps/x",
    "/api/v1/namespaces/a%2f..%2fb/configmaps/x",
    "/api/v1/namespaces/a%2Fconfigmaps%2F..%2F..%2Fb/configmaps/x",
    "/api/v1/namespaces/a/configmaps/x/../../../b/configmaps/x",
    "/api/v1/namespaces/a/configmaps/..%2f..%2fb%2fconfigmaps%2fx",
    "/api/v1/namespaces/a/configmaps/x%2f..%2f..%2f..%2fb/configmaps/x",
    f"/{B}/configmaps/x",
    "/api//v1/namespaces/b/configmaps/x",
    "/apis//v1/namespaces/b/configmaps/x",
    "/api/v1//namespaces/b/configmaps/x",
    "/api/v1/namespaces//b/configmaps/x",
    "/api/v1/namespaces/a//b/configmaps/x",
    "/API/v1/namespaces/b/configmaps/x",
    "/api/V1/namespaces/b/configmaps/x",
    "/api/v1/Namespaces/b/configmaps/x",
    "/api/v1/namespaces/B/configmaps/x",
    "/api/v1/namespaces/a/ConfigMaps/x",
    "/api/v1/watch/namespaces/b/configmaps/x",
    "/api/v1/configmaps",
    "/api/v1/configmaps?fieldSelector=metadata.namespace=a",
    f"{B}/configmaps/x?namespace=a",
    f"{B}/configmaps/x;/healthz/x",
    f"{B}/configmaps/x%00",
    "/api/v1/namespaces/a%00/../b/configmaps/x",
    "/api/v1/namespaces/a;b/configmaps/x",
    "/api/v1/namespaces/a\\..\\b/configmaps/x",
    "/api/v1/namespaces/a%5c..%5cb/configmaps/x",
    "/api/v1/namespaces/%ef%bc%8fb/configmaps/x",
    "/api/v1/namespaces/%2562/configmaps/x",
    f"/healthz/..{B}/configmaps/x",
    f"/healthz/%2e%2e{B}/configmaps/x",
    f"/healthz%2f..%2f{B[1:]}/configmaps/x",
    f"http://127.0.0.1{B}/configmaps/x",
    f"https://127.0.0.1/healthz/..{B}/configmaps/x",
]


async def test_tricks_with_paths(folder: Path, start_server: Any) -> None:
    """What is authorized is what is served, however it is spelled; nothing of a path gets into a header."""
    async with everything(folder, start_server) as (server, _, _), server.connect() as admin:
        for name in ("a", "b"):
            await admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            for kind in ("configmaps", "secrets"):
                made = {"metadata": {"name": "x"}}
                made |= {"data": {"k": f"of-{name}"}} if kind == "configmaps" else {"stringData": {"k": f"of-{name}"}}
                answer = await admin.request("POST", f"/api/v1/namespaces/{name}/{kind}", made)
                assert answer.status == 201
        async with server.connect("bobs-own") as bob:
            assert (await bob.request("GET", "/api/v1/namespaces/a/configmaps/x")).json["data"] == {"k": "of-a"}
            for path in TRICKS:
                answer = await bob.request("GET", path)
                assert answer.status in (301, 400, 403, 404), path
                assert b"of-b" not in answer.body, path
                assert base64.b64encode(b"of-a") not in answer.body, path
                if answer.headers.get("connection") == "close":
                    raise AssertionError(f"not an answer but an end: {path}")
            for path in (f"{B}/x%0d%0aInjected:%201", "/%0d%0aInjected:%201", "/healthz/%0d%0aInjected:%201"):
                answer = await bob.request("GET", path)
                assert answer.status in (403, 404)
                assert "injected" not in answer.headers
            for headers in ({"Impersonate_User": "admin"}, {"X_Remote_User": "admin"}):
                assert (await bob.request("GET", f"{B}/configmaps/x", **headers)).status == 403
            twice = bob.encode("GET", f"{B}/configmaps/x", None, {"Authorization": "Bearer secret"})
            await bob.stream.send_all(twice)
            assert (await bob.answer()).status == 401
