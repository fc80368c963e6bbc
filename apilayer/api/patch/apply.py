"""A PATCH request's body applied to an object: reading it, choosing the algorithm, wording the failures.

The answers are those of a real server: 400 for a body that cannot be read, 413 for too many operations, 415
for a media type that is no patch, 422 for a patch that does not fit the object or makes something that is no
object of its kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api import field, status
from apilayer.api.decode import decode_document, message_name
from apilayer.api.decode.check import json_kind
from apilayer.api.encoding import jsontext
from apilayer.api.encoding.jsontext import Pairs
from apilayer.api.errors import DecodeError
from apilayer.api.gotext import json_text, quote
from apilayer.api.patch import json_patch, merge_patch, strategic
from apilayer.api.patch.errors import StrategicPatchError
from apilayer.api.patch.gotext import go_value, struct_order
from apilayer.api.patch.restore import restore_error
from apilayer.api.resources import RESOURCES
from apilayer.api.schema import schema_for

if TYPE_CHECKING:
    from apilayer.api.decode import FieldValidation
    from apilayer.api.resources import Resource

Object = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
PATCH_TYPES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)

_OPERATION_FIELDS = ("op", "path", "from", "value")
_MAX_WARNINGS = 100


@attrs.frozen
class Patched:
    """The patched object in canonical form and the texts of the ``Warning`` headers the patch deserves."""

    object: Object
    warnings: list[str]


def patch_type_of(content_type: str | None) -> str:
    """The patch media type that a Content-Type header names; StatusError 415 for anything else."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in PATCH_TYPES:
        raise unsupported_patch_type()
    return media_type


def unsupported_patch_type() -> status.StatusError:
    """415, as the server answers PATCH requests; the text differs from that for other methods."""
    return status.StatusError(
        415,
        {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": "415: Unsupported Media Type",
            "reason": "UnsupportedMediaType",
            "details": {},
            "code": 415,
        },
    )


def apply_patch(
    content_type: str | None,
    document: Object,
    body: bytes,
    resource: Resource,
    *,
    field_validation: FieldValidation = "Warn",
    emptied: bool = False,
) -> Patched:
    """`document`, an object of `resource`'s kind with kind and apiVersion, changed as `body` says.

    The result is checked and canonical, but neither defaulted nor validated; `emptied`: but for lists that are empty
    (see `decode.emptied`). `document` is left as it is. Raises StatusError as the module's docstring says.
    """
    patch_type = patch_type_of(content_type)
    if patch_type == STRATEGIC_MERGE_PATCH:
        return _strategic(document, body, resource, field_validation, emptied=emptied)
    if patch_type == JSON_PATCH:
        operations, problems = _read_operations(body)
        try:
            patched = json_patch.apply(document, operations)
        except json_patch.JSONPatchError as error:
            raise status.unprocessable() from error
    else:
        patch, problems = _read_object(body, "error decoding patch: ")
        if patch is None:
            raise status.bad_request("Invalid JSON Patch")
        patched = merge_patch.apply(document, patch)
    return _finish(document, patched, problems, resource, field_validation, emptied=emptied)


def _strategic(
    document: Object, body: bytes, resource: Resource, field_validation: FieldValidation, *, emptied: bool
) -> Patched:
    patch, problems = _read_object(body, "")
    try:
        patched = strategic.apply(document, patch or {}, schema_for(resource))
    except StrategicPatchError as error:
        if error.code == 400:
            raise status.bad_request(str(error)) from error
        if error.code == 422:
            raise status.unprocessable() from error
        raise status.raw(error.code, _shown(resource, str(error)) or "the patch cannot be applied") from error
    try:
        return _decode(patched, problems, resource, field_validation, emptied=emptied)
    except DecodeError as error:
        problem = restore_error(patched, message_name(resource)) or str(error)
        raise _invalid_patch(_shown(resource, go_value(patch or {})), problem) from error


def _finish(
    document: Object,
    patched: Any,
    problems: list[str],
    resource: Resource,
    field_validation: FieldValidation,
    *,
    emptied: bool,
) -> Patched:
    if isinstance(patched, dict) and not (patched.get("kind") and patched.get("apiVersion")):
        raise _untyped(document, patched, field_validation)
    try:
        if not isinstance(patched, dict):
            raise DecodeError(_cannot_unmarshal(patched, "map[string]interface {}"))
        _check_other_kind(patched, resource)
        return _decode(patched, problems, resource, field_validation, emptied=emptied)
    except DecodeError as error:
        raise _invalid_patch(_shown(resource, _sorted_text(document, patched, resource)), str(error)) from error


def _decode(
    patched: Object, problems: list[str], resource: Resource, field_validation: FieldValidation, *, emptied: bool
) -> Patched:
    """Check the result; what is wrong with the patch itself comes before what is wrong with the result."""
    strict = field_validation == "Strict"
    leniency = "Warn" if strict else field_validation
    decoded = decode_document(patched, resource, field_validation=leniency, emptied=emptied)
    if field_validation == "Ignore":
        return Patched(decoded.object, [])
    found = problems + decoded.warnings
    if strict and found:
        raise DecodeError(f"strict decoding error: {', '.join(found)}")
    return Patched(decoded.object, found)


