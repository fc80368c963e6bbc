"""The form of an answer: an object or list as itself, as a Table or as metadata, in JSON or YAML.

Plain JSON, which is nearly every answer, is joined from stored bytes without parsing them. Entries come in the
stored form and are shown in the form of the version that was asked for.
"""

from __future__ import annotations

from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from apilayer.api import meta, status
from apilayer.api.table import (
    partial_object_metadata,
    partial_object_metadata_list,
    reader_of,
    row_without_object,
    to_table,
)
from apilayer.pipeline.encoding import encode
from apilayer.pipeline.negotiation import JSON, Accepted
from apilayer.pipeline.request import PIECE_BYTES, Parts, Response
from apilayer.storage.codec import Codec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from apilayer.api.resources import Resource
    from apilayer.pipeline.request import Headers
    from apilayer.registry.listing import Listing
    from apilayer.storage.codec import Entry
    from apilayer.storage.watcher import CachedEvent, EventType, Item

INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_LIST_END = b"]}"
_NUMBERS = count()
MAX_WARNING_CHARS = 256
MAX_WARNINGS_CHARS = 4096


def warning_headers(texts: Sequence[str]) -> Headers:
    """``Warning`` headers (RFC 7234, code 299); each is cut short once they are long together."""
    total = 0
    cut = sum(len(text) for text in texts) > MAX_WARNINGS_CHARS
    headers = []
    for text in texts:
        shown = text[:MAX_WARNING_CHARS] if cut else text
        total += len(shown)
        if total > MAX_WARNINGS_CHARS:
            break
        plain = "".join(char if char.isprintable() else " " for char in shown)
        escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
        headers.append((b"Warning", f'299 - "{escaped}"'.encode()))
    return tuple(headers)


@cache
def codec_of(resource: Resource) -> Codec:
    """The codec of a version of a resource: one per row, because entries keep the views that they have made."""
    return Codec(resource)


@cache
def _number(version: str, accepted: Accepted, include: str) -> int:
    """One for each way to encode an event: a key that costs nothing to look up."""
    return next(_NUMBERS)


class Latest:
    """What was last sent on the spot: many who watch are sent the same, one after the other."""

    __slots__ = ("batch", "data", "kind")

    def __init__(self) -> None:
        self.batch: list[Item] = []
        self.kind = ""
        """Of the sender."""
        self.data = b""
        """What came of the batch."""


