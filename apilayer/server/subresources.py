"""Subresources that speak another kind than their object: scale, binding and eviction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.admission.plugin import CREATE
from apilayer.api import meta, status
from apilayer.api.decode import decode_body
from apilayer.api.managed import FieldManager, is_apply, read_configuration
from apilayer.api.managed.scale import scale_entries, with_entries, workload_entries
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

_SCALES = FieldManager(SCALE, "scale")


async def _scale(registry: Registry, call: Call, form: Form) -> Response:
    """The Scale of a workload. Raises StatusError."""
    del registry
    verb, store = call.context.info.verb, call.api.store
    form = form_of(call.context, SCALE)
    form.require_fit(to_list=False)
    if verb == "get":
        return form.object(_scale_entry(await store.get(call.namespace, call.name)))
    change, warnings, options = await _scale_change(call)

    def changed(old: Object) -> Object:
        scale = scale_of(old)
        entries = old["metadata"].get("managedFields")
        scale["metadata"]["managedFields"] = scale_entries(entries)
        made = change(scale)
        check_name(require_metadata(made), call.name)
        check_namespace(made, call.namespace)
        new = rescaled(old, made, (call.row.group, call.row.plural))
        owned = workload_entries(entries, made["metadata"].get("managedFields"), call.row.api_version)
        return with_entries(new, owned)

    # What the scale's managedFields say is put into the object's own: the store is not to add to them.
    entry = await store.patch(call.namespace, call.name, changed, attrs.evolve(options, manager=""))
    return form.object(_scale_entry(entry), 200, warnings)


async def _scale_change(call: Call) -> tuple[Callable[[Object], Object], list[str], WriteOptions]:
    """What a request makes of a Scale, the warnings that it causes (once done), and its options."""
    body = await call.context.request.read_body()
    content_type, verb = call.content_type, call.context.info.verb
    applies = verb == "patch" and is_apply(content_type)
    options = call.write_options("PatchOptions" if verb == "patch" else "UpdateOptions", applies=applies)
    config = read_configuration(body) if applies else None
    warnings: list[str] = []

    def change(scale: Object) -> Object:
        now = meta.timestamp(meta.utc_now())
        if config is not None:
            new = _SCALES.apply(scale, config.object, options.manager, force=options.force, time=now)
            warnings[:] = config.warnings(options.field_validation)
            return new
        made: Patched | Decoded
        if verb == "patch":
            made = apply_patch(content_type, scale, body, SCALE, field_validation=options.field_validation)
        else:
            made = decode_body(body, content_type, SCALE, field_validation=options.field_validation)
        warnings[:] = made.warnings
        _SCALES.update(scale, require_metadata(made.object), options.manager, now)
        return made.object

    return change, warnings, options


def _scale_entry(entry: Entry) -> Entry:
    """The scale of a stored workload, as if it were stored itself."""
    codec = codec_of(SCALE)
    return codec.entry(entry.key, codec.encode(scale_of(entry.object())), entry.revision)


async def _binding(registry: Registry, call: Call, form: Form) -> Response:
    return await bind(registry, call.context, call.namespace, call.name, form, "binding")


async def bind(
    registry: Registry, context: Context, namespace: str, name: str, form: Form, subresource: str = ""
) -> Response:
    """Assigns a pod to a node; `name` "" is that of the binding. Raises StatusError.

    `subresource` is that of a pod through which this is asked for, "" for a binding posted by itself.
    """
    posted, binding, warnings = await _posted(context, BINDING)
    options = attrs.evolve(posted, manager="")  # the server binds, on behalf of who asks for it
    name = name or binding["metadata"].get("name") or ""
    check_name(binding, name)
    check_namespace(binding, namespace)
    store = registry.of("pods").store
    admission = registry.admission.begin(context.user)
    context.record.share(admission.annotations)
    resource = store.resource if subresource else BINDING
    review = admission.review(CREATE, resource, subresource, namespace, name, options)
    await review.whole(binding, None)
    check_binding(binding)
    await store.patch(namespace, name, lambda pod: bound(pod, binding, meta.utc_now()), options, "binding")
    return form.document(status.done(201), 201, warnings)


async def _eviction(registry: Registry, call: Call, form: Form) -> Response:
    """Deletes a pod unless its disruption budget forbids it. Raises StatusError."""
    options, eviction, warnings = await _posted(call.context, EVICTION)
    if eviction["metadata"].get("name", "") != call.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    given = dict(eviction.get("deleteOptions") or {})
    if options.dry_run:
        given["dryRun"] = ["All"]
    how = DeleteOptions.parse({}, given)
    review = call.admission.review(CREATE, call.api.resource, call.subresource, call.namespace, call.name, options)
    await review.whole(eviction, None)
    await evict(registry, call.namespace, call.name, how)
    return form.document(status.done(201), 201, warnings)


async def _posted(context: Context, row: Resource) -> tuple[WriteOptions, Object, list[str]]:
    body = await context.request.read_body()
    options = WriteOptions.parse(context.query, "CreateOptions")
    content_type = context.request.headers.get("content-type")
    decoded = decode_body(body, content_type, row, field_validation=options.field_validation)
    return options, require_metadata(decoded.object), decoded.warnings


SUBRESOURCES: dict[str, Handler] = {"scale": _scale, "binding": _binding, "eviction": _eviction}
