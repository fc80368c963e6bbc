"""The verbs of the resource API: requests to registry calls, what comes back to responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from apilayer.api import field, meta, status
from apilayer.api.conversion import from_storage, to_storage
from apilayer.api.decode import decode_body, decode_options
from apilayer.api.decode.emptied import names_empty_list
from apilayer.api.gotext import quote
from apilayer.api.managed import is_apply, read_configuration
from apilayer.api.patch import apply_patch, patch_type_of
from apilayer.later import Later
from apilayer.pipeline.metrics import labels_of
from apilayer.pipeline.negotiation import JSON, PROTOBUF
from apilayer.pipeline.request import Response
from apilayer.registry.options import IGNORE_READ_ERROR, DeleteOptions, ListOptions, WriteOptions
from apilayer.registry.unreadable import VERB as UNSAFE_DELETE
from apilayer.server.form_choice import form_of
from apilayer.server.forms import Form, warning_headers
from apilayer.server.listings import list_answer
from apilayer.server.naming import check_name, check_namespace, require_metadata
from apilayer.server.subresources import SUBRESOURCES
from apilayer.server.watch_stream import WatchStream

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from apilayer.admission.chain import Admission
    from apilayer.api.patch.apply import Patched
    from apilayer.api.resources import Resource
    from apilayer.api.validation import warnings as advice
    from apilayer.pipeline.metrics import RequestMetrics
    from apilayer.pipeline.pipeline import Context
    from apilayer.registry.registry import Registry, ResourceApi
    from apilayer.server.token_requests import TokenIssuer
else:
    advice = Later("apilayer.api.validation.warnings", soon=True)

Object = dict[str, Any]

STREAMED = (JSON, PROTOBUF)
"""The media types that watches come in."""


class Call(msgspec.Struct, frozen=True):
    """A resource request: what the router found out about it."""

    context: Context
    row: Resource
    api: ResourceApi
    namespace: str
    name: str
    subresource: str
    admission: Admission

    @property
    def content_type(self) -> str | None:
        """The Content-Type of the request's body."""
        return self.context.request.headers.get("content-type")

    def write_options(self, kind: str, body: bytes = b"", *, applies: bool = False) -> WriteOptions:
        """The options of a write, of `kind` (e.g. CreateOptions), with `body`. Raises StatusError 422."""
        user_agent = self.context.request.headers.get("user-agent", "")
        return WriteOptions.parse(
            self.context.query,
            kind,
            user_agent=user_agent,
            applies=applies,
            row=self.row if self.row.stored_as is not None else None,
            admission=self.admission,
            emptied=names_empty_list(body),
        )


