"""Which member to ask, and what may be asked again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import trio

from kvraft.channel import Closed, dial, split_url
from kvraft.client.auth import NOT_LOGGED_IN, Login
from kvraft.client.connection import Connection
from kvraft.client.native import NativeWire
from kvraft.errors import DeadlineExceeded, KvraftError, NotLeader, OutcomeUnknown, Unavailable
from kvraft.types import Response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from kvraft.client.connection import Then, WireOf
    from kvraft.wire import native

T = TypeVar("T", bound=Response)

FIRST_BACKOFF_SECONDS = 0.01
MAX_BACKOFF_SECONDS = 0.2
MAX_DIAL_SECONDS = 3.0


class Patience(NamedTuple):
    """How long members are waited for, in seconds.

    One has ``dial_seconds`` to take a connection. One that has been silent for ``silence_seconds`` is asked whether
    it is there, and has ``answer_seconds`` for that; without them it goes by the timeout of operations.
    """

    dial_seconds: float = MAX_DIAL_SECONDS
    silence_seconds: float | None = None
    answer_seconds: float | None = None


DEFAULT_PATIENCE = Patience()


class Failover:
    """Connections to the members of one store, and the rules by which a request goes to one after the other."""

    def __init__(
        self,
        endpoints: Sequence[str],
        tls: ssl.SSLContext | None,
        timeout_seconds: float,
        max_request_bytes: int,
        nursery: trio.Nursery,
        login: Login | None = None,
        patience: Patience = DEFAULT_PATIENCE,
        wire: WireOf = NativeWire,
    ) -> None:
        if not endpoints:
            raise ValueError("endpoints: at least one is required")
        for url in endpoints:
            split_url(url)
        self.endpoints = tuple(url.rstrip("/") for url in endpoints)
        self._tls = tls
        self.timeout_seconds = timeout_seconds
        self._max_request_bytes = max_request_bytes
        self._nursery = nursery
        self._login = login
        self._patience = patience
        self._wire = wire
        self._connections: dict[str, Connection] = {}
        self._current: Connection | None = None  # where writes and linearizable reads go
        self._preferred = self.endpoints[0]
        self._dialing = trio.Lock()
        self._time = trio.lowlevel.current_clock().current_time

    # ------------------------------------------------------------------ which member

    @property
    def answering(self) -> str:
        """The URL of the member that is asked now: the one that has answered last, if it still can."""
        return self._current.url if self._current is not None else self._preferred

    def start_soon(self, run: Callable[[], Awaitable[object]]) -> None:
        """Run something in the background for as long as the client is open. It must not raise."""
        self._nursery.start_soon(run)

    async def any_connection(self) -> Connection:
        """A live connection to some member, the preferred one if it answers. Raises ``Unavailable``."""
        if self._current is not None and self._current.alive:
            return self._current
        async with self._dialing:
            if self._current is not None and self._current.alive:
                return self._current
            if self._current is not None:
                self.turn_away(self._current)  # a member that has ended it is likely to be going
            reasons = []
            start = self.endpoints.index(self._preferred) if self._preferred in self.endpoints else -1
            others = (*self.endpoints[start + 1 :], *self.endpoints[: max(start, 0)])
            for url in (self._preferred, *others):
                try:
                    self._current = await self._open(url)
                except Unavailable as error:
                    reasons.append(str(error))
                else:
                    self._preferred = url
                    return self._current
            raise Unavailable(f"no member can be reached: {'; '.join(reasons)}")

    async def _connection(self, url: str) -> Connection:
        if self._current is not None and self._current.url == url and self._current.alive:
            return self._current
        async with self._dialing:
            return await self._open(url)

    async def _open(self, url: str) -> Connection:
        known = self._connections.get(url)
        if known is not None and known.alive:
            return known
        try:
            channel = await dial(url, self._tls, min(self.timeout_seconds, self._patience.dial_seconds))
        except (OSError, Closed) as error:
            raise Unavailable(f"{url}: {error}") from error
        silence = self._patience.silence_seconds, self._patience.answer_seconds
        connection = Connection(url, channel, self._wire, self.timeout_seconds, self._max_request_bytes, *silence)
        if self._login is not None and self._login.token:
            connection.bear(self._login.token)
        self._connections[url] = connection
        self._nursery.start_soon(connection.run)
        return connection

    def turn_away(self, connection: Connection | None, leader: str = "") -> None:
        """Ask somebody else next time: the leader, or the next member."""
        if connection is not None and connection is not self._current:
            return  # another task already did
        self._current = None
        if leader:
            self._preferred = leader
            return
        at = self.endpoints.index(self._preferred) if self._preferred in self.endpoints else -1
        self._preferred = self.endpoints[(at + 1) % len(self.endpoints)]

    # ------------------------------------------------------------------ on whose behalf

    @property
    def token(self) -> str:
        """What was last got for the user's password; "" for nothing."""
        return self._login.token if self._login is not None else ""

    async def log_in(self, refused: KvraftError, used: str, deadline: float) -> bool:
        """Get a token after a member has ``refused`` what came with the token ``used``.

        False when that is not why it refused, or there is no user to be. Raises what keeps us from a token.
        """
        if self._login is None or not isinstance(refused, NOT_LOGGED_IN):
            return False
        ask = partial(self._persist, deadline=deadline, repeatable=True)
        return await self._login.renew(used, ask, self._connections.values())

    # ------------------------------------------------------------------ what may be asked again

    def _write(self, request: native.Request, kind: type[T]) -> Coroutine[Any, Any, T]:
        return self._call(request, kind, repeatable=False)

    def _read(self, request: native.Request, kind: type[T]) -> Coroutine[Any, Any, T]:
        return self._call(request, kind, repeatable=True)

    async def _call(self, request: native.Request, kind: type[T], *, repeatable: bool) -> T:
        deadline = self._time() + self.timeout_seconds
        current, token = self._current, "" if self._login is None else self._login.token
        try:
            if current is not None and current.alive:
                # What ``Connection.call`` does, without a coroutine for it: nearly every request goes this way.
                try:
                    answer = await current.begin(request, deadline).wait()
                    return answer if type(answer) is kind else self._expect(answer, kind)
                except (Unavailable, OutcomeUnknown) as error:
                    # Whatever becomes of this one, whoever asks next had better ask elsewhere.
                    self.turn_away(current, error.leader if isinstance(error, NotLeader) else "")
                    if not (error.definite or repeatable):
                        raise
            return self._expect(await self._persist(request, deadline, repeatable=repeatable), kind)
        except NOT_LOGGED_IN as error:
            if not await self.log_in(error, token, deadline):
                raise
        return self._expect(await self._persist(request, deadline, repeatable=repeatable), kind)

    async def _ask(
        self, endpoint: str, request: native.Request, kind: type[T], timeout_seconds: float | None = None
    ) -> T:
        """Ask this one member, once."""
        deadline = trio.current_time() + (timeout_seconds or self.timeout_seconds)
        connection, token = await self._connection(endpoint.rstrip("/")), self.token
        try:
            return self._expect(await connection.call(request, deadline), kind)
        except NOT_LOGGED_IN as error:
            if not await self.log_in(error, token, deadline):
                raise
        return self._expect(await connection.call(request, deadline), kind)

    # ------------------------------------------------------------------ members

    def ask(self, request: native.Request, seconds: float, then: Then) -> bool:
        """Ask whoever is asked now, once and without a task: ``then`` is called later, with the answer or an error.

        It must not raise. False: there is nobody to ask at the moment, and it is not called.
        """
        current = self._current
        if current is None:
            return False
        try:
            current.begin(request, self._time() + seconds, then)
        except KvraftError:  # the connection has ended
            return False
        return True

    async def repeatable(self, request: native.Request, kind: type[T]) -> T:
        """Ask something that does no harm when it is done twice, until there is an answer or the time is over."""
        return await self._read(request, kind)

    async def _persist(self, request: native.Request, deadline: float, *, repeatable: bool) -> Response:
        """Ask member after member until one answers, the outcome is unknown, or the time is over."""
        backoff = FIRST_BACKOFF_SECONDS
        followed = ""
        failure: KvraftError = DeadlineExceeded() if repeatable else Unavailable("no member was reached in time")
        connection: Connection | None = None
        with trio.move_on_at(deadline):
            while True:
                connection = None
                try:
                    connection = await self.any_connection()
                    if not repeatable:
                        failure = DeadlineExceeded()  # should time run out during the call
                    return await connection.call(request, deadline)
                except (Unavailable, OutcomeUnknown) as error:
                    failure = error
                    leader = error.leader if isinstance(error, NotLeader) else ""
                    self.turn_away(connection, leader)
                    if not (error.definite or repeatable):
                        raise
                if not leader or leader == followed:  # nobody leads, or the one who is said to does not answer
                    await trio.sleep(backoff)
                    backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                followed = leader
        if connection is not None:
            self.turn_away(connection)
        raise failure

    @staticmethod
    def _expect(answer: Response, kind: type[T]) -> T:
        if not isinstance(answer, kind):
            raise OutcomeUnknown(f"a {type(answer).__name__} came where a {kind.__name__} was due")
        return answer
