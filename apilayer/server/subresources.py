"""Subresources that speak another kind than their object: scale, binding and eviction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import meta, status
from apilayer.api.decode import decode_body
from apilayer.api.managed import is_apply, read_configuration
from apilayer.api.patch import apply_patch
from apilayer.api.scale import SCALE, rescaled, scale_of
from apilayer.registry.binding import BINDING, bound, check_binding
from apilayer.registry.eviction import EVICTION, evict
from apilayer.registry.options import DeleteOptions, WriteOptions
from apilayer.server.form_choice import form_of
from apilayer.server.forms import codec_of
from apilayer.server.naming import check_name, check_namespace, require_metadata

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from apilayer.api.decode import Decoded
    from apilayer.api.patch.apply import Patched
    from apilayer.api.resources import Resource
    from apilayer.pipeline.pipeline import Context
    from apilayer.pipeline.request import Response
    from apilayer.registry.registry import Registry
    from apilayer.server.forms import Form
    from apilayer.server.resources import Call
    from apilayer.storage.codec import Entry

    Handler = Callable[[Registry, Call, Form], Awaitable[Response]]

Object = dict[str, Any]


async def _scale(registry: Registry, call: Call, form: Form) -> Response:
    """The Scale of a workload. Raises StatusError."""
    verb, store = call.context.info.verb, call.api.store
    form = form_of(call.context, SCALE)
    form.require_fit(to_list=False)
    if verb == "get":
        return form.object(_scale_entry(await store.get(call.namespace, call.name)))
    body = await call.context.request.read_body()
    content_type = call.content_type
    if is_apply(content_type):
        return await _apply_scale(registry, call, form, body)
    kind = "PatchOptions" if verb == "patch" else "UpdateOptions"
    options = call.write_options(kind)
    warnings: list[str] = []

    def changed(old: Object) -> Object:
        strict = options.field_validation
        made: Patched | Decoded
        if verb == "patch":
            made = apply_patch(content_type, scale_of(old), body, SCALE, field_validation=strict)
        else:
            made = decode_body(body, content_type, SCALE, field_validation=strict)
        warnings[:] = made.warnings
        scale = require_metadata(made.object)
        check_name(scale, call.name)
        check_namespace(scale, call.namespace)
        return rescaled(old, scale, (call.row.group, call.row.plural))

    entry = await store.patch(call.namespace, call.name, changed, options, call.subresource)
    return form.object(_scale_entry(entry), 200, warnings)


async def _apply_scale(registry: Registry, call: Call, form: Form, body: bytes) -> Response:
    """An applied Scale is one field applied to its workload."""
    options = call.write_options("PatchOptions", applies=True)
    config = read_configuration(body)
    applied: Object = {"apiVersion": call.row.api_version, "kind": call.row.kind}
    applied["metadata"] = config.object.get("metadata") or {}
    spec = config.object.get("spec")
    if isinstance(spec, dict) and spec.get("replicas") is not None:
        applied["spec"] = {"replicas": spec["replicas"]}
    entry, _ = await registry.apply(
        call.api, call.namespace, call.name, applied, lambda _: None, options, call.subresource
    )
    return form.object(_scale_entry(entry), 200, config.warnings(options.field_validation))


def _scale_entry(entry: Entry) -> Entry:
    """The scale of a stored workload, as if it were stored itself."""
    codec = codec_of(SCALE)
    return codec.entry(entry.key, codec.encode(scale_of(entry.object())), entry.revision)


async def _binding(registry: Registry, call: Call, form: Form) -> Response:
    return await bind(registry, call.context, call.namespace, call.name, form)


async def bind(registry: Registry, context: Context, namespace: str, name: str, form: Form) -> Response:
    """Assigns a pod to a node; `name` "" is that of the binding. Raises StatusError."""
    options, binding = await _posted(context, BINDING)
    name = name or binding["metadata"].get("name") or ""
    check_name(binding, name)
    check_namespace(binding, namespace)
    check_binding(binding)
    store = registry.of("pods").store
    await store.patch(namespace, name, lambda pod: bound(pod, binding, meta.utc_now()), options, "binding")
    return form.document(status.done(201), 201)


async def _eviction(registry: Registry, call: Call, form: Form) -> Response:
    """Deletes a pod unless its disruption budget forbids it. Raises StatusError."""
    options, eviction = await _posted(call.context, EVICTION)
    if eviction["metadata"].get("name", "") != call.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    given = dict(eviction.get("deleteOptions") or {})
    if options.dry_run:
        given["dryRun"] = ["All"]
    await evict(registry, call.namespace, call.name, DeleteOptions.parse({}, given))
    return form.document(status.done(201), 201)


async def _posted(context: Context, row: Resource) -> tuple[WriteOptions, Object]:
    body = await context.request.read_body()
    options = WriteOptions.parse(context.query, "CreateOptions")
    content_type = context.request.headers.get("content-type")
    decoded = decode_body(body, content_type, row, field_validation=options.field_validation)
    return options, require_metadata(decoded.object)


SUBRESOURCES: dict[str, Handler] = {"scale": _scale, "binding": _binding, "eviction": _eviction}
