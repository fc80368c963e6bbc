"""A lean HTTP/1.1 client over TLS with keep-alive, for loads: one request in flight on each connection."""

from __future__ import annotations

import base64
import ssl
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kvraft.channel import Channel, dial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


DIAL_SECONDS = 30.0


class HttpConnection:
    """One connection to the API server."""

    def __init__(self, channel: Channel, host: str, token: str = "") -> None:
        self._channel = channel
        self._host = host
        self._always = f"Authorization: Bearer {token}\r\n" if token else ""
        self.first_byte_at = 0.0
        """When the last answer began, by ``time.perf_counter``."""

    async def send(self, method: str, path: str, body: bytes = b"", media: str = "application/json") -> None:
        """Ask, without waiting for the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAccept: application/json\r\n{self._always}"
        if body:
            head += f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
        await self._channel.send(head.encode() + b"\r\n" + body)

    async def receive(self) -> bytes:
        """Some of what comes, as it comes."""
        return await self._more()

    async def request(
        self, method: str, path: str, body: bytes = b"", media: str = "application/json"
    ) -> tuple[int, bytes]:
        """Status and body of the answer."""
        await self.send(method, path, body, media)
        data = await self._more()
        self.first_byte_at = time.perf_counter()
        while b"\r\n\r\n" not in data:
            data += await self._more()
        headers, _, rest = data.partition(b"\r\n\r\n")
        status = int(headers[9:12])
        lowered = headers.lower()
        if b"transfer-encoding: chunked" in lowered:
            return status, await self._chunks(rest)
        length = int(lowered.split(b"content-length:")[1].split(b"\r\n")[0])
        parts, size = [rest], len(rest)
        while size < length:
            parts.append(await self._more())
            size += len(parts[-1])
        return status, b"".join(parts)

    async def _chunks(self, data: bytes) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in data:
                data += await self._more()
            size, _, data = data.partition(b"\r\n")
            end = int(size, 16)
            while len(data) < end + 2:
                data += await self._more()
            body, data = body + data[:end], data[end + 2 :]
            if not end:
                return body

    async def _more(self) -> bytes:
        data = await self._channel.receive()
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def read_kubeconfig(path: Path, *, anonymous: bool = False) -> tuple[str, ssl.SSLContext]:
    """The server's URL and a TLS context with the client certificate, unless it is to be nobody's."""
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    if anonymous:
        return cluster["server"], context
    with tempfile.TemporaryDirectory() as directory:
        pair = Path(directory) / "pair.pem"
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        context.load_cert_chain(pair)
    return cluster["server"], context


@asynccontextmanager
async def open_http(url: str, context: ssl.SSLContext, token: str = "") -> AsyncIterator[HttpConnection]:
    """A connection to the API server at ``url``, in the name of whom the token stands for, if there is one."""
    channel = await dial(url, context, DIAL_SECONDS)
    try:
        yield HttpConnection(channel, url.removeprefix("https://"), token)
    finally:
        channel.close()
