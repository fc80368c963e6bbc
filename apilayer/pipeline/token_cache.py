"""Remembers for a while what a way of authentication that is dear to ask has said of a token. Bounded."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import trio

from apilayer.pipeline.authentication import InvalidToken, NotOurs, TokenUser, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.pipeline.authentication import TokenWay

MAX_REMEMBERED = 4096


class _Asking:
    """Somebody is asking: when he knows, and what he was told if it was not who the token names."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.error: NotOurs | InvalidToken | None = None


class TokenCache:
    """Asks `way` once for each token and its audiences; what went wrong is not remembered, for it may go well next.

    Who asks for a token that is being asked about waits for that answer.
    """

    def __init__(self, way: TokenWay, success_seconds: float, unknown_seconds: float = 0.0) -> None:
        self._way = way
        self._seconds = (success_seconds, unknown_seconds)
        self._known: OrderedDict[bytes, tuple[float, TokenUser | None]] = OrderedDict()
        self._asking: dict[bytes, _Asking] = {}

    async def authenticate(self, token: str, audiences: Sequence[str] = ()) -> TokenUser:
        """See `TokenWay`."""
        key = digest("\0".join((token, *audiences)))
        while True:
            until, found = self._known.get(key, (0.0, None))
            if until > trio.current_time():
                self._known.move_to_end(key)
                if found is None:
                    raise NotOurs("not known a moment ago")
                return found
            asking = self._asking.get(key)
            if asking is None:
                return await self._ask(key, token, audiences)
            await asking.done.wait()
            if asking.error is not None:
                raise type(asking.error)(str(asking.error))

    async def _ask(self, key: bytes, token: str, audiences: Sequence[str]) -> TokenUser:
        asking = self._asking[key] = _Asking()
        try:
            found = await self._way.authenticate(token, audiences)
        except (NotOurs, InvalidToken) as error:
            asking.error = error
            if isinstance(error, NotOurs):
                self._remember(key, None, self._seconds[1])
            raise
        finally:
            del self._asking[key]
            asking.done.set()
        self._remember(key, found, self._seconds[0])
        return found

    def _remember(self, key: bytes, found: TokenUser | None, seconds: float) -> None:
        if seconds <= 0:
            return
        self._known[key] = (trio.current_time() + seconds, found)
        self._known.move_to_end(key)
        if len(self._known) > MAX_REMEMBERED:
            self._known.popitem(last=False)
