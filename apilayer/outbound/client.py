"""One HTTPS client per target: connections kept, answers bounded, every request with its time limit."""

from __future__ import annotations

import base64
import os
import ssl
from contextlib import suppress
from math import inf
from socket import SHUT_RDWR
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
import trio

from apilayer.outbound.target import MAX_SECRET_BYTES, client_context

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import httpcore

    from apilayer.outbound.target import Target

MAX_ANSWER_BYTES = 1024 * 1024
MAX_CONNECTIONS = 16
"""To one target; further requests wait for one, within their time."""
IDLE_SECONDS = 90.0
TOKEN_FILE_SECONDS = 60.0
"""So long a token of a file is used before it is read again."""
USER_AGENT = "kube-apiserver/v1.36.2 (kvraft)"


class OutboundError(Exception):
    """No answer; says which request and why, never what was sent."""


class CannotConnect(OutboundError):
    """Nobody was reached, or not who was meant: the request was not sent."""


class ConnectionLost(OutboundError):
    """The connection broke before the answer was complete; whether the request was handled is not known."""


class TooSlow(OutboundError):
    """No complete answer within the time limit."""


class AnswerTooLarge(OutboundError):
    """More came than is taken."""


@attrs.frozen
class Answer:
    """A complete answer; header names in lower case, of repeated ones the last."""

    status: int
    headers: Mapping[str, str]
    body: bytes = attrs.field(repr=False)


class Client:
    """Sends requests to one target. Close it at the end (``async with``)."""

    def __init__(
        self, target: Target, *, timeout_seconds: float = 30.0, max_answer_bytes: int = MAX_ANSWER_BYTES
    ) -> None:
        """Raises TargetError when the target's certificates cannot be used."""
        self.target = target
        self.timeout_seconds = timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._context = client_context(target) if target.secure else None
        self._pool: httpcore.AsyncConnectionPool | None = None
        parts = urlsplit(target.url)
        self._base = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path.rstrip("/")
        self._host = parts.netloc
        self._token = target.token
        self._token_until = -inf

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections. A later request opens new ones."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.aclose()

    async def send(
        self, method: str, path: str = "", body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
    ) -> Answer:
        """The answer to a request for `path` (with its query) below the target's URL. Redirects are not followed.

        Raises OutboundError.
        """
        prefix = self._path or ("" if path.startswith("/") else "/")
        url = f"{self._base}{prefix}{path}"
        shown = f'{method.capitalize()} "{url}"'
        with trio.move_on_after(self.timeout_seconds):
            return await self._sent(shown, method, url, body, headers)
        raise TooSlow(f"{shown}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)")

    async def _sent(self, shown: str, method: str, url: str, body: bytes, headers: Sequence[tuple[str, str]]) -> Answer:
        import httpcore

        sent = [("Host", self._host), ("User-Agent", USER_AGENT), *headers, *self._credentials()]
        if body:
            sent.append(("Content-Length", str(len(body))))
        extensions = {"sni_hostname": self.target.server_name} if self.target.server_name else {}
        try:
            async with self._connections().stream(
                method, url, headers=sent, content=body, extensions=extensions
            ) as response:
                return Answer(response.status, _named(response.headers), await self._whole(shown, response))
        except httpcore.ConnectError as error:
            raise CannotConnect(f"{shown}: {_reason(error)}") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise ConnectionLost(f"{shown}: {_reason(error)}") from error

    async def _whole(self, shown: str, response: httpcore.Response) -> bytes:
        import httpcore

        parts: list[bytes] = []
        size, cut = 0, False
        try:
            async for part in response.aiter_stream():
                size += len(part)
                if size <= self._max_answer_bytes:
                    parts.append(part)
                elif not cut:
                    # The library's generators end by an end of the connection, not by being left.
                    cut = True
                    parts.clear()
                    with suppress(OSError):
                        response.extensions["network_stream"].get_extra_info("socket").shutdown(SHUT_RDWR)
        except (httpcore.NetworkError, httpcore.ProtocolError):
            if size <= self._max_answer_bytes:
                raise
        if size > self._max_answer_bytes:
            raise AnswerTooLarge(f"{shown}: the answer is larger than {self._max_answer_bytes} bytes")
        return b"".join(parts)

    def _connections(self) -> httpcore.AsyncConnectionPool:
        if self._pool is None:
            import httpcore

            self._pool = httpcore.AsyncConnectionPool(
                ssl_context=self._context,
                max_connections=MAX_CONNECTIONS,
                keepalive_expiry=IDLE_SECONDS,
                network_backend=httpcore.TrioBackend(),
            )
        return self._pool

    def _credentials(self) -> list[tuple[str, str]]:
        target = self.target
        if target.token_file is not None and trio.current_time() >= self._token_until:
            self._read_token(target.token_file)
        if self._token:
            return [("Authorization", f"Bearer {self._token}")]
        if target.basic is not None:
            encoded = base64.b64encode(":".join(target.basic).encode()).decode()
            return [("Authorization", f"Basic {encoded}")]
        return []

    def _read_token(self, path: object) -> None:
        """A former token goes on being used while the file cannot be read. Raises CannotConnect without one."""
        try:
            with open(str(path), "rb") as file:
                token = file.read(MAX_SECRET_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            if not self._token:
                raise CannotConnect(f"{path}: the token cannot be read") from error
            return
        if token.isprintable() and token:
            self._token = token
            self._token_until = trio.current_time() + TOKEN_FILE_SECONDS


def _named(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _reason(error: BaseException) -> str:
    """What lies at the bottom of an error of the network, in a line."""
    cause = error
    while (deeper := _deeper(cause)) is not None:
        cause = deeper
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {cause.verify_message}"
    if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, ssl.SSLError):
        # The event loop adds the address to the system's words; the URL says it already.
        return os.strerror(cause.errno).lower() if cause.errno else cause.strerror
    return str(cause) or type(cause).__name__


def _deeper(error: BaseException) -> BaseException | None:
    """What the error wraps: the HTTP library keeps that as its argument, the event loop as a group of causes."""
    inner = error.args[0] if error.args else None
    if isinstance(inner, BaseException):
        return inner
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]
    return error.__cause__
