"""One connection to one member: requests out, answers back to the tasks that wait for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from kvraft.channel import Channel, Closed, WakeUp
from kvraft.errors import ConnectionLost, DeadlineExceeded, KvraftError, ProtocolError, Unavailable
from kvraft.types import Response, WatchBatch, WatchRequest
from kvraft.wire import native
from kvraft.wire.frames import FrameDecoder

if TYPE_CHECKING:
    from collections.abc import Callable


class _Slot:
    """One request that waits for its answer."""

    __slots__ = ("answer", "deadline", "task")

    def __init__(self, deadline: float, task: trio.lowlevel.Task) -> None:
        self.deadline = deadline
        self.task: trio.lowlevel.Task | None = task
        self.answer: Response | KvraftError | None = None

    def settle(self, answer: Response | KvraftError) -> None:
        self.answer = answer
        if self.task is not None:
            trio.lowlevel.reschedule(self.task)
            self.task = None


class Connection:
    """Pipelines any number of requests. ``run`` must be running while it is used."""

    def __init__(self, url: str, channel: Channel, timeout_seconds: float) -> None:
        self.url = url
        self.alive = True
        self._channel = channel
        self._timeout_seconds = timeout_seconds
        self._pending: dict[bytes, _Slot] = {}
        self._watches: dict[bytes, Callable[[WatchBatch | KvraftError], None]] = {}
        self._last_id = 0
        self._flush = WakeUp()
        channel.queue(native.PREFACE)

    async def run(self) -> None:
        """Read, write and watch deadlines until the connection ends; then everybody who waits is told."""
        reason: KvraftError = ConnectionLost()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write)
                nursery.start_soon(self._sweep)
                try:
                    await self._read()
                except ProtocolError as error:
                    reason = ConnectionLost(f"{ConnectionLost.text}: {error}")
                except Closed:
                    pass  # told below, as a lost connection
                nursery.cancel_scope.cancel()
        finally:
            self.alive = False
            self._channel.close()
            for slot in self._pending.values():
                slot.settle(reason)
            watches, self._watches = self._watches, {}
            for sink in watches.values():
                sink(reason)

    async def call(self, request: native.Request) -> Response:
        """Send a request and wait for its answer.

        Raises the error that was answered; ``ConnectionLost`` or ``DeadlineExceeded`` when there was none;
        ``Unavailable`` when the request certainly never left.
        """
        if not self.alive:
            raise Unavailable("connection is closed")
        request_id = self._next_id()
        slot = _Slot(trio.current_time() + self._timeout_seconds, trio.lowlevel.current_task())
        alone = not self._pending
        self._pending[request_id] = slot
        self._channel.queue(native.encode_request(request_id, request))
        if not alone or not self._channel.send_now():
            self._flush.set()  # others are sending too: one write for all of them, when they have had their turn

        def abort(_: object) -> trio.lowlevel.Abort:
            slot.task = None
            return trio.lowlevel.Abort.SUCCEEDED

        try:
            await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            self._pending.pop(request_id, None)
        answer = slot.answer
        if isinstance(answer, KvraftError):
            raise answer
        assert answer is not None
        return answer

    def watch(self, request: WatchRequest, sink: Callable[[WatchBatch | KvraftError], None]) -> bytes:
        """Start a watch; ``sink`` gets its batches, then an error if it ends. Returns the watch's id."""
        if not self.alive:
            raise Unavailable("connection is closed")
        watch_id = self._next_id()
        self._watches[watch_id] = sink
        self._send(watch_id, request)
        return watch_id

    def cancel_watch(self, watch_id: bytes) -> None:
        """End a watch; its sink is not called again."""
        if self._watches.pop(watch_id, None) is not None and self.alive:
            self._send(watch_id, native.WatchCancel())

    def request_progress(self, watch_id: bytes) -> None:
        """Ask for a batch without events once the watch has caught up."""
        if self.alive:
            self._send(watch_id, native.WatchProgress())

    def _send(self, request_id: bytes, request: native.Request) -> None:
        self._channel.queue(native.encode_request(request_id, request))
        self._flush.set()

    def _next_id(self) -> bytes:
        while True:
            self._last_id = self._last_id % 0xFFFFFFFF + 1
            request_id = self._last_id.to_bytes(native.ID_BYTES)
            if request_id not in self._watches and request_id not in self._pending:
                return request_id

    async def _write(self) -> None:
        try:
            while True:
                await self._flush.wait()
                await self._channel.drain()
        except Closed:
            return  # the reader notices too, and tells

    async def _read(self) -> None:
        frames = FrameDecoder(native.MAX_RESPONSE_FRAME_BYTES, native.ID_BYTES + 1)
        while data := await self._channel.receive():
            for payload in frames.feed(data):
                self._handle(payload[: native.ID_BYTES], payload[native.ID_BYTES :])

    def _handle(self, request_id: bytes, body: bytes) -> None:
        answer = native.decode_answer(body)
        slot = self._pending.get(request_id)
        if slot is not None:
            slot.settle(answer)
        elif request_id == native.CONNECTION_ID:
            raise ProtocolError(str(answer))
        elif (sink := self._watches.get(request_id)) is not None and isinstance(answer, (WatchBatch, KvraftError)):
            sink(answer)

    async def _sweep(self) -> None:
        """Answer those whose deadline has passed: one sweep for all instead of a cancel scope for each."""
        while True:
            await trio.sleep(min(1.0, self._timeout_seconds / 4))
            now = trio.current_time()
            for slot in self._pending.values():  # in the order of their deadlines
                if slot.deadline > now:
                    break
                slot.settle(DeadlineExceeded())