class ResourceHandlers:
    """One method per verb. Bodies and answers are in the form of the row, the registry keeps the stored one."""

    def __init__(self, registry: Registry, metrics: RequestMetrics, issuer: TokenIssuer | None) -> None:
        self._registry = registry
        self._metrics = metrics
        self._special = {**SUBRESOURCES, "token": _no_issuer if issuer is None else issuer.handle}
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
        """The answer, with what the resource and admission warn of. Raises StatusError."""
        try:
            verb, form = call.context.info.verb, form_of(call.context, call.row)
            special = self._special.get(call.subresource)
            if special is not None:
                response = await special(self._registry, call, form)
            else:
                form.require_fit(to_list=verb in ("list", "deletecollection"))
                response = await self._handlers[verb](call, form)
        except status.StatusError as error:
            if not call.row.deprecation and not call.admission.warnings:
                raise
            raise warned_error(error, call.row, call.admission.warnings) from error
        if call.row.deprecation or call.admission.warnings:
            return warned(response, call.row, call.admission.warnings)
        return response

    # ------------------------------------------------------------------ reads

    async def _get(self, call: Call, form: Form) -> Response:
        context = call.context
        versions = context.query.get("resourceVersion") if context.query else None
        parked = context.request.may_park and not context.record.tells  # who tells may have to wait for it
        entry = await call.api.store.get(call.namespace, call.name, versions[0] if versions else "", parked=parked)
        return form.object(entry)

    async def _list(self, call: Call, form: Form) -> Response:
        options = ListOptions.parse(call.context.query)
        return await list_answer(form, await call.api.lists.list(call.namespace, options, call.row))

    async def _watch(self, call: Call, form: Form) -> Response:
        options = attrs.evolve(ListOptions.parse(call.context.query), watch=True)
        if form.accepted.media not in STREAMED:
            raise status.not_acceptable([f"{media};stream=watch" for media in STREAMED])
        watch = await call.api.watches.open(call.namespace, call.name, options, call.row)
        context = call.context
        labels = labels_of(context.info, context.query)
        return Response(200, b"", form.stream_type, stream=WatchStream(watch, form, self._metrics, labels))

    # ------------------------------------------------------------------ writes

    async def _create(self, call: Call, form: Form) -> Response:
        body = await call.context.request.read_body()
        options = call.write_options("CreateOptions", body)
        obj, warnings = _decode(call, body, options)
        check_namespace(obj, call.namespace)
        obj = to_storage(call.row, obj)
        call.api.store.strategy.stamp_user(obj, call.context.user)
        entry = await self._registry.create(call.api, call.namespace, obj, options)
        return form.object(entry, 201, warnings + _advice(call, obj, created=True))

    async def _update(self, call: Call, form: Form) -> Response:
        body = await call.context.request.read_body()
        options = call.write_options("UpdateOptions", body)
        obj, warnings = _decode(call, body, options)
        check_name(obj, call.name)
        check_namespace(obj, call.namespace)
        obj = to_storage(call.row, obj)
        entry, created = await self._registry.update(
            call.api, call.namespace, call.name, obj, options, call.subresource
        )
        return form.object(entry, 201 if created else 200, warnings + _advice(call, obj, created=created))

    async def _patch(self, call: Call, form: Form) -> Response:
        content_type = call.content_type
        if is_apply(content_type):
            return await self._apply(call, form)
        patch_type_of(content_type)
        body = await call.context.request.read_body()
        options = call.write_options("PatchOptions", body)
        latest: list[Patched] = []

        def apply(old: Object) -> Object:
            patched = apply_patch(
                content_type,
                from_storage(call.row, old),
                body,
                call.row,
                field_validation=options.field_validation,
                emptied=options.emptied,
            )
            latest[:] = [patched]
            patched.warnings.extend(_check_result(call, patched.object))
            return to_storage(call.row, patched.object)

        entry = await call.api.store.patch(call.namespace, call.name, apply, options, call.subresource, pure=True)
        warnings = [
            text for patched in latest for text in patched.warnings + _advice(call, patched.object, created=False)
        ]
        return form.object(entry, 200, warnings)

    async def _apply(self, call: Call, form: Form) -> Response:
        body = await call.context.request.read_body()
        options = call.write_options("PatchOptions", applies=True)
        config = read_configuration(body)
        warnings: list[str] = []
        latest: list[Object] = []

        def check(result: Object) -> None:
            latest[:] = [result]
            warnings[:] = config.warnings(options.field_validation)
            warnings.extend(_check_result(call, result))

        entry, created = await call.api.store.apply(
            call.namespace, call.name, config.object, check, options, call.subresource
        )
        warnings += [text for result in latest for text in _advice(call, result, created=created)]
        return form.object(entry, 201 if created else 200, warnings)

    async def _delete(self, call: Call, form: Form) -> Response:
        options = await _delete_options(call)
        if options.ignore_read_error:
            await self._check_may_ignore(call)
        deleted = await call.api.store.delete(call.namespace, call.name, options)
        warnings = call.api.store.strategy.delete_warnings(options)
        if deleted.entry is None:
            return form.success_unread(call.name, warnings)
        if not deleted.gone:
            waits = options.orphan_dependents is False
            return form.object(deleted.entry, 202 if waits else 200, warnings)
        if call.row.returns_deleted_object:
            return form.object(deleted.entry, 200, warnings)
        return form.success(deleted.entry, warnings)

    async def _check_may_ignore(self, call: Call) -> None:
        """Raises StatusError 403 for who may not delete what cannot be read."""
        row = call.row
        may = self._registry.may
        if not await may(call.context.user, UNSAFE_DELETE, row.group, row.plural, call.namespace, call.name):
            raise status.forbidden(
                row.plural, row.group, call.name, f"not permitted to do {quote(UNSAFE_DELETE)}, reason: "
            )

    async def _delete_collection(self, call: Call, form: Form) -> Response:
        how = await _delete_options(call)
        if how.ignore_read_error:
            detail = "is not allowed with DELETECOLLECTION, try again after removing the option"
            raise status.invalid("DeleteOptions", "meta.k8s.io", "", [field.invalid(IGNORE_READ_ERROR, True, detail)])
        options = ListOptions.parse(call.context.query)
        listing = await self._registry.delete_collection(call.api, call.namespace, options, how, call.row)
        return await list_answer(form, listing)


async def _no_issuer(registry: Registry, call: Call, form: Form) -> Response:
    raise status.not_implemented(f"{call.row.plural}/{call.subresource} without --service-account-signing-key-file")


def warned(response: Response, row: Resource, further: Sequence[str] = ()) -> Response:
    """`response` with the warning that the resource is deprecated, where it is, and with `further` ones at the end."""
    response.headers = (*warning_headers(_deprecation(row)), *response.headers, *warning_headers(further))
    return response


def warned_error(error: status.StatusError, row: Resource, further: Sequence[str] = ()) -> status.StatusError:
    """`error` with the warnings that `warned` gives an answer."""
    texts = [*_deprecation(row), *further]
    headers = [(name.decode(), value.decode()) for name, value in warning_headers(texts)]
    return status.StatusError(error.code, error.status, (*headers, *error.headers))


def _deprecation(row: Resource) -> list[str]:
    return [row.deprecation] if row.deprecation else []


def _advice(call: Call, obj: Object, *, created: bool) -> list[str]:
    """What is allowed but unwise in an object whose defaults have been applied; a status is not advised on."""
    if call.subresource:
        return []
    advise = advice.create_warnings if created else advice.update_warnings
    return advise(call.api.resource, obj)


def _decode(call: Call, body: bytes, options: WriteOptions) -> tuple[Object, list[str]]:
    validation, emptied = options.field_validation, options.emptied
    decoded = decode_body(body, call.content_type, call.row, field_validation=validation, emptied=emptied)
    obj = require_metadata(decoded.object)
    if call.context.record.tells:
        call.context.record.names(obj["metadata"])
    return obj, decoded.warnings + meta.drop_repeated_owners(obj["metadata"])


def _check_result(call: Call, obj: Object) -> list[str]:
    """What a patch makes must be the object that the URL names; answers what to warn of."""
    require_metadata(obj)
    check_name(obj, call.name)
    check_namespace(obj, call.namespace)
    return meta.drop_repeated_owners(obj["metadata"], patched=True)


async def _delete_options(call: Call) -> DeleteOptions:
    body = await call.context.request.read_body()
    given = decode_options(body, call.content_type) if body else None
    return DeleteOptions.parse(call.context.query, given, call.admission)
