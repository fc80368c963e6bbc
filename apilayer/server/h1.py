"""One HTTP/1.1 connection: requests in order, keep-alive, pipelining, streams, time limits.

One task serves the connection and one cancel scope times it. Moving its deadline for every step would cost more than
parsing the request, so it stays where it is while it is late enough; between requests one that comes too early only
wakes the task. There are thousands of streams that have nothing to send: while one lasts nothing is kept of its
request, and somebody else notices when its peer goes away.

A request that waits for `Freshness` alone is parked: the task waits for the next one, and the answer is sent in the
turn of who brings the word. Where something stands against that, the task is called back: by its scope, for it sleeps.
"""

from __future__ import annotations

import logging
from contextlib import aclosing
from functools import partial
from math import inf
from typing import TYPE_CHECKING
from urllib.parse import unquote

import trio

from apilayer.api import status
from apilayer.later import Later
from apilayer.pipeline.request import MAX_BODY_BYTES, BodyError, Request, Response, Sender
from apilayer.pipeline.turns import turn_to_send
from apilayer.pipeline.websocket import is_websocket_request
from apilayer.server import compression, wire
from apilayer.server.h1_parser import RequestParser
from apilayer.server.parked import Parked, going_on
from apilayer.server.secure_stream import SecureStream
from apilayer.storage.freshness import Freshness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from apilayer.pipeline.request import Headers, Identity, Stream
    from apilayer.server import websocket
    from apilayer.server.application import Application
    from apilayer.server.arrivals import Arrivals
    from apilayer.server.h1_parser import BadMessage, Incoming

    Answer = tuple[Response, Headers]
else:
    websocket = Later("apilayer.server.websocket")

RECEIVE_BYTES = 64 * 1024
IDLE_SECONDS = 90.0
HEAD_SECONDS = 32.0
TOO_MANY = 429
LATEST = 1 + 1 / 64
"""So many times as long as its time a request may take, so that the deadline need not be moved for each."""
LINGER_SECONDS = 1.0
LINGER_BYTES = 16 * 1024 * 1024
MAX_EARLY_BYTES = 64 * 1024
"""How much a peer may send ahead while it is being streamed to."""
CLOSE = b"Connection: close\r\n"

log = logging.getLogger("apilayer.server.h1")


