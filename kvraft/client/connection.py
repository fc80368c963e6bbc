"""One connection to one member: requests out, answers back to the tasks that wait for them.

What the bytes look like is the wire's business: the native protocol, or etcd's.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Protocol

import trio

from kvraft.channel import Channel, Closed, WakeUp
from kvraft.errors import (
    ConnectionLost,
    DeadlineExceeded,
    KvraftError,
    NoLeader,
    ProtocolError,
    Stopped,
    Unavailable,
)
from kvraft.types import Response, Status, StatusRequest, WatchBatch, WatchRequest
from kvraft.wire import native

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    Answer = Response | KvraftError
    Sink = Callable[[WatchBatch | KvraftError, int], None]
    Then = Callable[[Answer], None]
    Handle = Callable[[Iterable[tuple[bytes, Answer, int]]], None]
    """Gets what has come together: to which request, the answer, its size in bytes. Raises ``ProtocolError``."""

MAX_SWEEP_SECONDS = 1.0
ASK_SWEEPS = 2
"""After so many sweeps without a word the member is asked whether it is there ..."""
ANSWER_SWEEPS = 6
"""... and after so many more it is gone. Sweeps, not seconds: this process may have been the one that stood still."""
LEADERLESS_ANSWERS = 2
"""A member that says so often in a row that it knows no leader has perhaps lost the others: its watches move on."""
EARLY_FLUSH_BYTES = 32 << 10
"""So much queued goes out without waiting for the others, so that the member starts while they go on."""


class Wire(Protocol):
    """Requests as bytes, and bytes as answers, on one connection. Nothing of it waits."""

    @property
    def tells_progress(self) -> bool:
        """Whether what this member says about the progress of a watch may be believed."""
        ...

    @property
    def leaving(self) -> bool:
        """Whether the member wants no more requests on this connection."""
        ...

    def send(self, request_id: bytes, request: native.Request) -> None:
        """Queue a request. Raises what says that it has not been sent, such as ``RequestTooLarge``."""
        ...

    def forget(self, request_id: bytes) -> None:
        """Nobody waits any more for the answer to this request, if it has not come."""
        ...

    def receive(self, data: bytes) -> None:
        """Hand what has come to ``Handle``. Raises ``ProtocolError``."""
        ...


class WireOf(Protocol):
    """Makes the wire of a new connection; ``handle`` gets the answers."""

    def __call__(self, url: str, channel: Channel, max_request_bytes: int, handle: Handle) -> Wire: ...


class Slot:
    """One request that waits for its answer, and after that another one of the same connection, under the same id.

    For trio it is the outcome that its task is woken with. Waiting is ``trio.lowlevel.wait_task_rescheduled``, of which
    it keeps what that gives to trio's loop: made anew for each request, that would be a tenth of what one costs.
    With ``then`` no task waits: it is called with the answer, in the turn of who has received it.
    """

    __slots__ = ("_pause", "_waiting", "answer", "connection", "deadline", "request_id", "task", "then")

    def __init__(self, connection: Connection, request_id: bytes) -> None:
        self.connection = connection
        self.request_id = request_id
        self.deadline = 0.0
        self.task: trio.lowlevel.Task | None = None
        self.then: Then | None = None
        self.answer: Answer | None = None
        self._waiting = trio.lowlevel.wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - driven by hand
        self._pause = self._waiting.send(None)

    @types.coroutine
    def wait(self) -> Generator[Any, Any, Response]:
        """The answer; raises the one that is an error. To be awaited at once after ``Connection.begin``."""
        woken = yield self._pause
        answer: Response = woken.unwrap()
        return answer

    def settle(self, answer: Answer) -> None:
        """Wake the task, or tell; once, and nobody looks for the slot any more."""
        then = self.then
        if then is None:
            self.answer = answer
            trio.lowlevel.reschedule(self.task, self)  # type: ignore[arg-type]
            return
        self.then = self.task = None
        if not isinstance(answer, KvraftError):  # as in `unwrap`
            self.connection.idle.append(self)
        then(answer)

    def unwrap(self) -> Response:
        """What the task gets, or what is raised there; see ``outcome.Outcome``."""
        answer, self.answer, self.task = self.answer, None, None
        if isinstance(answer, KvraftError):
            raise answer  # perhaps our own, and the member's is yet to come: the id is not used again
        assert answer is not None
        self.connection.idle.append(self)
        return answer

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        """The task waits no longer: it has been cancelled."""
        self.connection.forget(self)
        return trio.lowlevel.Abort.SUCCEEDED


class Connection:
    """Pipelines any number of requests. ``run`` must be running while it is used."""

    def __init__(
        self,
        url: str,
        channel: Channel,
        wire_of: WireOf,
        timeout_seconds: float,
        max_request_bytes: int,
        silence_seconds: float | None = None,
        answer_seconds: float | None = None,
    ) -> None:
        self.url = url
        self.alive = True
        self._channel = channel
        self._sweep_seconds = min(MAX_SWEEP_SECONDS, timeout_seconds / 10)
        self._ask_sweeps = self._sweeps(silence_seconds, ASK_SWEEPS)
        self._dead_sweeps = self._ask_sweeps + self._sweeps(answer_seconds, ANSWER_SWEEPS)
        self._pending: dict[bytes, Slot] = {}
        self.idle: list[Slot] = []
        """Those of requests that have been answered: their ids can be used again."""
        self._watches: dict[bytes, Sink] = {}
        self._last_id = 0
        self._came_together = 0  # how many answers did last
        self._silent_sweeps = 0
        self._question = b""
        self._death = ""
        self._leaderless = 0
        self._flush = WakeUp()
        self._flushing = False  # the writer is going to have its turn
        self._wire = wire_of(url, channel, max_request_bytes, self._handle)

    def _sweeps(self, seconds: float | None, default: int) -> int:
        return default if seconds is None else max(round(seconds / self._sweep_seconds), 1)

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
                except Closed as error:
                    reason = ConnectionLost(f"{ConnectionLost.text}: {self._death or error}")
                nursery.cancel_scope.cancel()
        finally:
            self.alive = False
            self._channel.close()
            pending, self._pending = self._pending, {}
            for slot in pending.values():
                slot.settle(reason)
            watches, self._watches = self._watches, {}
            for sink in watches.values():
                sink(reason, 0)

    async def call(self, request: native.Request, deadline: float) -> Response:
        """Send a request and wait for its answer until ``deadline`` (trio's clock).

        Raises the error that was answered; ``ConnectionLost`` or ``DeadlineExceeded`` when there was none;
        ``Unavailable`` or ``RequestTooLarge`` when the request certainly never left.
        """
        return await self.begin(request, deadline).wait()

    def begin(self, request: native.Request, deadline: float, then: Then | None = None) -> Slot:
        """The first part of ``call``, for who cannot afford a coroutine for it: the caller then waits, at once.

        With ``then`` nobody waits: it is called once, later, with the answer or what ``call`` would raise. It must not
        raise. Raises what says that the request never left.
        """
        if not self.alive:
            raise Unavailable("connection is closed")
        pending, channel, idle = self._pending, self._channel, self.idle
        slot = idle.pop() if idle else Slot(self, self._next_id())
        self._wire.send(slot.request_id, request)
        # Who has just been answered together with others is followed by them.
        alone = not pending and self._came_together <= 1
        slot.deadline, slot.task, slot.then = deadline, trio.lowlevel.current_task(), then
        pending[slot.request_id] = slot
        # Alone: at once. Others are sending too: one write for all, when they have had their turn or fill a page.
        if not alone and channel.buffered_bytes < EARLY_FLUSH_BYTES:
            if not self._flushing:
                self._flushing = True
                self._flush.set()
        elif not channel.send_now():
            self._flush.set()
        return slot

    def forget(self, slot: Slot) -> None:
        """Nobody waits any longer for an answer that has not come."""
        del self._pending[slot.request_id]
        self._wire.forget(slot.request_id)
        if not self.alive:
            self._close_when_done()

    def watch(self, request: WatchRequest, sink: Sink) -> bytes:
        """Start a watch; ``sink`` gets its batches and their sizes in bytes, then an error if it ends.

        Returns the watch's id.
        """
        if not self.alive:
            raise Unavailable("connection is closed")
        watch_id = self._next_id()
        self._send(watch_id, request)
        self._watches[watch_id] = sink
        return watch_id

    def bear(self, token: str) -> None:
        """What is asked from now on is asked by the owner of ``token``."""
        self._send(native.CONNECTION_ID, native.Bearer(token))

    def cancel_watch(self, watch_id: bytes) -> None:
        """End a watch; its sink is not called again."""
        if self._watches.pop(watch_id, None) is not None and self.alive:
            self._send(watch_id, native.WatchCancel())

    def request_progress(self, watch_id: bytes) -> None:
        """Ask for a batch without events once the watch has caught up."""
        if self.alive:
            self._send(watch_id, native.WatchProgress())

    @property
    def tells_progress(self) -> bool:
        """Whether what this member says about the progress of a watch may be believed."""
        return self._wire.tells_progress

    def _send(self, request_id: bytes, request: native.Request) -> None:
        self._wire.send(request_id, request)
        self._flush.set()

    def _next_id(self) -> bytes:
        while True:
            self._last_id = self._last_id % 0xFFFFFFFF + 1
            request_id = self._last_id.to_bytes(native.ID_BYTES)
            taken = request_id in self._watches or request_id in self._pending
            if not (taken or any(slot.request_id == request_id for slot in self.idle)):
                return request_id

    async def _write(self) -> None:
        try:
            while True:
                await self._flush.wait()
                self._flushing = False
                await self._channel.drain()
        except Closed:
            return  # the reader notices too, and tells

    async def _read(self) -> None:
        while data := await self._channel.receive():
            self._silent_sweeps = 0
            self._wire.receive(data)
            if self._channel.buffered_bytes:
                self._flush.set()  # the wire has had something to say about it
            if self._wire.leaving and self.alive:
                self._retire()

    def _retire(self) -> None:
        """The member wants no more requests: those under way get their answers, watches go on elsewhere."""
        self.alive = False
        watches, self._watches = self._watches, {}
        for watch_id, sink in watches.items():
            self._wire.forget(watch_id)
            sink(Stopped(), 0)
        self._close_when_done()

    def _close_when_done(self) -> None:
        if not self._pending:
            self._death = "the member wants no more requests"
            self._channel.close()

    def _handle(self, answers: Iterable[tuple[bytes, Answer, int]]) -> None:
        pop, reschedule, came = self._pending.pop, trio.lowlevel.reschedule, 0
        for request_id, answer, size in answers:
            slot = pop(request_id, None)
            if slot is None:
                self._handle_other(request_id, answer, size)
                continue
            came += 1
            if slot.then is not None:
                slot.settle(answer)
                continue
            slot.answer = answer  # what ``settle`` does, which most answers come to
            reschedule(slot.task, slot)  # type: ignore[arg-type]
        self._came_together = came
        if not self.alive:
            self._close_when_done()

    def _handle_other(self, request_id: bytes, answer: Answer, size: int) -> None:
        """What no task waits for."""
        if request_id == native.CONNECTION_ID and isinstance(answer, Stopped):
            self._retire()
        elif request_id == native.CONNECTION_ID:
            raise ProtocolError(str(answer))
        elif request_id in self._watches:
            if isinstance(answer, WatchBatch):
                self._watches[request_id](answer, size)
            elif isinstance(answer, KvraftError):
                self._watches.pop(request_id)(answer, 0)
        elif request_id == self._question and isinstance(answer, Status):
            self._heard(answer)

    def _heard(self, status: Status) -> None:
        """The member's answer to whether it is there."""
        self._leaderless = 0 if status.leader else self._leaderless + 1
        if self._leaderless >= LEADERLESS_ANSWERS:
            for watch_id, sink in list(self._watches.items()):
                self.cancel_watch(watch_id)
                sink(NoLeader(), 0)

    async def _sweep(self) -> None:
        """Answer those whose deadline has passed: one sweep for all instead of a cancel scope for each.

        And end a connection whose other side is silent: a process that is stopped, or cut off, closes nothing.
        """
        while True:
            await trio.sleep(self._sweep_seconds)
            now = trio.current_time()
            for slot in [slot for slot in self._pending.values() if slot.deadline <= now]:
                self.forget(slot)
                slot.settle(DeadlineExceeded())
            if self._channel.closed:
                return
            self._silent_sweeps += 1
            if self._silent_sweeps == self._ask_sweeps:
                self._question = self._next_id()
                self._send(self._question, StatusRequest())
            elif self._silent_sweeps >= self._dead_sweeps:
                self._death = "the member is silent"
                self._channel.close()
