"""Discovery and OpenAPI documents: encoded once, kept, served with ETags.

Source: KEP-3352 (aggregated discovery), KEP-2896 (OpenAPI v3).
"""

from __future__ import annotations

import hashlib
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import attrs
import orjson
import trio

from apilayer.api import discovery
from apilayer.later import Later
from apilayer.pipeline.encoding import encode, pretty_wanted
from apilayer.pipeline.negotiation import JSON, NotAcceptable, negotiate, wants_aggregated_discovery
from apilayer.pipeline.request import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.api import openapi
    from apilayer.pipeline.pipeline import Context
    from apilayer.pipeline.request import Headers
else:
    openapi = Later("apilayer.api.openapi")

AGGREGATED_TYPE = b"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
GNOSTIC_TYPE = b"application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
GNOSTIC_ACCEPTED = (GNOSTIC_TYPE.decode(), "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
YEAR_SECONDS = 365 * 24 * 3600


@attrs.frozen
class _Kept:
    body: bytes
    etag: bytes


class Documents:
    """Serves /api, /apis and what is below them as documents, and /openapi."""

    def __init__(self, server_address: str) -> None:
        self._server_address = server_address
        self._kept: dict[str, _Kept] = {}

    async def respond(self, context: Context) -> Response | None:
        """The document at the request's path, None when there is none. Raises StatusError 406."""
        segments = context.info.path.strip("/").split("/")
        if segments[0] == "openapi":
            return await self._openapi(context, segments[1:])
        if segments in (["api"], ["apis"]):
            core = segments == ["api"]
            if wants_aggregated_discovery(context.request.headers.get("accept", "")):
                kept = self._keep(f"aggregated/{core}", lambda: discovery.aggregated(core))
                return _with_etag(context, kept, AGGREGATED_TYPE)
            return self._plain(
                context, discovery.api_versions(self._server_address) if core else discovery.api_groups()
            )
        document: dict[str, Any] | None = None
        if segments[0] == "api" and len(segments) == 2:
            document = discovery.api_resource_list("", segments[1])
        elif segments[0] == "apis" and len(segments) == 2:
            document = discovery.api_group(segments[1])
        elif segments[0] == "apis" and len(segments) == 3 and segments[1]:
            document = discovery.api_resource_list(segments[1], segments[2])
        return None if document is None else self._plain(context, document)

    def _plain(self, context: Context, document: dict[str, Any]) -> Response:
        try:
            accepted = negotiate(context.request.headers.get("accept", ""))
        except NotAcceptable as error:
            if not error.known:
                raise error.status_error() from error
            accepted = negotiate(JSON)
        pretty = accepted.pretty or pretty_wanted(context.request, context.query)
        body = encode(document, accepted, pretty=pretty)
        return Response(200, body, accepted.content_type, ((b"Vary", b"Accept"),))

    def _keep(self, name: str, make: Callable[[], Any]) -> _Kept:
        kept = self._kept.get(name)
        if kept is None:
            body = orjson.dumps(make())
            etag = b'"%s"' % hashlib.sha512(body).hexdigest().upper().encode()
            kept = self._kept[name] = _Kept(body, etag)
        return kept

    # ------------------------------------------------------------------ OpenAPI

    async def _openapi(self, context: Context, rest: list[str]) -> Response | None:
        """Building a document takes a while the first time: a worker thread does it."""
        if rest == ["v2"]:
            make, content_type = _v2_form(context)
            encoded = await trio.to_thread.run_sync(make)
            return _with_etag(context, _Kept(encoded.body, _quoted(encoded.hash)), content_type)
        if rest == ["v3"]:
            index = await trio.to_thread.run_sync(openapi.openapi_v3_index)
            return Response(200, orjson.dumps(index), b"application/json")
        if len(rest) < 2 or rest[0] != "v3":
            return None
        path = "/".join(rest[1:])
        if path not in openapi.openapi_v3_paths():
            return None
        document = await trio.to_thread.run_sync(openapi.openapi_v3_encoded, path)
        assert document is not None
        asked = context.query.get("hash", [""])[0]
        if asked and asked != document.hash:
            target = f"/openapi/v3/{path}?hash={document.hash}".encode()
            return Response(301, b"", b"", ((b"Location", target),))
        extra: Headers = ()
        if asked:
            extra = (
                (b"Cache-Control", b"public, immutable"),
                (b"Expires", formatdate(time.time() + YEAR_SECONDS, usegmt=True).encode()),
            )
        return _with_etag(context, _Kept(document.body, _quoted(document.hash)), b"application/json", extra)


def _v2_form(context: Context) -> tuple[Callable[[], openapi.Encoded], bytes]:
    """How to make the version 2 document in the first form that the client takes. Raises StatusError 406."""
    for clause in context.request.headers.get("accept", "").split(","):
        media = clause.partition(";")[0].strip()
        if media in GNOSTIC_ACCEPTED:
            return openapi.openapi_v2_protobuf, GNOSTIC_TYPE
        if media in (JSON, "*/*"):
            break
    try:
        negotiate(context.request.headers.get("accept", ""))
    except NotAcceptable as error:
        raise error.status_error((JSON,)) from error
    return openapi.openapi_v2_encoded, b"application/json"


def _quoted(value: str) -> bytes:
    return b'"%s"' % value.encode()


def _with_etag(context: Context, kept: _Kept, content_type: bytes, extra: Headers = ()) -> Response:
    """The document, or 304 for a client that has it."""
    headers: Headers = ((b"ETag", kept.etag), (b"Vary", b"Accept"), *extra)
    given = context.request.headers.get("if-none-match", "").encode("latin-1")
    if given and (given == b"*" or kept.etag in [part.strip() for part in given.split(b",")]):
        return Response(304, b"", b"", headers)
    return Response(200, kept.body, content_type, headers)
