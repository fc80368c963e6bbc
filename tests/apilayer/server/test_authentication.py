"""Who gets in at a real listener: certificates that hold and that do not, authenticating proxies, files that change."""

from __future__ import annotations

import base64
import datetime
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from apilayer.server.secure_stream import SecureStream
from apilayer.server.tls import CertificateError, ServingTls
from apilayer.server.trust_publisher import combined
from tests.apilayer.authority import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LAST_YEAR = datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)
NEXT_CENTURY = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
TRUST = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
PROXIED = {"X_Remote_User": "jane", "X_Remote_Group": "devs"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities in one file for clients, one for proxies, and one that nobody trusts."""
    made: Path = tmp_path_factory.mktemp("authentication")
    first, second = Authority(made, file="first"), Authority(made, "second", file="second")
    proxies, strangers = Authority(made, "proxies", file="proxies"), Authority(made, "strangers", file="strangers")
    first.leaf("server", server=True)
    first.leaf("jane", "devs", "ops", uid="7")
    first.leaf("jane", file="expired", end=LAST_YEAR)
    first.leaf("jane", file="early", start=NEXT_CENTURY)
    second.leaf("joe", "system:masters")
    proxies.leaf("proxy")
    proxies.leaf("intruder")
    strangers.leaf("jane", file="stranger")
    (made / "clients.crt").write_bytes(first.pem + second.pem)
    (made / "ca.crt").write_bytes(first.pem)
    (made / "tokens.csv").write_text('secret,admin,1,"system:masters"\n')
    (made / "passwords.csv").write_text("word,basil,3\n")
    return made


async def who(server: Any, certificate: str = "", **headers: str) -> tuple[int, str]:
    """Status, and user and groups."""
    async with server.connect("", certificate) as client:
        return await who_on(client, **headers)


async def who_on(client: Any, **headers: str) -> tuple[int, str]:
    answer = await client.request("POST", WHO, {}, **headers)
    if answer.status != 201:
        return answer.status, answer.message
    info = answer.json["status"]["userInfo"]
    return 201, f"{info['username']} {info.get('uid', '')} {','.join(info['groups'])}".replace("  ", " ")


async def test_certificates_and_proxies(folder: Path, start_server: Any) -> None:
    """The order of the ways, and that nothing that does not hold is taken for nobody's."""
    files = {"client_ca_file": folder / "clients.crt", "requestheader_client_ca_file": folder / "proxies.crt"}
    async with start_server(
        **files,
        tls_cert_file=folder / "server.crt",
        tls_private_key_file=folder / "server.key",
        token_auth_file=folder / "tokens.csv",
        basic_auth_file=folder / "passwords.csv",
        requestheader_allowed_names=["proxy"],
        requestheader_username_headers=["X-Remote-User"],
        requestheader_uid_headers=["X-Remote-Uid"],
        requestheader_group_headers=["X-Remote-Group"],
        requestheader_extra_headers_prefix=["X-Remote-Extra-"],
        anonymous_auth=False,
    ) as server:
        server.certificates = folder
        assert await who(server, "jane") == (201, "jane 7 devs,ops,system:authenticated")
        assert await who(server, "joe") == (201, "joe system:masters,system:authenticated")
        assert await who(server, "proxy", **PROXIED) == (201, "jane devs,system:authenticated")
        basil = base64.b64encode(b"basil:word").decode()
        assert await who(server, Authorization=f"Basic {basil}") == (201, "basil 3 system:authenticated")
        for certificate in ("", "proxy", "intruder"):
            assert await who(server, certificate) == (401, "Unauthorized")
        assert await who(server, "intruder", **PROXIED) == (401, "Unauthorized")
        assert await who(server, "jane", X_Remote_User="root") == (201, "jane 7 devs,ops,system:authenticated")
        assert await who(server, "", **PROXIED) == (401, "Unauthorized")
        for certificate in ("stranger", "expired", "early"):
            with pytest.raises((trio.BrokenResourceError, EOFError)):
                await who(server, certificate)
        async with server.connect() as admin:
            published = (await admin.request("GET", TRUST)).json["data"]
            assert published["client-ca-file"] == (folder / "clients.crt").read_text()
            assert published["requestheader-client-ca-file"] == (folder / "proxies.crt").read_text()
            assert published["requestheader-allowed-names"] == '["proxy"]'
            assert published["requestheader-uid-headers"] == '["X-Remote-Uid"]'


@asynccontextmanager
async def tls_pair(serving: ServingTls, folder: Path, name: str) -> AsyncIterator[SecureStream]:
    """The server's side of a connection from a client with the certificate of this name."""
    left, right = (trio.SocketStream(end) for end in trio.socket.socketpair())
    context = ssl.create_default_context(cafile=str(folder / "first.crt"))
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    server = SecureStream(left, serving.context())
    client = trio.SSLStream(right, context, server_hostname="127.0.0.1")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await server.do_handshake()
        yield server
    finally:
        await trio.aclose_forcefully(server)
        await trio.aclose_forcefully(right)


async def test_files_that_change_are_read_again(folder: Path, tmp_path: Path) -> None:
    """An authority that is taken out counts no more, on connections that are open already neither."""
    now = 0.0
    clients, server_cert = tmp_path / "clients.crt", tmp_path / "server.crt"
    clients.write_bytes((folder / "clients.crt").read_bytes())
    server_cert.write_bytes((folder / "server.crt").read_bytes())
    serving = ServingTls(server_cert, folder / "server.key", clients, None, clock=lambda: now)
    async with tls_pair(serving, folder, "joe") as stream:
        found = serving.identity(stream)
        assert found is not None
        assert (found.name, found.groups) == ("joe", ("system:masters",))
        assert found.expires > 4e9
        assert not found.authorities.isdisjoint(serving.clients())
        clients.write_bytes((folder / "first.crt").read_bytes())
        assert not found.authorities.isdisjoint(serving.clients()), "looked at once a second"
        now = 1.0
        assert found.authorities.isdisjoint(serving.clients())
    before = serving.context()
    with pytest.raises(ExceptionGroup) as caught:
        async with tls_pair(serving, folder, "joe"):
            pass
    assert caught.group_contains(trio.BrokenResourceError)
    clients.write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf wri")
    server_cert.write_bytes(b"")
    assert serving.context() is before, "what cannot be used changes nothing"
    clients.write_bytes((folder / "clients.crt").read_bytes())
    server_cert.write_bytes((folder / "server.crt").read_bytes())
    assert serving.context() is not before
    async with tls_pair(serving, folder, "joe") as stream:
        assert serving.identity(stream) is not None


@pytest.mark.parametrize("broken", ["cert_file", "key_file", "client_ca_file", "proxy_ca_file"])
def test_files_that_cannot_be_used_name_their_flag(folder: Path, tmp_path: Path, broken: str) -> None:
    names = {"cert_file": "server.crt", "key_file": "server.key", "client_ca_file": "first.crt"}
    files = {key: folder / name for key, name in {**names, "proxy_ca_file": "proxies.crt"}.items()}
    flag = {"cert_file": "tls-cert", "key_file": "tls-private-key", "client_ca_file": "client-ca"}.get(broken)
    with pytest.raises(CertificateError, match=flag or "requestheader-client-ca"):
        ServingTls(**{**files, broken: tmp_path / "none"})
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(CertificateError, match=flag or "requestheader-client-ca"):
        ServingTls(**{**files, broken: tmp_path / "empty"})


def test_what_is_published_adds_up(folder: Path) -> None:
    """Several servers each add their own; what has expired goes."""
    first, second, expired = ((folder / f"{name}.crt").read_text() for name in ("first", "second", "expired"))
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    assert combined({}, {}, now) == {}
    known = {"client-ca-file": first + expired, "requestheader-allowed-names": '["a"]', "strange": "x"}
    assert combined(known, {"client-ca-file": second + first}, now) == {"client-ca-file": first + second}
    own = {"requestheader-client-ca-file": first, "requestheader-allowed-names": '["b","a"]'}
    assert combined(known, own, now) == {
        "client-ca-file": first,
        "requestheader-allowed-names": '["a","b"]',
        "requestheader-client-ca-file": first,
    }
    with pytest.raises(ValueError, match="unexpected"):
        combined({"requestheader-allowed-names": "{"}, {}, now)
