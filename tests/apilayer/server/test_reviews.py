"""Reviews, tokens of service accounts and what others verify them with, at a real server."""

from __future__ import annotations

import hashlib
import ssl
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from apilayer.cli.cluster.account_key import ensure_account_key
from apilayer.pipeline.request import Identity
from apilayer.server.access import read_access
from apilayer.server.errors import OptionsError
from apilayer.server.options import ServerOptions
from apilayer.server.tls import identity_of

if TYPE_CHECKING:
    from pathlib import Path

Object = dict[str, Any]
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
AUTHENTICATION = "/apis/authentication.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
ISSUER = "https://issuer.example"


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accounts")
    assert ensure_account_key(folder)
    assert not ensure_account_key(folder), "a key that is there stays"
    assert (folder / "sa.key").stat().st_mode & 0o077 == 0
    return folder / "sa.key"


@pytest.fixture
def start(start_server: Any, key: Path) -> Any:
    def started(**options: Any) -> Any:
        return start_server(
            service_account_signing_key_file=key,
            service_account_issuer=[ISSUER],
            service_account_max_token_expiration=7200.0,
            **options,
        )

    return started


async def test_the_life_of_a_token(start: Any) -> None:
    async with start() as server, server.connect() as client:
        await client.request("POST", ACCOUNTS, {"metadata": {"name": "sa"}})
        made = await client.request("POST", f"{ACCOUNTS}/sa/token", {"spec": {"expirationSeconds": 9000}})
        assert made.status == 201
        assert made.headers["warning"] == '299 - "requested expiration of 9000 seconds shortened to 7200 seconds"'
        assert made.json["spec"] == {"audiences": [ISSUER], "expirationSeconds": 7200, "boundObjectRef": None}
        token = made.json["status"]["token"]
        async with server.connect(token) as account:
            who = await account.request("POST", f"{AUTHENTICATION}/selfsubjectreviews", {})
            assert who.json["status"]["userInfo"]["username"] == "system:serviceaccount:default:sa"
            refused = await account.request("GET", ACCOUNTS)
            assert refused.status == 403
            assert 'User "system:serviceaccount:default:sa" cannot list' in refused.message
        review = {"spec": {"token": token, "audiences": [ISSUER, "x"]}}
        seen = (await client.request("POST", f"{AUTHENTICATION}/tokenreviews", review)).json["status"]
        assert (seen["authenticated"], seen["audiences"]) == (True, [ISSUER])
        keys = (await client.request("GET", "/openid/v1/jwks")).json
        verified = jwt.decode(token, jwt.PyJWKSet.from_dict(keys).keys[0], audience=ISSUER, issuer=ISSUER)
        assert verified["sub"] == "system:serviceaccount:default:sa"
        await client.request("DELETE", f"{ACCOUNTS}/sa")
        async with server.connect(token) as account:
            assert (await account.request("GET", "/version")).status == 401
        seen = (await client.request("POST", f"{AUTHENTICATION}/tokenreviews", review)).json["status"]
        assert seen == {"user": {}, "error": "[invalid bearer token, service account token has been invalidated]"}


