"""Discovery and OpenAPI over HTTP."""

from __future__ import annotations

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def test_discovery(client, server) -> None:
    api = (await client.request("GET", "/api")).json
    assert api["versions"] == ["v1"]
    assert api["serverAddressByClientCIDRs"][0]["serverAddress"] == f"127.0.0.1:{server.port}"
    groups = (await client.request("GET", "/apis")).json["groups"]
    assert [group["name"] for group in groups][:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    assert (await client.request("GET", "/apis/apps")).json["kind"] == "APIGroup"
    resources = (await client.request("GET", "/api/v1")).json["resources"]
    assert "pods/status" in {resource["name"] for resource in resources}
    assert (await client.request("GET", "/apis/apps/v1")).json["groupVersion"] == "apps/v1"
    paths = (await client.request("GET", "/")).json["paths"]
    assert {"/api/v1", "/apis/apps/v1", "/livez/ping"} <= set(paths)
    assert (await client.request("POST", "/api", b"")).status == 405
    assert (await client.request("GET", "/apis//v1")).status == 404


async def test_aggregated_discovery(client) -> None:
    accept = f"{AGGREGATED},{AGGREGATED.replace('v=v2', 'v=v2beta1')},application/json"
    answer = await client.request("GET", "/apis", Accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, AGGREGATED)
    assert answer.json["kind"] == "APIGroupDiscoveryList"
    etag = answer.headers["etag"]
    again = await client.request("GET", "/apis", Accept=accept, If_None_Match=etag)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    changed = await client.request("GET", "/apis", Accept=accept, If_None_Match='"other"')
    assert changed.status == 200


async def test_openapi(client) -> None:
    paths = (await client.request("GET", "/openapi/v3")).json["paths"]
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    answer = await client.request("GET", url)
    assert answer.status == 200
    assert answer.json["openapi"].startswith("3.")
    assert answer.headers["cache-control"] == "public, immutable"
    assert "expires" in answer.headers
    moved = await client.request("GET", url.partition("=")[0] + "=other")
    assert (moved.status, moved.headers["location"]) == (301, url)
    assert (await client.request("GET", "/openapi/v3/apis/nope/v1")).status == 404
    old = await client.request("GET", "/openapi/v2")
    assert old.json["swagger"] == "2.0"
    etag = old.headers["etag"]
    assert (await client.request("GET", "/openapi/v2", If_None_Match=etag)).status == 304
    asked = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    protobuf = await client.request("GET", "/openapi/v2", Accept=asked)
    assert protobuf.headers["content-type"] == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    assert protobuf.body.startswith(b"\n\x032.0\x12")
    assert (await client.request("GET", "/openapi/v2", Accept="application/xml")).status == 406
