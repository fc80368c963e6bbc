"""Requests through the whole server but its sockets, and what must hold of every answer.

"The server met an unexpected condition" is how an exception shows; kube-apiserver's own 500s, of applies and of
resource versions that do not parse, are told by their texts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import orjson
import trio

from apilayer.api.resources import RESOURCES
from tests.apilayer.in_process import Answer, Server, serving

if TYPE_CHECKING:
    from collections.abc import Iterable

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
JSON_PATCH, MERGE = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"
MAX_SECONDS = 3.0
"""Of this process's time, for one request: far more than any takes, far less than what has no bound."""
CREATED = [row for row in RESOURCES if "create" in row.verbs and not row.virtual]
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "a"},
    "spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
        },
    },
}

Sent = tuple[str, str, bytes, dict[str, str]]
"""Method, target, body and headers (names with _ for -)."""


def path_of(row: Any) -> str:
    """Where objects of the row are created."""
    root = f"/apis/{row.group}/{row.version}" if row.group else f"/api/{row.version}"
    return root + ("/namespaces/default/" if row.namespaced else "/") + row.plural


async def sane(server: Server, method: str, target: str, body: bytes = b"", **headers: str) -> Answer | None:
    """Sends a request and holds the answer to what must hold of every answer; None for a watch."""
    started = time.process_time()
    response = await server.send(method, target, body, **headers)
    assert time.process_time() - started < MAX_SECONDS
    if response.stream is not None:
        response.stream.close()
        return None
    assert b"unexpected condition" not in response.body, response.body
    if response.status >= 400 and response.content_type == b"application/json":
        told = orjson.loads(response.body)
        assert (told["kind"], told["code"]) == ("Status", response.status)
    return Answer(response.status, response.body, response.content_type)


def check(requests: Iterable[Sent]) -> None:
    """Requests to a server that has one ConfigMap and one Deployment, both named "a", at first."""

    async def run() -> None:
        async with serving() as server:
            await server.request("POST", CONFIGMAPS, {"metadata": {"name": "a"}, "data": {"a": "1"}})
            await server.request("POST", DEPLOYMENTS, DEPLOYMENT)
            for method, target, body, headers in requests:
                await sane(server, method, target, body, **headers)

    trio.run(run)