async def test_others_find_the_keys(start: Any) -> None:
    async with start(service_account_jwks_uri="https://keys.example/jwks") as server, server.connect() as client:
        answer = await client.request("GET", "/.well-known/openid-configuration")
        assert (answer.headers["content-type"], answer.headers["cache-control"]) == (
            "application/json",
            "public, max-age=3600",
        )
        assert answer.json == {
            "issuer": ISSUER,
            "jwks_uri": "https://keys.example/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        }
        keys = await client.request("GET", "/openid/v1/jwks")
        assert keys.headers["content-type"] == "application/jwk-set+json"


async def test_a_token_for_a_pod(start: Any) -> None:
    """One as projected into pods holds for a year and says when it should have been replaced."""
    async with start(service_account_extend_token_expiration=True) as server, server.connect() as client:
        await client.request("POST", ACCOUNTS, {"metadata": {"name": "sa"}})
        spec = {"serviceAccountName": "sa", "nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
        pod = await client.request("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec})
        assert pod.status == 201, pod.body
        bound = {"apiVersion": "v1", "kind": "Pod", "name": "p"}
        asked = {"spec": {"expirationSeconds": 3607, "boundObjectRef": bound}}
        made = await client.request("POST", f"{ACCOUNTS}/sa/token", asked)
        said = jwt.decode(made.json["status"]["token"], options={"verify_signature": False})
        assert said["exp"] - said["iat"] == 365 * 24 * 3600
        assert said["kubernetes.io"]["warnafter"] - said["iat"] == 3607
        assert said["kubernetes.io"]["node"] == {"name": "n"}


REFUSALS: list[tuple[str, Object, int, str]] = [
    ("none", {}, 404, 'serviceaccounts "none" not found'),
    (
        "sa",
        {"metadata": {"name": "x"}},
        422,
        'TokenRequest.authentication.k8s.io "sa" is invalid: metadata.name: Invalid value: "x": '
        "must match the service account name if specified",
    ),
    (
        "sa",
        {"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p"}}},
        400,
        'cannot bind token for serviceaccount "sa" to pod running with different serviceaccount name.',
    ),
    (
        "sa",
        {"spec": {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Pod", "name": "p"}}},
        400,
        "cannot bind token to object of type apps/v1, Kind=Pod",
    ),
]


async def test_requests_that_get_no_token(start: Any) -> None:
    async with start() as server, server.connect() as client:
        for name in ("sa", "default"):
            await client.request("POST", ACCOUNTS, {"metadata": {"name": name}})
        spec = {"containers": [{"name": "c", "image": "i"}]}
        await client.request("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec})
        for account, body, code, message in REFUSALS:
            answer = await client.request("POST", f"{ACCOUNTS}/{account}/token", {"spec": {}, **body})
            assert (answer.status, answer.message) == (code, message)


async def test_a_server_without_a_key_issues_no_tokens(client: Any) -> None:
    await client.request("POST", ACCOUNTS, {"metadata": {"name": "sa"}})
    answer = await client.request("POST", f"{ACCOUNTS}/sa/token", {"spec": {}})
    assert (answer.status, answer.json["reason"]) == (501, "NotImplemented")
    assert (await client.request("GET", "/openid/v1/jwks")).status == 404


async def test_a_certificate_is_known_by_its_digest(server: Any) -> None:
    pem = (server.certificates / "admin.crt").read_text()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    async with server.connect("", "admin") as admin:
        who = (await admin.request("POST", f"{AUTHENTICATION}/selfsubjectreviews", {})).json["status"]["userInfo"]
    assert who["extra"] == {"authentication.kubernetes.io/credential-id": [f"X509SHA256={digest}"]}


def test_a_subject_may_say_its_uid() -> None:
    subject = ((("commonName", "jane"),), (("1.3.6.1.4.1.57683.2", "7"),), (("organizationName", "devs"),))
    assert identity_of({"subject": subject}) == Identity("jane", ("devs",), "7")


async def test_who_and_what_may_i(server: Any) -> None:
    async with server.connect("plain") as bob:
        who = (await bob.request("POST", f"{AUTHENTICATION}/selfsubjectreviews", {})).json
        assert who["status"]["userInfo"] == {
            "username": "bob",
            "uid": "2",
            "groups": ["devs", "system:authenticated"],
        }
        asked = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods"}}}
        answer = await bob.request("POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", asked)
        assert (answer.status, answer.json["status"]) == (201, {"allowed": False})
        rules = await bob.request("POST", f"{AUTHORIZATION}/selfsubjectrulesreviews", {"spec": {"namespace": "x"}})
        assert rules.json["status"]["incomplete"] is False
        assert (await bob.request("POST", f"{AUTHORIZATION}/subjectaccessreviews", asked)).status == 403
    async with server.connect() as admin:
        asked["spec"] |= {"user": "x", "groups": ["system:masters"]}
        answer = await admin.request("POST", f"{AUTHORIZATION}/subjectaccessreviews", asked)
        assert answer.json["status"] == {"allowed": True}
        paths = {"spec": {"user": "x", "nonResourceAttributes": {"verb": "get", "path": "/version"}}}
        answer = await admin.request("POST", f"{AUTHORIZATION}/subjectaccessreviews", paths)
        assert answer.json["status"]["allowed"] is True


FLAGS: list[tuple[Object, str]] = [
    ({"service_account_issuer": ["x"]}, "--service-account-signing-key-file is required"),
    ({"service_account_signing_key_file": "KEY"}, "--service-account-issuer is required"),
    ({"service_account_signing_key_file": "none", "service_account_issuer": ["x"]}, "none: No such file"),
    (
        {"service_account_signing_key_file": "CERTIFICATE", "service_account_issuer": ["x"]},
        "valid RSA or ECDSA private",
    ),
    ({"service_account_signing_key_file": "KEY", "service_account_issuer": ["a:b"]}, "contains a colon and is no URL"),
    (
        {
            "service_account_signing_key_file": "KEY",
            "service_account_issuer": ["x"],
            "service_account_max_token_expiration": 60.0,
        },
        "must be between 1 hour",
    ),
    (
        {
            "service_account_signing_key_file": "KEY",
            "service_account_issuer": ["x"],
            "service_account_jwks_uri": "http://x",
        },
        "requires https scheme",
    ),
]


@pytest.mark.parametrize(("flags", "text"), FLAGS)
def test_flags_that_cannot_be_used(key: Path, certificates: Path, flags: Object, text: str) -> None:
    files = {"KEY": key, "CERTIFICATE": certificates / "ca.crt", "none": key.with_name("none")}
    flags = {name: files.get(value, value) if isinstance(value, str) else value for name, value in flags.items()}
    options = ServerOptions(certificates / "server.crt", certificates / "server.key", [], **flags)
    with pytest.raises(OptionsError, match=text):
        read_access(options)
