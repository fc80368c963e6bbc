"""How objects are laid out as bytes, so that a read never has to parse them.

A stored value is compact JSON that starts with kind, apiVersion and metadata, in that order, and holds no
resourceVersion. The version of a record is spliced in where metadata begins. Values in any other layout, written
by other programs (a kube-apiserver stores protobuf), are parsed and laid out anew when they are read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from apilayer.api import protobuf
from apilayer.api.conversion import from_storage
from apilayer.api.decode import message_name
from apilayer.api.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from apilayer.api.resources import Resource

Object = dict[str, Any]

_ITEM_HEAD = b'{"metadata":{"resourceVersion":"'
_ITEM_HEAD_LENGTH = len(_ITEM_HEAD)
_ITEM_MID = b'",'
_BARE_HEAD = b'{"metadata":{'
_SEALED = b"k8s:enc:"


class _Metadata(msgspec.Struct, omit_defaults=True, gc=False):
    uid: Any = None
    finalizers: Any = None
    ownerReferences: Any = None  # noqa: N815 - as it stands there
    deletionTimestamp: Any = None  # noqa: N815


class _WithMetadata(msgspec.Struct, gc=False):
    metadata: _Metadata


class _WithRawMetadata(msgspec.Struct):
    metadata: msgspec.Raw


class _Labels(msgspec.Struct):
    labels: msgspec.Raw = msgspec.Raw(b"null")


class _WithLabels(msgspec.Struct):
    metadata: _Labels


_METADATA = msgspec.json.Decoder(_WithMetadata).decode
_RAW_METADATA = msgspec.json.Decoder(_WithRawMetadata).decode
_LABELS = msgspec.json.Decoder(_WithLabels).decode
MAX_SHARED_LABELS = 8192
"""So many sets of labels are remembered, to be shared by the objects that have the same."""


class CorruptObject(Exception):
    """A stored value is not an object with metadata, or cannot be read at all."""


class Undecodable(bytes):
    """An empty value in place of one that a store could not make out, with the reason."""

    reason: str

    def __new__(cls, reason: str) -> Undecodable:
        made = super().__new__(cls)
        made.reason = reason
        return made


class Codec:
    """Encodes and decodes the objects of one resource."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.type_head = (
            b'{"kind":' + orjson.dumps(resource.kind) + b',"apiVersion":' + orjson.dumps(resource.api_version)
        ) + b","
        self.message_name = message_name(resource)
        self.protobuf_head = protobuf.type_head(resource.api_version, resource.kind)
        """The start of an object's protobuf envelope."""
        self._head = self.type_head + b'"metadata":{'
        self._head_length = len(self._head)
        self._skeleton: Callable[[bytes], Any] | None = None
        self._read: tuple[tuple[str, ...], ...] = ()
        """The paths that selectors read."""

    def encode(self, obj: Object) -> bytes:
        """The bytes to store for `obj`; its resourceVersion is left out. Metadata must hold a name."""
        metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
        ordered: Object = {
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version,
            "metadata": metadata,
        }
        for key, value in obj.items():
            if key not in ordered:
                ordered[key] = value
        return orjson.dumps(ordered)

    def entry(self, key: bytes, value: bytes, revision: int) -> Entry:
        """The readable form of a stored value. Raises CorruptObject."""
        if not value.startswith(self._head):
            value = self._relaid(key, value)
        return Entry(self, key, value[self._head_length :], revision)

    def decode(self, key: bytes, value: bytes, revision: int) -> Object:
        """A stored value as an object with its resourceVersion. Raises CorruptObject."""
        obj = _parse(key, value)
        obj["metadata"]["resourceVersion"] = str(revision)
        return obj

    def skeleton(self, entry: Entry) -> Object:
        """The fields of an object that the resource lets selectors read; the rest is passed over."""
        if self._skeleton is None:
            self._read = tuple(self.resource.field_selectors.values())
            self._skeleton = msgspec.json.Decoder(_sketch(self._read)).decode
        try:
            seen = self._skeleton(entry.item)
        except msgspec.MsgspecError:  # a spec that is no object, say: another program's doing
            return _skeleton(self.resource, entry.object())
        kept: Object = {}
        for path in self._read:
            value = _at(seen, path)
            if value is not None:
                target = kept
                for step in path[:-1]:
                    target = target.setdefault(step, {})
                target[path[-1]] = value
        return kept

    def _relaid(self, key: bytes, value: bytes) -> bytes:
        obj = _parse(key, value)
        if not any(field != "resourceVersion" for field in obj["metadata"]):
            raise CorruptObject(f"{key.decode(errors='replace')}: metadata is empty")
        return self.encode(obj)


def _parse(key: bytes, value: bytes) -> Object:
    if isinstance(value, Undecodable):
        raise CorruptObject(value.reason)
    if value.startswith(_SEALED):  # of a resource that is not sealed here; upstream's words
        raise CorruptObject("identity transformer tried to read encrypted data")
    try:
        obj = protobuf.decode(value) if value.startswith(protobuf.MAGIC) else orjson.loads(value)
    except (orjson.JSONDecodeError, DecodeError) as error:
        raise CorruptObject(f"{key.decode(errors='replace')}: {error}") from error
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict):
        raise CorruptObject(f"{key.decode(errors='replace')}: not an object with metadata")
    return obj


