"""How events get to a writer: one at a time while the request waits, or in batches from a bounded queue.

Source: Kubernetes' ``apiserver/plugin/pkg/audit/buffered``.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from apilayer.audit.shape import Shape, TooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.audit.counts import AuditCounts
    from apilayer.audit.event import Event

BUFFERED = "buffered"
TRUNCATE = "truncate"
MAX_BUFFER_BYTES = 64 * 1024 * 1024
"""What is waiting is bounded in bytes as well as in number."""
MAX_UNAWAITED = 1000
MAX_BATCHES_UNDER_WAY = 16
FLUSH_SECONDS = 5.0
"""So long the end of the server waits for what is still in the queue."""


class WriteError(Exception):
    """What was to be written is lost; says why."""


class Writer(Protocol):
    """Brings written events to their place."""

    name: str
    """The plugin's name, as metrics have it."""
    parallel: bool
    """Whether several batches may be under way at once."""

    def write_now(self, parts: Sequence[bytes]) -> bool:
        """Writes at once, if that takes no waiting; False when it would. Raises WriteError."""

    async def write(self, parts: Sequence[bytes]) -> None:
        """Writes. Raises WriteError."""

    async def run(self) -> None:
        """What goes on beside the writing; cancelled at the end."""

    async def aclose(self) -> None:
        """Nothing more is written."""


class Delivery(Protocol):
    """Takes events of the shape that a writer wants."""

    async def take(self, part: bytes) -> bool:
        """False when the request that it is about must be refused."""

    def take_soon(self, part: bytes) -> None:
        """As `take`, without waiting."""

    async def run(self) -> None:
        """Goes on until it is cancelled; then the queue is emptied."""


class Blocking:
    """Each event is written while its request waits; `strict`: or the request is refused."""

    def __init__(self, writer: Writer, counts: AuditCounts, *, strict: bool) -> None:
        self._writer = writer
        self._counts = counts
        self._strict = strict
        self._unawaited: deque[bytes] = deque()
        self._wake = trio.Event()

    async def take(self, part: bytes) -> bool:
        """See `Delivery.take`."""
        try:
            return await self._write(part) or not self._strict
        except trio.Cancelled:
            self._counts.lost(self._writer.name, 1, "the request's time was over before its event was written")
            raise

    async def _write(self, part: bytes) -> bool:
        """Whether it is written; it is counted if not."""
        try:
            if not self._writer.write_now((part,)):
                await self._writer.write((part,))
        except WriteError as error:
            self._counts.lost(self._writer.name, 1, error)
            return False
        return True

    def take_soon(self, part: bytes) -> None:
        """See `Delivery.take_soon`."""
        try:
            if self._writer.write_now((part,)):
                return
        except WriteError as error:
            self._counts.lost(self._writer.name, 1, error)
            return
        if len(self._unawaited) >= MAX_UNAWAITED:
            self._counts.lost(self._writer.name, 1, "too many events of ended requests are waiting")
            return
        self._unawaited.append(part)
        self._wake.set()

    async def run(self) -> None:
        """See `Delivery.run`."""
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                await self._empty()
        finally:
            with trio.move_on_after(FLUSH_SECONDS, shield=True):
                await self._empty()

    async def _empty(self) -> None:
        while self._unawaited:
            part = self._unawaited.popleft()
            try:
                await self._write(part)
            except trio.Cancelled:
                self._unawaited.appendleft(part)
                raise


@attrs.frozen
class BatchOptions:
    """How events are put together; times in seconds. `per_second` 0: as fast as they come."""

    buffer_size: int
    max_size: int
    max_wait: float
    per_second: float = 0.0
    burst: int = 1
    max_bytes: int = 0
    """Of a batch, 0: no bound."""


