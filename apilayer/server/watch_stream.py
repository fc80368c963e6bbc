"""A watch as a stream of lines: initial objects, events, bookmarks, or the error that it cannot start with."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import trio

from apilayer.pipeline.turns import turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from apilayer.pipeline.metrics import Labels, RequestMetrics
    from apilayer.pipeline.request import Sender
    from apilayer.registry.watching import Watch
    from apilayer.server.forms import Form
    from apilayer.storage.watcher import Item

INITIAL_CHUNK_OBJECTS = 100


class WatchStream:
    """`Stream` of one watch; frees the watch when it is closed."""

    __slots__ = ("_began", "_columns", "_form", "_labels", "_metrics", "_sender", "_sent", "_watch")

    def __init__(self, watch: Watch, form: Form, metrics: RequestMetrics, labels: Labels) -> None:
        """`labels` are those under which the request is counted, once it is over."""
        self._watch = watch
        self._metrics = metrics
        self._labels = labels
        self._began = perf_counter()
        metrics.watch_began(labels)
        self._form = form
        self._columns = form.accepted.form == "Table"
        """Whether the next line names the columns: the first one does."""
        self._sent = metrics.events_of((form.resource.group, form.resource.version, form.resource.kind))
        self._sender: Sender

    def bind(self, scope: trio.CancelScope, sender: Sender | None = None) -> None:
        """See `Stream.bind`."""
        self._watch.stalls(scope)
        if sender is not None:
            self._sender = sender
            self._watch.deliver_by(self._deliver)

    def close(self) -> None:
        """See `Stream.close`."""
        self._watch.close()
        self._metrics.watch_ended(self._labels, perf_counter() - self._began)

    def unframed(self, message: bytes) -> str | bytes:
        """See `Stream.unframed`."""
        return self._form.unframed(message)

    async def batches(self) -> AsyncGenerator[list[bytes], None]:
        """Lines of JSON or frames of protobuf."""
        watch, form = self._watch, self._form
        if watch.failure is not None:
            yield [form.error_line(watch.failure.status)]
            return
        initial, watch.initial = watch.initial, ()  # not kept for as long as the watch lasts
        for start in range(0, len(initial), INITIAL_CHUNK_OBJECTS):
            if start:
                await turn()
            lines = []
            for entry in initial[start : start + INITIAL_CHUNK_OBJECTS]:
                lines.append(form.entry_line("ADDED", entry, columns=self._columns))
                self._columns = False
            self._sent.value += len(lines)
            yield lines
        del initial
        if watch.end_bookmark:
            yield [form.bookmark_line(watch.start_revision, initial_events_end=True)]
            self._metrics.watch_listed(self._labels, perf_counter() - self._began)
        while (batch := await watch.next_batch()) is not None:
            if batch:
                self._sent.value += len(batch)
                yield self._lines(batch)
            elif watch.held_up:
                yield []  # the rest of what was delivered goes before anything else
            else:
                yield [form.bookmark_line(watch.bookmark_revision, initial_events_end=False)]

    def _deliver(self, batch: list[Item]) -> bool:
        if self._columns:
            raise trio.BusyResourceError("the first line of a table is nobody else's")
        sender, latest = self._sender, self._form.latest
        if batch != latest.batch or sender.kind != latest.kind:
            latest.data = sender.framed(self._lines(batch))
            latest.batch, latest.kind = batch.copy(), sender.kind  # the watcher's own grows if it is not sent
        gone = sender.send_now(latest.data)
        self._sent.value += len(batch)
        return gone

    def _lines(self, batch: list[Item]) -> list[bytes]:
        form = self._form
        lines = []
        for event_type, event in batch:
            lines.append(form.event_line(event_type, event, columns=self._columns))
            self._columns = False
        return lines
