"""The verbs of the resource API: requests to registry calls, what comes back to responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from apilayer.api import status
from apilayer.api.decode import decode_body, decode_options
from apilayer.api.managed import is_apply, read_configuration
from apilayer.api.patch import apply_patch, patch_type_of
from apilayer.api.table import check_include_object
from apilayer.api.validation.warnings import create_warnings
from apilayer.pipeline.encoding import pretty_wanted
from apilayer.pipeline.negotiation import NotAcceptable, negotiate
from apilayer.pipeline.request import Response
from apilayer.registry.options import DeleteOptions, ListOptions, WriteOptions
from apilayer.server.forms import Form
from apilayer.server.watch_stream import WatchStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apilayer.api.patch.apply import Patched
    from apilayer.pipeline.pipeline import Context
    from apilayer.registry.listing import Listing
    from apilayer.registry.registry import Registry, ResourceApi

Object = dict[str, Any]

WATCH_TYPES = ("application/json;stream=watch",)


@attrs.frozen
class Call:
    """A resource request: what the router found out about it."""

    context: Context
    api: ResourceApi
    namespace: str
    name: str
    subresource: str

    @property
    def content_type(self) -> str | None:
        """The Content-Type of the request's body."""
        return self.context.request.headers.get("content-type")

    def write_options(self, kind: str, *, applies: bool = False) -> WriteOptions:
        """The options of a write, of `kind` (e.g. CreateOptions). Raises StatusError 422."""
        user_agent = self.context.request.headers.get("user-agent", "")
        return WriteOptions.parse(self.context.query, kind, user_agent=user_agent, applies=applies)


