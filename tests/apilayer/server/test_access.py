"""Who gets in: certificates, tokens, nobody."""

from __future__ import annotations

import pytest

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize(
    ("token", "certificate", "code"),
    [
        ("secret", "", 200),
        ("plain", "", 403),
        ("wrong", "", 401),
        ("", "", 403),
        ("", "admin", 200),
        ("", "bob", 403),
        ("wrong", "admin", 200),
    ],
)
async def test_credentials(server, token: str, certificate: str, code: int) -> None:
    async with server.connect(token, certificate) as client:
        answer = await client.request("GET", CONFIGMAPS)
        assert answer.status == code
        if code == 403:
            name = "bob" if token or certificate else "system:anonymous"
            assert answer.message == (
                f'configmaps is forbidden: User "{name}" cannot list resource "configmaps" '
                'in API group "" in the namespace "default"'
            )
        if code == 401:
            assert answer.message == "Unauthorized"


async def test_what_everybody_may_read(server) -> None:
    async with server.connect(token="") as client:
        assert (await client.request("GET", "/version")).json["gitVersion"].startswith("v1.36.")
        for path in ("/healthz", "/livez", "/readyz", "/livez/ping"):
            answer = await client.request("GET", path)
            assert (answer.status, answer.body) == (200, b"ok")
        for path in ("/", "/api", "/apis", "/openapi/v2", CONFIGMAPS):
            assert (await client.request("GET", path)).status == 403


async def test_health_in_detail(client) -> None:
    answer = await client.request("GET", "/readyz?verbose")
    lines = answer.body.decode().splitlines()
    assert lines[0] == "[+]ping ok"
    assert "[+]etcd ok" in lines
    assert lines[-1] == "readyz check passed"
    answer = await client.request("GET", "/readyz?verbose&exclude=etcd&exclude=nope")
    assert b"[+]etcd excluded: ok" in answer.body
    assert b'warn: some health checks cannot be excluded: no matches for "nope"' in answer.body
    assert (await client.request("GET", "/readyz/nope")).status == 404
    assert (await client.request("GET", "/readyz/etcd")).body == b"ok"


async def test_too_many_requests(start_server) -> None:
    async with (
        start_server(max_mutating_requests_inflight=1) as server,
        server.connect() as slow,
        server.connect() as quick,
    ):
        await slow.stream.send_all(
            slow.encode("POST", CONFIGMAPS, b"", {"Content-Length": "10", "Expect": "100-continue"})
        )
        await slow.stream.receive_some(100)
        answer = await quick.request("POST", CONFIGMAPS, {"metadata": {"name": "x"}})
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert (await quick.request("GET", CONFIGMAPS)).status == 200
        await slow.stream.send_all(b"0123456789")
        assert (await slow.answer()).status == 400
        assert (await quick.request("POST", CONFIGMAPS, {"metadata": {"name": "x"}})).status == 201


async def test_acting_as_somebody_else(client) -> None:
    answer = await client.request("GET", f"{CONFIGMAPS}?watch=1", Impersonate_User="jane")
    assert answer.status == 403
    assert answer.message.startswith('configmaps is forbidden: User "jane" cannot watch resource "configmaps"')
    answer = await client.request("GET", CONFIGMAPS, Impersonate_User="jane", Impersonate_Group="system:masters")
    assert answer.status == 200