class Form:
    """Encodes what requests ask for in the same words. Immutable but for `latest`. `include` is the Table's
    includeObject.
    """

    def __init__(self, resource: Resource, accepted: Accepted, *, pretty: bool, include: str) -> None:
        self.resource = resource
        self.accepted = accepted
        self.include = include
        self.pretty = pretty
        self.codec = codec_of(resource)
        self.latest = Latest()
        self._content_type = accepted.content_type
        self._number = _number(resource.api_version, accepted, include)
        self._version = accepted.version.encode()
        self._bytes_as_stored = accepted.media == JSON and not accepted.form and not pretty
        self._items_as_stored = self._bytes_as_stored and resource.stored_as is None

    @property
    def stream_type(self) -> bytes:
        """The Content-Type of a watch."""
        return self.accepted.content_type

    def require_fit(self, *, to_list: bool) -> None:
        """Raises StatusError 406 when the form is one of lists and the answer is none, or the other way round."""
        form = self.accepted.form
        if form == "PartialObjectMetadataList" and not to_list:
            raise self._wrong_form("is not a list", "")
        if form == "PartialObjectMetadata" and to_list:
            raise self._wrong_form("is a list", "List")

    def object(self, entry: Entry, code: int = 200, warnings: Sequence[str] = ()) -> Response:
        """An object."""
        if self._bytes_as_stored:
            body = (entry if entry.codec.resource is self.resource else entry.seen_by(self.codec)).json
        else:
            body = self._encode(self._converted(entry))
        return Response(code, body, self._content_type, warning_headers(warnings) if warnings else ())

    def document(self, obj: dict[str, Any], code: int = 200, warnings: Sequence[str] = ()) -> Response:
        """An object that is kept nowhere, such as a Scale or a Status."""
        plain = Accepted(self.accepted.media)
        body = encode(obj, plain, pretty=self.pretty)
        return Response(code, body, plain.content_type, warning_headers(warnings) if warnings else ())

    def _encode(self, obj: Any) -> bytes:
        return encode(obj, self.accepted, pretty=self.pretty)

    def _converted(self, entry: Entry) -> Any:
        form, version = self.accepted.form, self.accepted.version
        if not form:
            return entry.seen_by(self.codec).object()
        if form == "Table":
            return self._table([entry], {"resourceVersion": str(entry.revision)}, columns=True)
        return partial_object_metadata(entry.seen_by(self.codec).object(), version)

    def _table(self, entries: Sequence[Entry], metadata: dict[str, Any], *, columns: bool) -> dict[str, Any]:
        # Cells are printed from the stored form, whatever version was asked for.
        converted = self.resource.stored_as is not None
        objects = ((entry.object(), entry.seen_by(self.codec).object if converted else None) for entry in entries)
        return to_table(
            self.resource,
            objects,
            metadata,
            self.include,
            meta.utc_now(),
            version=self.accepted.version,
            with_columns=columns,
        )

    def _wrong_form(self, why: str, suffix: str) -> status.StatusError:
        package = self.resource.group.partition(".")[0] or "core"
        error = status.not_acceptable(())
        error.status["message"] = (
            f"you requested {self.accepted.form}, but the requested object {why} "
            f"(*{package}.{self.resource.kind}{suffix})"
        )
        return error

    # ------------------------------------------------------------------ lists

    @property
    def joinable(self) -> bool:
        """Whether a list is its `frame` around its `items`, so that it can be made in pieces."""
        return self.accepted.media == JSON and not self.pretty

    @property
    def items_at_once(self) -> int:
        """So many items are made in a fraction of a millisecond."""
        return 10_000 if self._items_as_stored else 20

    def items(self, entries: Sequence[Entry]) -> list[bytes]:
        """The items of a list, encoded."""
        if self._items_as_stored:
            return [entry.item for entry in entries]
        codec = self.codec
        if not self.accepted.form:
            return [entry.seen_by(codec).item for entry in entries]
        if self.accepted.form == "Table":
            now = meta.utc_now()
            return [self._row(entry, now) for entry in entries]
        head = self._metadata_only_head
        return [b"%s%s}" % (head, entry.seen_by(codec).raw_metadata) for entry in entries]

    @property
    def _metadata_only_head(self) -> bytes:
        """What stands before the metadata of a PartialObjectMetadata; after them comes a brace."""
        return b'{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/%s","metadata":' % self._version

    def _row(self, entry: Entry, now: datetime) -> bytes:
        """A row of a Table, as `table_row` has it, joined from the object's bytes."""
        metadata: Any
        try:
            obj, metadata = reader_of(self.resource.storage)(entry.item)
        except msgspec.MsgspecError:  # another program's doing
            obj, metadata = entry.object(), entry.raw_metadata
        row = orjson.dumps(row_without_object(self.resource, obj, now))[:-1]
        if self.include == "None":
            return row + b',"object":null}'
        shown = entry.seen_by(self.codec)
        if self.include == "Object":
            return b'%s,"object":%s}' % (row, shown.json)
        if shown is not entry:
            metadata = shown.raw_metadata
        return b'%s,"object":%s%s}}' % (row, self._metadata_only_head, metadata)

    def frame(self, listing: Listing, size: int) -> tuple[bytes, bytes, bytes]:
        """What stands before, between and after the items, which take `size` bytes and are not none."""
        del size
        metadata, version = self._list_metadata(listing), self.accepted.version
        if self.accepted.form == "Table":
            whole = {**self._table((), metadata, columns=True), "rows": []}
        elif self.accepted.form:
            whole = partial_object_metadata_list((), metadata, version)
        else:
            kind, api_version = self.resource.list_kind, self.resource.api_version
            whole = {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": []}
        return orjson.dumps(whole)[: -len(_LIST_END)], b",", _LIST_END

    def listing(self, listing: Listing) -> Response:
        """A list, made at once."""
        if self.joinable and listing.entries:
            return self.answer(listing, self.items(listing.entries))
        body = self._encode(self._converted_list(listing, self._list_metadata(listing)))
        return Response(200, body, self.accepted.content_type)

    def answer(self, listing: Listing, items: Sequence[bytes]) -> Response:
        """A list with its `items`; a large one is never whole in memory."""
        size = sum(map(len, items))
        head, separator, tail = self.frame(listing, size)
        parts = Parts(head, items, separator, tail, size)
        if parts.size > PIECE_BYTES:
            return Response(200, b"", self.accepted.content_type, parts=parts)
        return Response(200, b"".join(parts), self.accepted.content_type)

    @staticmethod
    def _list_metadata(listing: Listing) -> dict[str, Any]:
        metadata: dict[str, Any] = {"resourceVersion": str(listing.revision)} if listing.revision else {}
        if listing.continue_token:
            metadata["continue"] = listing.continue_token
            if listing.remaining is not None:
                metadata["remainingItemCount"] = listing.remaining
        return metadata

    def _converted_list(self, listing: Listing, metadata: dict[str, Any]) -> Any:
        form, version = self.accepted.form, self.accepted.version
        if not form:
            return {
                "kind": self.resource.list_kind,
                "apiVersion": self.resource.api_version,
                "metadata": metadata,
                "items": [orjson.loads(entry.seen_by(self.codec).item) for entry in listing.entries],
            }
        if form == "Table":
            return self._table(listing.entries, metadata, columns=True)
        objects = [entry.seen_by(self.codec).object() for entry in listing.entries]
        reduced = partial_object_metadata_list(objects, metadata, version)
        # An empty list of this form is null, as Go encodes a slice that was never made.
        return reduced if objects else {**reduced, "items": None}

    def success(self, entry: Entry, warnings: Sequence[str] = ()) -> Response:
        """The Status of a completed deletion."""
        metadata = entry.object()["metadata"]
        details = {
            "name": metadata["name"],
            "group": self.resource.group,
            "kind": self.resource.plural,
            "uid": metadata.get("uid", ""),
        }
        return self.document(status.success(details), warnings=warnings)

    def success_unread(self, name: str, warnings: Sequence[str] = ()) -> Response:
        """The Status of a completed deletion of what could not be read."""
        details = {"name": name, "group": self.resource.group, "kind": self.resource.plural}
        return self.document(status.success(details), warnings=warnings)

    # ------------------------------------------------------------------ watch lines

    def event_line(self, event_type: EventType, event: CachedEvent, *, columns: bool) -> bytes:
        """One line of a watch; made once per event, type and form, except the first of a Table."""
        key = (event_type, self._number, columns)
        line = event.lines.get(key)
        if line is None:
            line = event.lines[key] = self.entry_line(event_type, event.shown(event_type), columns=columns)
        return line

    def entry_line(self, event_type: EventType, entry: Entry, *, columns: bool) -> bytes:
        """A line that shows `entry`."""
        form = self.accepted.form
        if not form:
            encoded = entry.seen_by(self.codec).json
        elif form == "Table":
            metadata = {"resourceVersion": str(entry.revision)}
            encoded = orjson.dumps(self._table([entry], metadata, columns=columns))
        else:
            encoded = b"%s%s}" % (self._metadata_only_head, entry.seen_by(self.codec).raw_metadata)
        return b'{"type":"%s","object":%s}\n' % (event_type.encode(), encoded)

    def unframed(self, line: bytes) -> str | bytes:
        """A line as a message of its own: text, with its end of line as kube-apiserver sends it."""
        return line.decode()

    def error_line(self, error: Any) -> bytes:
        """An ERROR that carries a Status."""
        return b'{"type":"ERROR","object":%s}\n' % orjson.dumps(error)

    def bookmark_line(self, revision: int, *, initial_events_end: bool) -> bytes:
        """A BOOKMARK: everything up to `revision` has been sent."""
        obj = self._bookmark(revision, initial_events_end=initial_events_end)
        return b'{"type":"BOOKMARK","object":%s}\n' % orjson.dumps(obj)

    def _bookmark(self, revision: int, *, initial_events_end: bool) -> dict[str, Any]:
        metadata: dict[str, Any] = {"resourceVersion": str(revision)}
        form, version = self.accepted.form, self.accepted.version
        obj: dict[str, Any]
        if form == "Table":
            obj = {"kind": "Table", "apiVersion": f"meta.k8s.io/{version}", "metadata": metadata}
            obj |= {"columnDefinitions": None, "rows": []}
        else:
            if initial_events_end:
                metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
            kind = (form, f"meta.k8s.io/{version}") if form else (self.resource.kind, self.resource.api_version)
            obj = {"kind": kind[0], "apiVersion": kind[1], "metadata": metadata}
        return obj