class TokenBucket:
    """`per_second` tokens, of which up to `burst` are kept. Pure: times are given in seconds."""

    def __init__(self, per_second: float, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = float(burst)
        self._at = now

    def take(self, now: float) -> float:
        """Takes a token; the seconds until it may be used."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._per_second) - 1
        self._at = now
        return max(0.0, -self._tokens / self._per_second)


class Batched:
    """Events wait in a queue and are written together. A full queue takes no more: what comes is lost and counted."""

    def __init__(self, writer: Writer, options: BatchOptions, counts: AuditCounts) -> None:
        self._writer = writer
        self._options = options
        self._counts = counts
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._wake = trio.Event()
        self._free = trio.Semaphore(MAX_BATCHES_UNDER_WAY)

    async def take(self, part: bytes) -> bool:
        """See `Delivery.take`."""
        self.take_soon(part)
        return True

    def take_soon(self, part: bytes) -> None:
        """See `Delivery.take_soon`."""
        if len(self._queue) >= self._options.buffer_size or self._bytes + len(part) > MAX_BUFFER_BYTES:
            self._counts.lost(BUFFERED, 1, "audit buffer queue blocked")
            return
        self._queue.append(part)
        self._bytes += len(part)
        if len(self._queue) == 1 or len(self._queue) >= self._options.max_size:
            self._wake.set()

    async def run(self) -> None:
        """See `Delivery.run`."""
        try:
            async with trio.open_nursery() as nursery:
                await self._run(nursery)
        finally:
            with trio.move_on_after(FLUSH_SECONDS, shield=True):
                while self._queue:
                    await self._write(self._batch())
            if self._queue:
                self._counts.lost(BUFFERED, len(self._queue), "the server has ended")

    async def _run(self, nursery: trio.Nursery) -> None:
        options = self._options
        bucket = TokenBucket(options.per_second, options.burst, trio.current_time()) if options.per_second else None
        while True:
            await self._gathered()
            if bucket is not None:
                await trio.sleep(bucket.take(trio.current_time()))
            if self._writer.parallel:
                await self._free.acquire()
                nursery.start_soon(self._write_beside, self._batch())
            else:
                await self._write(self._batch())

    async def _gathered(self) -> None:
        """Waits for a first event, and then for a whole batch or its time."""
        while not self._queue:
            self._wake = trio.Event()
            await self._wake.wait()
        if not self._options.max_wait:
            await trio.lowlevel.checkpoint()
            return
        with trio.move_on_after(self._options.max_wait):
            while len(self._queue) < self._options.max_size:
                self._wake = trio.Event()
                await self._wake.wait()

    def _batch(self) -> list[bytes]:
        """The next events, as many as go together."""
        options, queue = self._options, self._queue
        batch: list[bytes] = []
        size = 0
        while queue and len(batch) < options.max_size:
            if batch and options.max_bytes and size + len(queue[0]) > options.max_bytes:
                break
            part = queue.popleft()
            size += len(part)
            batch.append(part)
        self._bytes -= size
        return batch

    async def _write_beside(self, batch: list[bytes]) -> None:
        try:
            await self._write(batch)
        finally:
            self._free.release()

    async def _write(self, batch: list[bytes]) -> None:
        """Writes a batch. When the server ends meanwhile, it goes back to the front of the queue."""
        try:
            await self._writer.write(batch)
        except WriteError as error:
            self._counts.lost(self._writer.name, len(batch), error)
        except trio.Cancelled:
            self._queue.extendleft(reversed(batch))
            raise


class Output:
    """A sink: one shape, one delivery. `run` until the end."""

    def __init__(self, shape: Shape, delivery: Delivery, writer: Writer, counts: AuditCounts) -> None:
        self._shape = shape
        self._delivery = delivery
        self._writer = writer
        self._counts = counts

    async def process(self, event: Event) -> bool:
        """See `Sink.process`."""
        try:
            part = self._shape.of(event)
        except TooLarge as error:
            self._counts.lost(TRUNCATE, 1, error)
            return True
        return await self._delivery.take(part)

    def process_soon(self, event: Event) -> None:
        """See `Sink.process_soon`."""
        try:
            part = self._shape.of(event)
        except TooLarge as error:
            self._counts.lost(TRUNCATE, 1, error)
            return
        self._delivery.take_soon(part)

    async def run(self) -> None:
        """Until it is cancelled; then what is in the queue is written."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._writer.run)
                await self._delivery.run()
        finally:
            with trio.move_on_after(FLUSH_SECONDS, shield=True):
                await self._writer.aclose()


class Outputs:
    """All sinks of a server as one."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self._outputs = outputs

    async def process(self, event: Event) -> bool:
        """See `Sink.process`: True when every one has taken it."""
        taken = True
        for output in self._outputs:
            taken = await output.process(event) and taken
        return taken

    def process_soon(self, event: Event) -> None:
        """See `Sink.process_soon`."""
        for output in self._outputs:
            output.process_soon(event)

    async def run(self) -> None:
        """Until it is cancelled."""
        async with trio.open_nursery() as nursery:
            for output in self._outputs:
                nursery.start_soon(output.run)