class H1Connection:
    """Serves one connection until either side is done with it."""

    __slots__ = (
        "_app",
        "_arrivals",
        "_certificate",
        "_clock",
        "_closing",
        "_deadline",
        "_direct",
        "_early",
        "_head_begun",
        "_parked",
        "_parser",
        "_patience_ends",
        "_peer",
        "_refused",
        "_rest",
        "_scope",
        "_serving",
        "_started",
        "_stream",
    )

    def __init__(
        self,
        stream: trio.abc.Stream,
        app: Application,
        certificate: Identity | None,
        peer: str = "",
        arrivals: Arrivals | None = None,
    ) -> None:
        """`arrivals` notices when the peer of a `SecureStream` goes away that is streamed to; else nobody does."""
        self._stream = stream
        self._app = app
        self._certificate = certificate
        self._peer = peer
        self._parser = RequestParser(MAX_BODY_BYTES)
        self._direct = stream if isinstance(stream, SecureStream) else None
        """The stream, when it can send without waiting."""
        self._arrivals = arrivals
        self._early = bytearray()
        """What has come while a stream was sent."""
        self._scope = trio.CancelScope()
        self._deadline = inf
        """That of the scope, which is dear to look at."""
        self._serving = False
        self._started = False
        self._closing = False
        self._clock = trio.lowlevel.current_clock()
        self._patience_ends = inf
        """When the next request must be there; not known while one is served."""
        self._head_begun = False
        self._refused = False
        """Whether the last request was one too many."""
        self._parked: Parked | None = None
        """The request that is answered in another task's turn."""
        self._rest: Callable[[], Awaitable[bool]] | None = None
        """What the task has been called back for; comes to False when the connection is to end."""

    def shut_down(self) -> None:
        """Closes the connection as soon as no request is being served."""
        self._closing = True
        if not self._serving:
            self._scope.cancel()

    async def run(self) -> None:
        """Serves until the connection ends. The stream is left for the caller to close."""
        try:
            while True:
                with self._scope:
                    await self._serve()
                if self._scope.cancelled_caught and self._rest is not None:
                    self._scope = trio.CancelScope(deadline=self._deadline)
                    continue
                if not self._scope.cancelled_caught or self._closing or self._serving:
                    break
                if self._clock.current_time() >= self._patience_ends:
                    break
                self._scope = trio.CancelScope()
                self._end_at(self._patience_ends)
            if self._scope.cancelled_caught and self._serving:
                await self._give_up()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError):
            return
        finally:
            self._abandon()

    def _abandon(self) -> None:
        """Nobody waits any longer for a request that is parked."""
        if self._parked is not None:
            self._parked.answering.close()
            self._parked = None

    async def _give_up(self) -> None:
        """The request's time is over: says so if nothing has been said yet."""
        self._abandon()
        if self._started:
            return
        with trio.move_on_after(LINGER_SECONDS):
            await self._stream.send_all(self._app.timeout_answer())

    # ------------------------------------------------------------------ requests

    async def _serve(self) -> None:
        parser, rest = self._parser, self._rest
        if rest is not None:
            self._rest = None
            if not await rest():
                return
        while not self._closing or parser.ready or self._parked is not None:
            if parser.ready:
                now = self._clock.current_time()
                if now >= self._deadline:  # the end of this scope, after which `run` opens another
                    await trio.lowlevel.checkpoint()
                self._patience_ends, self._head_begun = inf, False
                sending = await self._answer(parser.ready.pop(0), now)
                if sending is None:
                    continue
                keep = await sending
                self._serving = False
                if not keep:
                    return
                if self._early:
                    parser.feed(bytes(self._early))
                    self._early.clear()
                if parser.ready:
                    await trio.lowlevel.checkpoint()  # others have their turn between requests that came together
            elif parser.failure is not None:
                self._patience_ends = self._clock.current_time() + HEAD_SECONDS
                self._end_at(self._patience_ends)
                await self._say(parser.failure)
                return
            else:
                if self._parked is None:
                    self._set_patience()
                data = await self._stream.receive_some(RECEIVE_BYTES)
                if data:
                    parser.feed(bytes(data))
                if self._rest is not None:  # at the same time: this scope ends here
                    await trio.lowlevel.checkpoint()
                elif self._parked is not None:  # what comes now, or an end, comes after its answer
                    if not await self._unpark():
                        return
                elif not data:
                    return

    def _set_patience(self) -> None:
        """How long to wait for a request: its whole head must come in time, however steadily it trickles."""
        if self._patience_ends == inf:
            self._patience_ends = self._clock.current_time() + IDLE_SECONDS
        if self._parser.mid_head and not self._head_begun:
            self._head_begun = True
            self._patience_ends = min(self._patience_ends, self._clock.current_time() + HEAD_SECONDS)
        if self._patience_ends < self._deadline:
            self._end_at(self._patience_ends)

    def _end_at(self, deadline: float) -> None:
        self._scope.deadline = self._deadline = deadline

    async def _receive(self) -> bool:
        data = await self._stream.receive_some(RECEIVE_BYTES)
        if not data:
            return False
        self._parser.feed(bytes(data))
        return True

    async def _say(self, failure: BadMessage | None) -> bool:
        """What the peer did wrong, if it did; False, for the connection ends with it."""
        if failure is not None:
            await self._stream.send_all(wire.plain_error(failure.code, str(failure)))
            await self._linger()
        return False

    async def _answer(self, incoming: Incoming, now: float) -> Awaitable[bool] | None:
        """Serves one request: what sends the answer, which comes to False when the connection is to end.

        None: it has been parked.
        """
        uri = incoming.url.decode("latin-1")
        target, _, query = uri.partition("?")
        path = unquote(target) if "%" in target else target
        if not path.startswith("/"):
            path = _absolute_path(path)
        request = Request(
            incoming.method,
            path,
            query,
            incoming.headers,
            self._certificate,
            partial(self._read_body, incoming),
            uri,
            self._peer,
        )
        seconds = self._app.time_limit(incoming.method, query)
        if not now + seconds <= self._deadline <= now + seconds * LATEST:
            self._end_at(now + seconds * LATEST)
        self._serving, self._started = True, False
        if self._refused:  # those who come again, by hundreds in the same moment, are looked at one by one
            await turn_to_send()
        answering = self._app.answer(request)
        try:
            if incoming.method != "GET" or query or not incoming.complete or self._direct is None:
                response, headers = await answering
            else:
                parser = self._parser  # what has come after the request would wait
                request.may_park = incoming.keep_alive and not parser.ready and parser.failure is None
                try:
                    waits_for = answering.send(None)
                except StopIteration as done:
                    response, headers = done.value
                else:
                    if type(waits_for) is Freshness and self._park(incoming, request, answering, waits_for):
                        return None
                    response, headers = await going_on(answering, waits_for)
        except BodyError:
            return self._say(self._parser.failure)
        if response.size > compression.MIN_BYTES:
            await compression.compress(request, response)
        return self._sending(incoming, response, headers)

    def _sending(self, incoming: Incoming, response: Response, headers: Headers) -> Awaitable[bool]:
        """What sends the answer, see `_answer`."""
        self._refused = response.status == TOO_MANY
        keep = incoming.keep_alive and not self._closing and not self._app.refusing
        if response.stream is None:
            return self._send(incoming, response, headers, keep=keep)
        if self._parser.upgraded is not None and is_websocket_request(incoming.headers):
            return self._send_websocket(incoming, response.stream)
        chunked = incoming.version == "1.1"
        keep = keep and chunked and incoming.complete
        framing = (b"Transfer-Encoding: chunked\r\n" if chunked else b"") + (b"" if keep else CLOSE)
        return self._send_stream(response.stream, wire.head(response, headers, framing), chunked=chunked, keep=keep)

    # ------------------------------------------------------------------ parked requests

    def _park(
        self, incoming: Incoming, request: Request, answering: Coroutine[Any, Any, Answer], freshness: Freshness
    ) -> bool:
        """Parks a request until it is known what is fresh; False when nobody can be asked."""
        parked = Parked(incoming, request, answering, freshness)
        if not freshness.ask(partial(self._confirmed, parked)):
            return False
        self._parked = parked
        return True

    def _confirmed(self, parked: Parked, fresh: bool) -> None:
        """Answers the parked request, in the turn of who has brought the word, if nothing stands against it."""
        if self._parked is not parked:  # its time was over, or more has come in
            return
        if not fresh or self._closing or self._app.refusing:
            self._call_back(self._unpark)
            return
        self._parked = None
        response, headers = answer = parked.finish()
        if response.size >= RECEIVE_BYTES:
            self._call_back(partial(self._deliver, parked, answer))
            return
        assert self._direct is not None
        self._refused, self._started = False, True
        try:
            sent = self._direct.send_now(self._head(parked.incoming, response, headers, keep=True) + response.body)
        except trio.BusyResourceError:  # it is broken: whoever sends next is told how
            sent = False
        if sent:
            self._serving = False
            self._set_patience()
        else:
            self._call_back(self._send_left)

    def _call_back(self, rest: Callable[[], Awaitable[bool]]) -> None:
        self._rest = rest
        self._scope.cancel()

    async def _unpark(self) -> bool:
        """Serves the parked request in this task, which reads the store for it."""
        parked, self._parked = self._parked, None
        assert parked is not None
        return await self._deliver(parked, await going_on(parked.answering, parked.freshness))

    async def _deliver(self, parked: Parked, answer: Answer) -> bool:
        """Sends the answer in this task."""
        response, headers = answer
        if response.size > compression.MIN_BYTES:
            await compression.compress(parked.request, response)
        keep = await self._sending(parked.incoming, response, headers)
        self._serving = False
        return keep

    async def _send_left(self) -> bool:
        """Sends what the socket did not take at once."""
        await self._stream.send_all(b"")
        self._serving = False
        return True

    async def _read_body(self, incoming: Incoming) -> bytes:
        if incoming.expects_continue and not incoming.complete and not incoming.too_large:
            await self._stream.send_all(wire.CONTINUE)
        incoming.expects_continue = False
        while not incoming.complete and not incoming.too_large:
            if self._parser.failure is not None or not await self._receive():
                raise BodyError
        if incoming.too_large:
            raise status.request_entity_too_large(MAX_BODY_BYTES)
        return b"".join(incoming.body) if len(incoming.body) != 1 else incoming.body[0]

    # ------------------------------------------------------------------ answers

    @staticmethod
    def _head(incoming: Incoming, response: Response, headers: Headers, *, keep: bool) -> bytes:
        framing = b"" if response.status in wire.BODYLESS else b"Content-Length: %d\r\n" % response.size
        if not keep:
            framing += CLOSE
        elif incoming.version == "1.0":
            framing += b"Connection: keep-alive\r\n"
        return wire.head(response, headers, framing)

    async def _send(self, incoming: Incoming, response: Response, headers: Headers, *, keep: bool) -> bool:
        unread = not incoming.complete
        keep = keep and not unread
        head = self._head(incoming, response, headers, keep=keep)
        self._started = True
        if incoming.method == "HEAD" or response.status in wire.BODYLESS:
            await self._stream.send_all(head)
        elif response.size < RECEIVE_BYTES:
            data, direct = head + response.body, self._direct
            if direct is None:
                await self._stream.send_all(data)
            elif not direct.send_now(data):  # which nearly always takes it all
                await direct.send_all(b"")
        else:
            await self._stream.send_all(head)
            for piece in response.in_pieces():
                await turn_to_send()
                await self._stream.send_all(piece)
        if unread:
            await self._linger()
        return keep

    async def _send_stream(self, stream: Stream, head: bytes, *, chunked: bool, keep: bool) -> bool:
        """Sends parts as they are made; False when the end shows by closing. Cancelled when the peer goes away."""
        self._started = True
        self._end_at(inf)
        self._parser.rest()
        arrivals, secure, framed = self._arrivals, self._direct, wire.chunk if chunked else b"".join
        fd = -1 if arrivals is None or secure is None else secure.socket.fileno()
        try:
            await self._stream.send_all(head)
            del head
            stream.bind(self._scope, Sender("chunk", framed, secure.send_now) if chunked and secure else None)
            if arrivals is not None and fd >= 0:
                arrivals.watch(fd, self._take_early)
            async with aclosing(stream.batches()) as batches:
                async for batch in batches:
                    await self._stream.send_all(framed(batch))
        finally:
            if arrivals is not None and fd >= 0:
                arrivals.forget(fd)
            stream.close()
        self._end_at(inf)  # the stream may have moved it
        if chunked:
            await self._stream.send_all(b"0\r\n\r\n")
        return keep

    async def _send_websocket(self, incoming: Incoming, stream: Stream) -> bool:
        """Sends a stream as the client's upgrade asks; always False, for the connection ends with it."""
        self._started = True
        self._end_at(inf)
        try:
            head = websocket.accept(incoming.headers)
            await self._stream.send_all(head)
            await websocket.WebSocketSender(self._stream, self._parser.upgraded or b"").send(stream)
        except websocket.HandshakeError as error:
            await self._stream.send_all(error.answer)
        finally:
            stream.close()
        return False

    def _take_early(self) -> bool:
        """What has come while a stream is sent. An end, an error or too much ends the stream, and with it all."""
        assert self._direct is not None
        try:
            data = self._direct.receive_now()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("the peer of a stream went away")
            data = b""
        if data:
            self._early += data
        if data == b"" or len(self._early) > MAX_EARLY_BYTES:
            self._scope.cancel()
            return False
        return True

    async def _linger(self) -> None:
        """Lets the peer read our last words: takes in, for a moment, what it is still sending."""
        self._end_at(inf)
        self._serving = False
        if isinstance(self._stream, trio.SocketStream):
            await self._stream.send_eof()
        taken = 0
        with trio.move_on_after(LINGER_SECONDS):
            while taken < LINGER_BYTES:
                data = await self._stream.receive_some(RECEIVE_BYTES)
                if not data:
                    return
                taken += len(data)


def _absolute_path(target: str) -> str:
    """The path of a target in absolute form (``http://host/path``); "*" and the like name nothing."""
    _, found, rest = target.partition("://")
    return "/" + rest.partition("/")[2] if found else "/" + target