class ResourceHandlers:
    """One method per verb."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._handlers: dict[str, Callable[[Call, Form], Awaitable[Response]]] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def handle(self, call: Call) -> Response:
        """The answer. Raises StatusError."""
        verb = call.context.info.verb
        form = _form(call)
        form.require_fit(to_list=verb in ("list", "deletecollection"))
        return await self._handlers[verb](call, form)

    # ------------------------------------------------------------------ reads

    async def _get(self, call: Call, form: Form) -> Response:
        versions = call.context.query.get("resourceVersion") if call.context.query else None
        entry = await call.api.store.get(call.namespace, call.name, versions[0] if versions else "")
        return form.object(entry)

    async def _list(self, call: Call, form: Form) -> Response:
        options = ListOptions.parse(call.context.query)
        return await _listing(form, await call.api.lists.list(call.namespace, options))

    async def _watch(self, call: Call, form: Form) -> Response:
        options = attrs.evolve(ListOptions.parse(call.context.query), watch=True)
        if form.accepted.media != "application/json":
            raise status.not_acceptable(WATCH_TYPES)
        watch = await call.api.watches.open(call.namespace, call.name, options)
        return Response(200, b"", b"application/json", stream=WatchStream(watch, form))

    # ------------------------------------------------------------------ writes

    async def _create(self, call: Call, form: Form) -> Response:
        body = await call.context.request.read_body()
        options = call.write_options("CreateOptions")
        obj, warnings = _decode(call, body, options)
        _check_namespace(call, obj)
        entry = await self._registry.create(call.api, call.namespace, obj, options)
        return form.object(entry, 201, warnings + _advice(call, obj))

    async def _update(self, call: Call, form: Form) -> Response:
        body = await call.context.request.read_body()
        options = call.write_options("UpdateOptions")
        obj, warnings = _decode(call, body, options)
        _check_name(call, obj)
        _check_namespace(call, obj)
        entry, created = await self._registry.update(
            call.api, call.namespace, call.name, obj, options, call.subresource
        )
        return form.object(entry, 201 if created else 200, warnings + _advice(call, obj))

    async def _patch(self, call: Call, form: Form) -> Response:
        content_type = call.content_type
        if is_apply(content_type):
            return await self._apply(call, form)
        patch_type_of(content_type)
        body = await call.context.request.read_body()
        options = call.write_options("PatchOptions")
        latest: list[Patched] = []

        def apply(old: Object) -> Object:
            patched = apply_patch(
                content_type,
                old,
                body,
                call.api.resource,
                field_validation=options.field_validation,
            )
            latest[:] = [patched]
            _check_result(call, patched.object)
            return patched.object

        entry = await call.api.store.patch(call.namespace, call.name, apply, options, call.subresource)
        warnings = [text for patched in latest for text in patched.warnings + _advice(call, patched.object)]
        return form.object(entry, 200, warnings)

    async def _apply(self, call: Call, form: Form) -> Response:
        body = await call.context.request.read_body()
        options = call.write_options("PatchOptions", applies=True)
        config = read_configuration(body)
        warnings: list[str] = []

        def check(result: Object) -> None:
            warnings[:] = config.warnings(options.field_validation)
            _check_result(call, result)
            warnings.extend(_advice(call, result))

        entry, created = await self._registry.apply(
            call.api, call.namespace, call.name, config.object, check, options, call.subresource
        )
        return form.object(entry, 201 if created else 200, warnings)

    async def _delete(self, call: Call, form: Form) -> Response:
        options = await _delete_options(call)
        deleted = await call.api.store.delete(call.namespace, call.name, options)
        if not deleted.gone:
            waits = options.orphan_dependents is False
            return form.object(deleted.entry, 202 if waits else 200)
        if call.api.store.strategy.returns_deleted_object:
            return form.object(deleted.entry)
        return form.success(deleted.entry)

    async def _delete_collection(self, call: Call, form: Form) -> Response:
        how = await _delete_options(call)
        options = ListOptions.parse(call.context.query)
        listing = await self._registry.delete_collection(call.api, call.namespace, options, how)
        return await _listing(form, listing)


def _form(call: Call) -> Form:
    """How the answer is to look. Raises StatusError 400 or 406."""
    context = call.context
    request = context.request
    try:
        accepted = negotiate(request.headers.get("accept", ""))
    except NotAcceptable as error:
        raise error.status_error() from error
    include = ""
    if accepted.form == "Table":
        include = check_include_object(context.query.get("includeObject", [""])[0])
    return Form(call.api.resource, accepted, pretty=pretty_wanted(request, context.query), include=include)


def _advice(call: Call, obj: Object) -> list[str]:
    """What is allowed but unwise in an object whose defaults have been applied; a status is not advised on."""
    return [] if call.subresource else create_warnings(call.api.resource, obj)


def _decode(call: Call, body: bytes, options: WriteOptions) -> tuple[Object, list[str]]:
    decoded = decode_body(body, call.content_type, call.api.resource, field_validation=options.field_validation)
    _require_metadata(decoded.object)
    return decoded.object, decoded.warnings


def _require_metadata(obj: Object) -> None:
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}


def _check_result(call: Call, obj: Object) -> None:
    """What a patch makes must be the object that the URL names."""
    _require_metadata(obj)
    _check_name(call, obj)
    _check_namespace(call, obj)


async def _listing(form: Form, listing: Listing) -> Response:
    if form.is_slow(len(listing.entries)):
        return await trio.to_thread.run_sync(form.listing, listing)
    return form.listing(listing)


async def _delete_options(call: Call) -> DeleteOptions:
    body = await call.context.request.read_body()
    return DeleteOptions.parse(call.context.query, decode_options(body, call.content_type) if body else None)


def _check_name(call: Call, obj: Object) -> None:
    name = obj["metadata"].get("name") or ""
    if not name:
        raise status.bad_request(
            f"the name of the object ({call.name} based on URL) was undeterminable: name must be provided"
        )
    if name != call.name:
        raise status.bad_request(f"the name of the object ({name}) does not match the name on the URL ({call.name})")


def _check_namespace(call: Call, obj: Object) -> None:
    namespace = obj["metadata"].get("namespace") or ""
    if namespace and namespace != call.namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