def _check_other_kind(patched: Object, resource: Resource) -> None:
    """A result that says it is of another served kind is read as that, and must be one, before it is refused."""
    named = (patched["kind"], patched["apiVersion"])
    if named == (resource.kind, resource.api_version):
        return  # no other row is of it
    for row in RESOURCES:
        if (row.kind, row.api_version) == named:
            decode_document(patched, row, field_validation="Ignore")


def _untyped(document: Object, patched: Object, field_validation: FieldValidation) -> status.StatusError:
    """Without its type the server reads nothing of the object: all its members are unknown, the name is missing."""
    name = document.get("metadata", {}).get("name", "")
    error = status.bad_request(
        f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
    )
    if field_validation == "Warn":
        unknown = [quote(f"unknown field {quote(key)}") for key in sorted(patched) if key not in ("kind", "apiVersion")]
        error.headers = tuple(("Warning", f"299 - {text}") for text in unknown[:_MAX_WARNINGS] if text.isascii())
    return error


def _sorted_text(document: Object, patched: Any, resource: Resource) -> str:
    """The result as the server shows it: members sorted at the top, what the patch left alone in struct order."""
    try:
        jsontext.check_depth(patched)
    except jsontext.DepthError:
        return ""
    if not isinstance(patched, dict):
        return json_text(patched)
    untouched = struct_order({key: document[key] for key in patched if key in document}, message_name(resource))
    shown = {key: untouched[key] if patched[key] == document.get(key) else patched[key] for key in sorted(patched)}
    return json_text(shown)


def _shown(resource: Resource, text: str) -> str:
    """What a message may show of a patch and its result: of a Secret nothing, for messages are audited and logged, and
    who may patch a Secret need not be allowed to read it."""
    return "" if resource.group_resource == "secrets" else text


def _invalid_patch(value: str, detail: str) -> status.StatusError:
    return status.invalid("", "", "", [field.invalid("patch", value, detail)])


def _cannot_unmarshal(value: Any, go_type: str) -> str:
    return f"json: cannot unmarshal {json_kind(value)} into Go value of type {go_type}"


def _load(body: bytes, prefix: str) -> tuple[Any, list[str]]:
    """The body's JSON value, the last value of repeated names counting, and what it repeats."""
    try:
        value, repeats = jsontext.loads_checked(body)
    except DecodeError as error:
        raise status.bad_request(f"{prefix}{error}") from error
    problems: list[str] = []
    if repeats:
        _find_repeated(jsontext.loads_pairs(body), "", problems)
    return value, problems


def _find_repeated(value: Any, path: str, problems: list[str]) -> None:
    if isinstance(value, Pairs):
        seen: set[str] = set()
        for key, item in value:
            where = f"{path}.{key}" if path else key
            if key in seen and len(problems) < _MAX_WARNINGS:
                problems.append(f"duplicate field {quote(where)}")
            seen.add(key)
            _find_repeated(item, where, problems)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _find_repeated(item, f"{path}[{index}]", problems)


def _read_object(body: bytes, prefix: str) -> tuple[Object | None, list[str]]:
    """A merge patch, None when the body is null, and the names that it repeats."""
    value, problems = _load(body, prefix)
    if value is not None and not isinstance(value, dict):
        text = _cannot_unmarshal(value, "map[string]interface {}")
        raise status.bad_request(f"{prefix}{text}")
    return value, problems


def _read_operations(body: bytes) -> tuple[list[Object], list[str]]:
    """The operations of a JSON patch, and the unknown and repeated names in them."""
    prefix = "error decoding patch: "
    value, problems = _load(body, prefix)
    operations = [] if value is None else value
    if not isinstance(operations, list):
        text = _cannot_unmarshal(operations, "[]handlers.jsonPatchOp")
        raise status.bad_request(f"{prefix}{text}")
    if len(operations) > json_patch.MAX_OPERATIONS:
        count = len(operations)
        raise status.too_many_items(
            f"The allowed maximum operations in a JSON patch is {json_patch.MAX_OPERATIONS}, got {count}"
        )
    for index, item in enumerate(operations):
        if item is not None and not isinstance(item, dict):
            text = _cannot_unmarshal(item, "handlers.jsonPatchOp")
            raise status.bad_request(f"{prefix}{text}")
        _check_operation(item or {}, index, problems)
    return [item or {} for item in operations], [f"json patch {problem}" for problem in problems]


def _check_operation(operation: Object, index: int, problems: list[str]) -> None:
    for name in operation:
        if name not in _OPERATION_FIELDS and len(problems) < _MAX_WARNINGS:
            problems.append(f"unknown field {quote(f'[{index}].{name}')}")
    for name in ("op", "path", "from"):
        value = operation.get(name)
        if value is not None and not isinstance(value, str):
            kind = f"{json_kind(value)} into Go struct field jsonPatchOp.{name} of type string"
            raise status.bad_request(f"error decoding patch: json: cannot unmarshal {kind}")
