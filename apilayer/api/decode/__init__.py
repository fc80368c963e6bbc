"""Request bodies to objects: JSON, YAML and protobuf in, a plain dict in the served version out.

The object comes out in canonical form: only fields that its kind has, in the spelling Kubernetes writes
(quantities, times, base64), zero values left out where Kubernetes leaves them out and written where it
writes them. Everything wrong is a `StatusError` with Kubernetes' text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from apilayer.api import protobuf
from apilayer.api.decode.check import Checker, json_kind
from apilayer.api.decode.convert import converter
from apilayer.api.decode.emptied import keep_empty
from apilayer.api.encoding import jsontext
from apilayer.api.encoding.jsontext import Pairs
from apilayer.api.errors import DecodeError
from apilayer.api.gotext import quote
from apilayer.api.resources import find
from apilayer.api.schema import kinds
from apilayer.api.status import StatusError, bad_request, unsupported_media_type
from apilayer.api.types import package_of

if TYPE_CHECKING:
    from apilayer.api.resources import Resource

__all__ = [
    "MEDIA_TYPES",
    "DecodeError",
    "Decoded",
    "FieldValidation",
    "decode_body",
    "decode_document",
    "decode_options",
]

FieldValidation = Literal["Strict", "Warn", "Ignore"]

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MEDIA_TYPES = (JSON, YAML, PROTOBUF)

_SUMMARY_BYTES = 30
_META_STRUCT = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
_TYPE_KEYS = ("kind", "apiVersion")
_META_KINDS = frozenset(
    {
        "List",
        "Status",
        "WatchEvent",
        "DeleteOptions",
        "CreateOptions",
        "UpdateOptions",
        "PatchOptions",
        "GetOptions",
        "ListOptions",
        "APIGroup",
        "APIVersions",
    }
)


class Decoded(msgspec.Struct, frozen=True):
    """An object and the texts of the ``Warning`` headers that its body deserves."""

    object: dict[str, Any]
    warnings: list[str]


def decode_body(
    body: bytes,
    content_type: str | None,
    resource: Resource,
    *,
    field_validation: FieldValidation = "Warn",
    emptied: bool = False,
) -> Decoded:
    """The object of `resource`'s kind in `body`; absent kind and apiVersion are taken from the resource.

    `field_validation` says what unknown and repeated fields are: an error, a warning or nothing. `emptied`: lists that
    are empty stay (see `decode.emptied`). Raises StatusError 400 for a body that cannot be decoded and 415 for a media
    type that is not served.
    """
    media_type = media_type_of(content_type)
    try:
        document, repeated = _load(
            body,
            media_type,
            (resource.api_version, resource.kind),
            strict=field_validation != "Ignore",
            also_as=resource.also_as,
        )
        kind, api_version = _type_of(document, resource)
    except DecodeError as error:
        message = f"the object provided is unrecognized (must be of type {resource.kind}): {error}"
        raise bad_request(f"{message} ({_summary(body)})") from error
    _check_version(kind, api_version, resource)
    _check_kind(kind, api_version, resource)
    head = f"{quote_kind(kind, api_version)} cannot be handled as a {resource.kind}"
    try:
        text = body if media_type == JSON else None
        return _finish(document, repeated, resource, field_validation, text, emptied=emptied)
    except DecodeError as error:
        raise bad_request(f"{head}: {error}") from error


def decode_document(
    document: dict[str, Any],
    resource: Resource,
    *,
    field_validation: FieldValidation = "Warn",
    emptied: bool = False,
) -> Decoded:
    """As `decode_body` for a document that is parsed already, e.g. the result of a patch.

    `document` is left as it is. Raises DecodeError, not StatusError: callers word the failure themselves.
    """
    kind, api_version = _type_of(document, resource)
    try:
        _check_kind(kind, api_version, resource)
    except StatusError as error:
        raise DecodeError(str(error)) from error
    jsontext.check_depth(document)
    return _finish(document, [], resource, field_validation, emptied=emptied)


def decode_options(body: bytes, content_type: str | None, kind: str = "DeleteOptions") -> dict[str, Any]:
    """The options object (of ``meta/v1``) in `body`, {} for an empty body; unknown fields are ignored.

    Raises StatusError 400 or 415.
    """
    if not body:
        return {}
    media_type = media_type_of(content_type)
    try:
        document, _repeated = _load(body, media_type, ("v1", kind), strict=False)
        _meta_strings(document)
        found = document.get("kind") or kind
        if found != kind:
            version = document.get("apiVersion") or "v1"
            scheme = "pkg/apis/meta/internalversion/scheme/register.go:27"
            raise DecodeError(f'no kind {quote(found)} is registered for version {quote(version)} in scheme "{scheme}"')
        return _convert(document, f"meta/v1.{kind}")[0]
    except DecodeError as error:
        raise bad_request(str(error)) from error


def media_type_of(content_type: str | None) -> str:
    """The served media type that `content_type` names (absent: JSON); StatusError 415 for any other."""
    if not content_type:
        return JSON
    if content_type in MEDIA_TYPES:
        return content_type
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in MEDIA_TYPES:
        return media_type
    raise unsupported_media_type(MEDIA_TYPES)


def quote_kind(kind: str, api_version: str) -> str:
    """A kind and version as decoding errors name them: ``Pod in version "v1"``."""
    return f"{kind} in version {quote(api_version.rpartition('/')[2])}"


def _load(
    body: bytes, media_type: str, default_type: tuple[str, str], *, strict: bool, also_as: tuple[str, ...] = ()
) -> tuple[Any, list[str]]:
    """The document and the texts for names that YAML repeats; JSON that repeats names comes as `Pairs`."""
    if media_type == JSON:
        try:
            value, repeats = jsontext.loads_checked(body) if strict else (jsontext.loads(body), False)
        except DecodeError as error:
            raise DecodeError(f"couldn't get version/kind; json parse error: {error}") from error
        if repeats and value.__class__ is dict:
            value = jsontext.loads_pairs(body)
    elif media_type == YAML:
        from apilayer.api.encoding import yamltext  # here: the parser takes 12 ms to import, few clients need it

        value, repeated = yamltext.loads(body)
        return _require_object(value), repeated
    else:
        return protobuf.decode(body, default_type, also_as), []
    return _require_object(value), []


def _require_object(value: Any) -> Any:
    if value is None:
        return {}
    if isinstance(value, (dict, Pairs)):
        return value
    raise DecodeError(
        "couldn't get version/kind; json parse error: "
        f"json: cannot unmarshal {json_kind(value)} into Go value of type {_META_STRUCT}"
    )


def _meta_strings(document: dict[str, Any] | Pairs) -> tuple[str, str]:
    members = dict(document) if isinstance(document, Pairs) else document
    found = []
    for key in ("kind", "apiVersion"):
        value = members.get(key)
        if value is not None and not isinstance(value, str):
            raise DecodeError(
                "couldn't get version/kind; json parse error: "
                f"json: cannot unmarshal {json_kind(value)} into Go struct field .{key} of type string"
            )
        found.append(value or "")
    return found[0], found[1]


def _type_of(document: dict[str, Any] | Pairs, resource: Resource) -> tuple[str, str]:
    kind, api_version = _meta_strings(document)
    return kind or resource.kind, api_version or resource.api_version


def _check_version(kind: str, api_version: str, resource: Resource) -> None:
    """Raises StatusError 400 for an object of the same resource in the form of its other version."""
    if api_version == resource.api_version:
        return
    group, _, version = api_version.rpartition("/")
    other = find(group, version, resource.plural)
    if other is not None and other.kind == kind and other.storage is resource.storage:
        expected = f"does not match the expected API version ({resource.api_version})"
        raise bad_request(f"the API version in the data ({api_version}) {expected}")


def _check_kind(kind: str, api_version: str, resource: Resource) -> None:
    if kind == resource.kind and (api_version == resource.api_version or api_version in resource.also_as):
        return
    group, _, version = api_version.rpartition("/")
    head = f"{quote_kind(kind, api_version)} cannot be handled as a {resource.kind}"
    known = (group, version, kind) in kinds() or (version == "v1" and kind in _META_KINDS)
    if not known:
        raise bad_request(
            f"{head}: no kind {quote(kind)} is registered for version {quote(api_version)}"
            ' in scheme "pkg/api/legacyscheme/scheme.go:30"'
        )
    package = resource.group.partition(".")[0] or "core"
    raise bad_request(f"{head}: converting ({version}.{kind}) to ({package}.{resource.kind}): unknown conversion")


def _finish(
    document: dict[str, Any] | Pairs,
    repeated: list[str],
    resource: Resource,
    field_validation: FieldValidation,
    text: bytes | None = None,
    *,
    emptied: bool = False,
) -> Decoded:
    fields, problems = _convert(document, message_name(resource), text)
    if field_validation == "Strict" and (problems or repeated):
        texts = ["yaml: unmarshal errors:\n  " + "\n  ".join(repeated)] if repeated else []
        raise DecodeError(f"strict decoding error: {', '.join(texts + problems)}")
    _keep_reset(document, fields)
    if emptied and isinstance(document, dict):
        keep_empty(document, fields, message_name(resource))
    obj = {"kind": resource.kind, "apiVersion": resource.api_version, **fields}
    return Decoded(obj, [] if field_validation == "Ignore" else repeated + problems)


def _keep_reset(document: dict[str, Any] | Pairs, fields: dict[str, Any]) -> None:
    """An empty list of managedFields, unlike others, is not the same as none: it asks for them to be dropped."""
    metadata = dict(document).get("metadata")
    if metadata and dict(metadata).get("managedFields") == []:
        fields["metadata"]["managedFields"] = []


def _convert(
    document: dict[str, Any] | Pairs, name: str, text: bytes | None = None
) -> tuple[dict[str, Any], list[str]]:
    """`document` as message `name` in canonical form, and what is unknown or repeated in it.

    `text` is the JSON it was read from, if it was: read once more when order and digits matter.
    """
    if isinstance(document, dict):
        members = {key: value for key, value in document.items() if key not in _TYPE_KEYS}
        try:
            return converter(name)(members), []
        except ValueError:
            # The checker says what is wrong, in Kubernetes' words.
            document = members if text is None else jsontext.loads_pairs(text)
    checker = Checker()
    cleaned = checker.clean(_without_type(document), name)
    return converter(name)(cleaned), checker.strict_errors


def _without_type(document: dict[str, Any] | Pairs) -> dict[str, Any] | Pairs:
    if isinstance(document, Pairs):
        return Pairs(pair for pair in document if pair[0] not in _TYPE_KEYS)
    return document


def message_name(resource: Resource) -> str:
    """Name of the resource's message in the type table: "core/v1.Pod"."""
    return f"{package_of(resource)}.{resource.kind}"


def _summary(body: bytes) -> str:
    """The start of a body for an error text: JSON as it is, anything else in hexadecimal."""
    if not body:
        return "<empty>"
    start = body[:_SUMMARY_BYTES]
    text = start.decode("utf-8", "replace") if start[:1] == b"{" else start.hex()
    return f"{text} ..." if len(body) > _SUMMARY_BYTES else text
