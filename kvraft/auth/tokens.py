"""Simple tokens: random names for users who have authenticated, known by this member's memory alone.

A token is ``secret.index``: the secret is random, and ``index`` is the log entry from which every member knows it. The
log carries the secret's digest, never the secret: who reads a log or a snapshot cannot act as anybody. A member that
has not applied ``index`` yet waits; one that started afterwards does not know the token, and its owner authenticates
again, as with etcd.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET_BYTES = 24
MAX_TOKENS = 100_000
"""Past it the token that would have ended first ends."""
MAX_TOKEN_CHARACTERS = 128
"""A longer one is not ours."""


def new_secret() -> str:
    """The random part of a token."""
    return secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> bytes:
    """What may be written down of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def join(secret: str, index: int) -> str:
    """The token."""
    return f"{secret}.{index}"


def index_of(token: str) -> int | None:
    """The log entry that made ``token`` known; None when it is no simple token."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        return None
    _, dot, index = token.partition(".")
    return int(index) if dot and index.isascii() and index.isdigit() else None


class SimpleTokens:
    """Digests of tokens to users. A token ends ``ttl_seconds`` after its last use here, by ``clock``."""

    def __init__(self, ttl_seconds: float, clock: Callable[[], float]) -> None:
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._known: dict[bytes, tuple[str, float]] = {}  # digest -> user, end; in the order of their ends
        self._of_user: dict[str, set[bytes]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def assign(self, token_digest: bytes, user: str) -> None:
        """Make the token known as ``user``'s."""
        self._sweep()
        if len(self._known) >= MAX_TOKENS:
            self._drop(next(iter(self._known)))
        self._known.pop(token_digest, None)  # an entry may be applied again after a restart
        self._known[token_digest] = (user, self._clock() + self._ttl_seconds)
        self._of_user.setdefault(user, set()).add(token_digest)

    def user_of(self, token: str) -> str | None:
        """Whose it is; it lives on. None for what is unknown, or has ended."""
        if index_of(token) is None:
            return None
        token_digest = digest(token.partition(".")[0])
        self._sweep()
        found = self._known.pop(token_digest, None)
        if found is None:
            return None
        self._known[token_digest] = (found[0], self._clock() + self._ttl_seconds)
        return found[0]

    def invalidate(self, user: str) -> None:
        """End every token of ``user``."""
        for token_digest in self._of_user.pop(user, ()):
            del self._known[token_digest]

    def clear(self) -> None:
        """End every token."""
        self._known.clear()
        self._of_user.clear()

    def _sweep(self) -> None:
        now = self._clock()
        while self._known:
            token_digest, (_, end) = next(iter(self._known.items()))
            if end > now:
                return
            self._drop(token_digest)

    def _drop(self, token_digest: bytes) -> None:
        user, _ = self._known.pop(token_digest)
        others = self._of_user[user]
        others.discard(token_digest)
        if not others:
            del self._of_user[user]
