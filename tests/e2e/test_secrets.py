"""A local cluster with sealed Secrets: nothing of them is found in what it leaves behind, and certificates end."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from apilayer.controllers.certificates.authority import Authority
from tests.e2e.canary import CANARY, SEEN, check_nothing_shows, left_behind, traces
from tests.e2e.cluster import LocalCluster, call, needs_kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

SECRETS = "/api/v1/namespaces/default/secrets"
OTHER = "s1sk1n-0f-the-c0al-mine"
POLICY = {
    "kind": "Policy",
    "apiVersion": "audit.k8s.io/v1",
    "rules": [{"level": "Metadata", "resources": [{"resources": ["secrets"]}]}, {"level": "RequestResponse"}],
}
MEDIA = {
    "json": "application/json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "patch": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """With everything logged that can be, and with an audit."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "policy.json").write_text(json.dumps(POLICY))
    cluster = LocalCluster(folder, nodes=1)
    flags = ("--v=6", f"--audit-policy-file={folder / 'policy.json'}", f"--audit-log-path={folder / 'audit.log'}")
    try:
        yield cluster.started(*(f"--apiserver-arg={flag}" for flag in flags))
    finally:
        cluster.apilayer("down")


def secret(name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, **fields}


def send(cluster: LocalCluster, method: str, path: str, body: Any, media: str) -> tuple[int, bytes]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with contextlib.closing(cluster.connection()) as connection:
        connection.request(method, path, data, {"Content-Type": MEDIA[media]})
        answer = connection.getresponse()
        return answer.status, answer.read()


ENCODED = base64.b64encode(CANARY.encode()).decode()
MISTAKES = [
    ("POST", "", secret("b", data={"k": CANARY}), "json", 400),
    ("POST", "", secret("b", data={"k": {"inner": CANARY}}), "json", 400),
    ("POST", "", secret("b", data=[CANARY]), "json", 400),
    ("POST", "", secret("b", stringData={"bad/": CANARY}), "json", 422),
    ("POST", "", secret("b", type="kubernetes.io/tls", stringData={"tls.crt": CANARY}), "json", 422),
    (
        "POST",
        "",
        secret("b", type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": CANARY}),
        "json",
        422,
    ),
    ("POST", "", secret("B/", stringData={"k": CANARY}), "json", 422),
    ("POST", "", json.dumps(secret("b", stringData={"k": CANARY})).encode()[:-1], "json", 400),
    ("POST", "?fieldValidation=Strict", secret("b", stringDatas={"k": CANARY}), "json", 400),
    ("POST", "", secret("s", stringData={"k": CANARY}), "json", 409),
    ("PUT", "/s", secret("s", type="other", data={"k": ENCODED}), "json", 422),
    ("PUT", "/s", {**secret("s", data={"k": ENCODED}), "metadata": {"name": "s", "resourceVersion": "1"}}, "json", 409),
    ("PUT", "/sealed", secret("sealed", stringData={"k": CANARY}), "json", 422),
    ("PATCH", "/s", [{"op": "test", "path": "/data/k", "value": CANARY}], "patch", 422),
    ("PATCH", "/s", [{"op": "add", "path": "/data/x/y", "value": CANARY}], "patch", 422),
    ("PATCH", "/s", {"data": {"k": CANARY}}, "merge", 422),
    ("PATCH", "/s", {"data": {"$patch": CANARY}}, "strategic", 500),
    ("PATCH", "/s", {"data": {"k": CANARY}}, "strategic", 422),
    ("PATCH", "/s?fieldManager=x", secret("s", data={"k": ENCODED * 4}), "apply", 409),
    ("PATCH", "/s?fieldManager=x", secret("s", data={"k": {"inner": CANARY}}), "apply", 500),
]


def test_nothing_of_a_secret_is_left_behind(cluster: LocalCluster, tmp_path: Path) -> None:
    needs_kubectl()
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "seen"}, "data": {"k": SEEN}}
    assert cluster.once("POST", "/api/v1/namespaces/default/configmaps", kept)[0] == 201
    assert cluster.once("POST", SECRETS, secret("s", stringData={"k": CANARY}))[0] == 201
    assert cluster.once("POST", SECRETS, secret("sealed", immutable=True, stringData={"k": OTHER}))[0] == 201
    manifest = tmp_path / "secret.json"
    manifest.write_text(json.dumps(secret("applied", stringData={"k": CANARY})))
    for _ in range(2):
        cluster.kubectl("apply", "-f", str(manifest))  # which also keeps it in an annotation
    unwanted = [trace for canary in (CANARY, OTHER) for trace in traces(canary)]
    wrong = []
    for method, path, body, media, status in MISTAKES:
        code, said = send(cluster, method, SECRETS + path, body, media)
        if code != status or any(trace in said for trace in unwanted):
            wrong.append((method, path, body, code, said))
    assert not wrong
    assert CANARY.encode() not in json.dumps(cluster.once("GET", "/api/v1/events")[1]).encode()
    cluster.kubectl("get", "secrets", "-o", "yaml", "-w", "--request-timeout=1s", codes=(0, 1))
    for name in ("s", "applied", "sealed"):
        assert cluster.once("DELETE", f"{SECRETS}/{name}")[0] == 200
    assert cluster.apilayer("down").returncode == 0

    content = left_behind(cluster.data_dir.parent)
    check_nothing_shows(content, (CANARY, OTHER))
    seen = {path.suffix for path, data in content.items() if SEEN.encode() in data}
    assert {".mdb", ".log"} <= seen, "the store and the audit show what is not sealed"
    token = cluster.bearer.encode()
    key = (cluster.data_dir / "pki" / "encryption.yaml").read_text().partition("secret: ")[2].split()[0].encode()
    for path, data in content.items():
        assert token not in data or path.name == "tokens.csv", path
        assert key not in data or path.name == "encryption.yaml", path

    # Without the key there is no start, and the message says what is missing.
    (cluster.data_dir / "pki" / "encryption.yaml").rename(tmp_path / "encryption.yaml")
    refused = cluster.up()
    assert refused.returncode == 1
    assert "the Secrets in this store are sealed with the key 'key-" in refused.stderr + cluster.logs()


