"""Which handler answers a request: the resources by their rows, and the paths that are no resources."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import trio

from apilayer.api import discovery, status
from apilayer.api.resources import find
from apilayer.pipeline.deadline import asked_timeout
from apilayer.pipeline.encoding import encode
from apilayer.pipeline.negotiation import Accepted
from apilayer.pipeline.request import Response
from apilayer.server import flow_dump
from apilayer.server.documents import Documents
from apilayer.server.health import not_found
from apilayer.server.health_metrics import HealthMetrics
from apilayer.server.issuer import DISCOVERY_PATH, KEYS_PATH, IssuerDocuments
from apilayer.server.pod_logs import pod_logs
from apilayer.server.resources import Call, ResourceHandlers
from apilayer.server.reviews import Reviews
from apilayer.server.version import VERSION
from apilayer.server.virtual import VirtualHandlers

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from apilayer.api.resources import Resource
    from apilayer.pipeline.pipeline import Context
    from apilayer.pipeline.request_info import RequestInfo
    from apilayer.registry.registry import Registry
    from apilayer.server.health import Health
    from apilayer.server.metrics import Metrics
    from apilayer.server.reviews import Access
    from apilayer.server.token_requests import TokenIssuer


class Router:
    """Routes of one server. `server_address` is the host:port that /api tells clients."""

    def __init__(
        self,
        registry: Registry,
        health: Health,
        metrics: Metrics,
        server_address: str,
        access: Access,
        issuer: TokenIssuer | None = None,
    ) -> None:
        self._registry = registry
        self._health = health
        self._metrics = metrics
        self._resources = ResourceHandlers(registry, metrics.requests, issuer)
        self._virtual = VirtualHandlers(registry, health, Reviews(access))
        self._documents = Documents(server_address)
        self._api_of = cache(lambda row: registry.of(row.storage.group_resource))
        self._issuer = None
        if issuer is not None:
            keys_uri = issuer.keys_uri or f"https://{server_address}{KEYS_PATH}"
            self._issuer = IssuerDocuments(issuer.tokens, keys_uri)

    def route(self, context: Context) -> Awaitable[Response]:
        """The answer. Raises StatusError."""
        if "timeout" in context.query:
            asked_timeout(context.query["timeout"])
        return self._resource(context) if context.info.is_resource else self._other(context)

    async def _resource(self, context: Context) -> Response:
        info = context.info
        row = find(info.group, info.version, info.resource)
        if row is None or info.malformed:
            if info.group and discovery.api_group(info.group) is None:
                return not_found()
            raise status.unknown_path_not_found()
        if row.namespaced != bool(info.namespace) and not _clusterwide(info, namespaced=row.namespaced):
            raise status.unknown_path_not_found()
        if row.deprecation:
            context.record.annotate("k8s.io/deprecated", "true")
        verbs = row.verbs
        if info.subresource:
            sub = row.subresource(info.subresource)
            if info.subresource == "log" and info.verb == "get" and row.plural == "pods":
                return await pod_logs(self._registry, info.namespace, info.name, context.query)
            if info.subresource in row.not_offered:
                await self._registry.of(row.group_resource).store.get(info.namespace, info.name)
                raise status.not_implemented(f"{row.plural}/{info.subresource}")
            if sub is None:
                raise status.unknown_path_not_found()
            verbs = sub.verbs
        verb = info.verb
        if not verb or verb not in verbs or (verb == "create" and not _may_post(info, row)):
            raise status.method_not_allowed()
        namespace = info.namespace if row.namespaced else ""
        if row.virtual:
            return await self._virtual.handle(context, row, namespace, info.name)
        api = self._api_of(row)
        admission = self._registry.admission.begin(context.user)
        if context.record.tells:
            context.record.share(admission.annotations)
        return await self._resources.handle(Call(context, row, api, namespace, info.name, info.subresource, admission))

    async def _other(self, context: Context) -> Response:
        path = context.info.path
        health = await self._health.respond(path, context.query)
        if health is not None:
            return health
        if context.request.method not in ("GET", "HEAD"):
            if path.startswith(("/api", "/apis", "/version", "/openapi")):
                raise status.method_not_allowed()
            return not_found()
        if path.rstrip("/") == "/version":
            return Response(200, encode(VERSION, Accepted(), pretty=True))
        if path in ("/metrics", "/metrics/slis"):
            await trio.to_thread.run_sync(self._metrics.prepare)
            source = self._metrics if path == "/metrics" else HealthMetrics(self._health.results)
            body, content_type = source.text()
            return Response(200, body, content_type)
        if path == "/":
            return Response(200, encode({"paths": self._paths()}, Accepted(), pretty=True))
        document = flow_dump.respond(path, self._metrics.flow_control)
        if document is None and self._issuer is not None:
            document = self._issuer.respond(path)
        if document is None:
            document = await self._documents.respond(context)
        if document is None:
            return not_found()
        return document

    def _paths(self) -> list[str]:
        found = [] if self._issuer is None else [DISCOVERY_PATH, KEYS_PATH]
        found += ["/api", "/api/v1", "/apis", "/metrics", "/metrics/slis"]
        found += ["/openapi/v2", "/openapi/v3", "/version", *self._health.paths]
        for group in discovery.group_names():
            if not group:
                continue
            document = discovery.api_group(group)
            assert document is not None
            found.append(f"/apis/{group}")
            found.extend(f"/apis/{version['groupVersion']}" for version in document["versions"])
        return sorted(found)


def _may_post(info: RequestInfo, row: Resource) -> bool:
    """Objects are posted to a collection of one namespace, subresources to their object."""
    if info.subresource:
        return True
    return not info.name and bool(info.namespace or not row.namespaced)


def _clusterwide(info: RequestInfo, *, namespaced: bool) -> bool:
    """Whether the mismatch is fine: a collection over all namespaces, or a namespace named by itself."""
    if namespaced:
        return not info.name and not info.subresource
    return info.resource == "namespaces" and info.namespace == info.name
