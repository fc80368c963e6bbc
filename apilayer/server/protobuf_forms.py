"""Answers in protobuf: objects, lists, metadata and watch frames, put together from messages that are made once."""

from __future__ import annotations

from struct import pack
from typing import TYPE_CHECKING, Any

from apilayer.api import protobuf
from apilayer.api.protobuf import delimited, envelope, envelope_around, message_encoder, type_head
from apilayer.pipeline.request import Response
from apilayer.server.forms import Form, warning_headers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.registry.listing import Listing
    from apilayer.storage.codec import Entry
    from apilayer.storage.watcher import EventType

FRAME_HEAD_BYTES = 4
STREAM_TYPE = b"application/vnd.kubernetes.protobuf;stream=watch"


class ProtobufForm(Form):
    """As `Form`, in protobuf. A frame of a watch is its length in four bytes and a bare WatchEvent."""

    @property
    def stream_type(self) -> bytes:
        return STREAM_TYPE

    @property
    def joinable(self) -> bool:
        return True

    @property
    def items_at_once(self) -> int:
        return 20

    def object(self, entry: Entry, code: int = 200, warnings: Sequence[str] = ()) -> Response:
        headers = warning_headers(warnings) if warnings else ()
        return Response(code, self._enveloped(entry), self.accepted.content_type, headers)

    def _enveloped(self, entry: Entry) -> bytes:
        if self.accepted.form:
            return envelope(self._metadata_head(""), self._metadata_only(entry))
        return envelope(self.codec.protobuf_head, entry.seen_by(self.codec).protobuf)

    def _metadata_head(self, suffix: str) -> bytes:
        return type_head(f"meta.k8s.io/{self.accepted.version}", f"PartialObjectMetadata{suffix}")

    def _metadata_only(self, entry: Entry) -> bytes:
        """The message of a PartialObjectMetadata: metadata is its field 1."""
        return delimited(1, message_encoder("meta/v1.ObjectMeta")(entry.object()["metadata"]))

    def items(self, entries: Sequence[Entry]) -> list[bytes]:
        """Every list has its items in field 2."""
        if self.accepted.form:
            return [delimited(2, self._metadata_only(entry)) for entry in entries]
        return [delimited(2, entry.seen_by(self.codec).protobuf) for entry in entries]

    def frame(self, listing: Listing, size: int) -> tuple[bytes, bytes, bytes]:
        """Every list has its metadata in field 1."""
        metadata = delimited(1, message_encoder("meta/v1.ListMeta")(self._list_metadata(listing)))
        if self.accepted.form:
            head = self._metadata_head("List")
        else:
            head = type_head(self.resource.api_version, self.resource.list_kind)
        before, after = envelope_around(head, len(metadata) + size)
        return before + metadata, b"", after

    def listing(self, listing: Listing) -> Response:
        """A list, made at once."""
        return self.answer(listing, self.items(listing.entries))

    # ------------------------------------------------------------------ watch frames

    def entry_line(self, event_type: EventType, entry: Entry, *, columns: bool) -> bytes:
        del columns
        return _frame(event_type, self._enveloped(entry))

    def unframed(self, line: bytes) -> str | bytes:
        return line[FRAME_HEAD_BYTES:]

    def error_line(self, error: Any) -> bytes:
        return _frame("ERROR", protobuf.encode(error))

    def bookmark_line(self, revision: int, *, initial_events_end: bool) -> bytes:
        obj = self._bookmark(revision, initial_events_end=initial_events_end)
        metadata = delimited(1, message_encoder("meta/v1.ObjectMeta")(obj["metadata"]))
        return _frame("BOOKMARK", envelope(type_head(obj["apiVersion"], obj["kind"]), metadata))


def _frame(event_type: str, obj: bytes) -> bytes:
    """WatchEvent: type in field 1, in field 2 a RawExtension whose field 1 are the object's bytes."""
    event = delimited(1, event_type.encode()) + delimited(2, delimited(1, obj))
    return pack(">I", len(event)) + event