def test_certificates_of_users_end(one_node: LocalCluster) -> None:
    """One that was signed through the API lets its owner in, one whose time is over does not."""
    needs_kubectl()
    pki = one_node.data_dir / "pki"
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ann")]))
        .sign(key, hashes.SHA256())
    )
    spec = {
        "signerName": "kubernetes.io/kube-apiserver-client",
        "request": base64.b64encode(request.public_bytes(Encoding.PEM)).decode(),
        "usages": ["client auth"],
        "expirationSeconds": 600,
    }
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    assert one_node.once("POST", requests, {"metadata": {"name": "ann"}, "spec": spec})[0] == 201
    one_node.kubectl("certificate", "approve", "ann")
    one_node.kubectl("wait", "csr/ann", "--for=jsonpath={.status.certificate}", "--timeout=20s")
    issued = base64.b64decode(one_node.once("GET", f"{requests}/ann")[1]["status"]["certificate"])
    left = x509.load_pem_x509_certificate(issued).not_valid_after_utc - datetime.now(UTC)
    assert timedelta(seconds=500) < left <= timedelta(seconds=601)
    authority = Authority(pki / "ca.crt", pki / "ca.key", 3600)
    before = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)
    over = authority.sign(request, ["client auth"], None, before)
    assert _whoami(one_node, key, issued) == (201, "ann")
    with contextlib.suppress(ssl.SSLError, ConnectionError):  # the handshake may be refused already
        assert _whoami(one_node, key, over)[0] == 401
    assert one_node.once("DELETE", f"{requests}/ann")[0] == 200


def _whoami(cluster: LocalCluster, key: ec.EllipticCurvePrivateKey, certificate: bytes) -> tuple[int, str]:
    path = cluster.home / "ann.pem"
    path.write_bytes(certificate + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.create_default_context(cafile=cluster.ca)
    context.load_cert_chain(path)
    connection = http.client.HTTPSConnection("127.0.0.1", cluster.api_port, timeout=30, context=context)
    with contextlib.closing(connection):
        code, body = call(connection, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    return code, ((body.get("status") or {}).get("userInfo") or {}).get("username", "")