class Entry:
    """One object at one revision: its key, its bytes as a list item, and what selectors look at.

    `item` is the JSON as it stands in a list (no kind, no apiVersion), made once. Immutable. Revision 0 is an
    object that was never stored, as a dry run makes it: it has no resourceVersion. Other forms of the same state
    (protobuf, another version) are made when they are asked for and kept.
    """

    __slots__ = (
        "_labels",
        "_protobuf",
        "_selectable",
        "_shared",
        "_views",
        "codec",
        "item",
        "key",
        "revision",
        "stale",
    )

    def __init__(self, codec: Codec, key: bytes, tail: bytes, revision: int) -> None:
        self.codec = codec
        self.key = key
        self.revision = revision
        self.stale = False
        """Whether the next write must store it, though it stays the same; known of what was read from the store."""
        self.item = b'%s%d",%s' % (_ITEM_HEAD, revision, tail) if revision else _BARE_HEAD + tail
        self._labels: Mapping[str, str] | None = None
        self._selectable: Object | None = None
        self._shared: Object | None = None
        self._protobuf: bytes | None = None
        self._views: dict[Codec, Entry] | None = None

    @property
    def protobuf(self) -> bytes:
        """The object as a protobuf message, without envelope."""
        if self._protobuf is None:
            self._protobuf = protobuf.message_encoder(self.codec.message_name)(self.object())
        return self._protobuf

    def seen_by(self, codec: Codec) -> Entry:
        """The entry in the form of `codec`'s version of the resource; itself when that is the stored one."""
        if codec.resource is self.codec.resource:
            return self
        if self._views is None:
            self._views = {}
        view = self._views.get(codec)
        if view is None:
            encoded = codec.encode(from_storage(codec.resource, self.object()))
            view = self._views[codec] = codec.entry(self.key, encoded, self.revision)
        return view

    @property
    def json(self) -> bytes:
        """The whole object as JSON, with kind, apiVersion and resourceVersion."""
        return self.codec.type_head + self.item[1:]

    def at(self, revision: int) -> Entry:
        """The same state under another resourceVersion, as a deletion reports it."""
        skip = _ITEM_HEAD_LENGTH + len(str(self.revision)) + len(_ITEM_MID)
        entry = Entry(self.codec, self.key, self.item[skip:], revision)
        entry._labels, entry._selectable = self._labels, self._selectable
        return entry

    def object(self) -> Object:
        """The object, parsed afresh; the caller owns it."""
        obj: Object = orjson.loads(self.json)
        return obj

    @property
    def shared(self) -> Object:
        """The object, parsed once and kept, for small ones that many writes look at. Shared: do not change."""
        if self._shared is None:
            self._shared = self.object()
        return self._shared

    def metadata(self) -> Object:
        """Who owns the object, what holds it and its uid, parsed afresh; the rest is passed over."""
        found: Object = msgspec.to_builtins(_METADATA(self.item).metadata)
        return found

    def mentions(self, uid: str) -> bool:
        """Whether the uid, in plain characters, is the object's or one that it refers to; costs next to nothing."""
        return b'"uid":"%s"' % uid.encode() in self.item

    @property
    def raw_metadata(self) -> msgspec.Raw:
        """The object's metadata as JSON."""
        return _RAW_METADATA(self.item).metadata

    @property
    def labels(self) -> Mapping[str, str]:
        """The object's labels, read once and shared by all objects that have the same."""
        if self._labels is None:
            self._labels = _labels(bytes(_LABELS(self.item).metadata.labels))
        return self._labels

    @property
    def selectable(self) -> Object:
        """Only what field selectors read, parsed once. Shared: do not change."""
        if self._selectable is None:
            self._selectable = self.codec.skeleton(self)
        return self._selectable


@lru_cache(maxsize=MAX_SHARED_LABELS)
def _labels(encoded: bytes) -> Mapping[str, str]:
    labels: Any = orjson.loads(encoded)
    return labels if isinstance(labels, dict) else {}


def _sketch(paths: Iterable[tuple[str, ...]]) -> type[msgspec.Struct]:
    """A struct of what lies on the paths, whose decoder skips everything else."""
    below: dict[str, list[tuple[str, ...]]] = {}
    for first, *rest in paths:
        below.setdefault(first, []).append(tuple(rest))
    fields: list[tuple[str, Any, None]] = [
        (name, Any if () in rests else _sketch(rests) | None, None) for name, rests in below.items()
    ]
    return msgspec.defstruct("Sketch", fields, gc=False)


def _at(seen: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        if seen is None:
            return None
        seen = getattr(seen, step)
    return seen


def _skeleton(resource: Resource, obj: Object) -> Object:
    """`obj` reduced to the fields that the resource lets selectors read."""
    kept: Object = {}
    for path in resource.field_selectors.values():
        value: Any = obj
        for step in path:
            value = value.get(step) if isinstance(value, dict) else None
        if value is None:
            continue
        target = kept
        for step in path[:-1]:
            target = target.setdefault(step, {})
        target[path[-1]] = value
    return kept
