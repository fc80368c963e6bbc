"""Resources that are kept nowhere: bindings, which change pods, component statuses, and reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api import status
from apilayer.registry.listing import Listing
from apilayer.server.form_choice import form_of
from apilayer.server.forms import codec_of
from apilayer.server.resources import warned, warned_error
from apilayer.server.subresources import bind

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from apilayer.pipeline.pipeline import Context
    from apilayer.pipeline.request import Response
    from apilayer.registry.registry import Registry
    from apilayer.server.health import Health
    from apilayer.server.reviews import Reviews
    from apilayer.storage.codec import Entry

STORE = "etcd-0"
"""What Kubernetes calls the first (here: the only) store."""


class VirtualHandlers:
    """Answers requests for rows that are `virtual`."""

    def __init__(self, registry: Registry, health: Health, reviews: Reviews) -> None:
        self._reviews = reviews
        self._registry = registry
        self._health = health

    async def handle(self, context: Context, row: Resource, namespace: str, name: str) -> Response:
        """The answer. Raises StatusError."""
        form = form_of(context, row)
        if row.kind == "Binding":
            return await bind(self._registry, context, namespace, "", form)
        if self._reviews.answers(row):
            return await self._reviews.handle(context, row, namespace, form)
        form.require_fit(to_list=not name)
        entries = [await self._store_status(row)]
        if not name:
            return warned(form.listing(Listing(entries, 0)), row)
        if name != STORE:
            raise warned_error(status.not_found(row.singular, row.group, name), row)
        return warned(form.object(entries[0]), row)

    async def _store_status(self, row: Resource) -> Entry:
        healthy = await self._health.store_answers()
        condition: dict[str, Any] = {"type": "Healthy", "status": "True" if healthy else "False"}
        condition |= {"message": "ok"} if healthy else {"error": "the store does not answer"}
        codec = codec_of(row)
        encoded = codec.encode({"metadata": {"name": STORE}, "conditions": [condition]})
        return codec.entry(orjson.dumps(STORE), encoded, 0)
