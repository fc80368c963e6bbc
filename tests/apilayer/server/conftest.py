"""A real server over a real member on loopback, and a plain HTTP/1.1 client for it."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import httptools
import orjson
import pytest
import trio

from apilayer.server.options import ServerOptions
from apilayer.server.run import run_apiserver
from tests.apilayer.authority import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    authority.leaf("server", server=True)
    authority.leaf("admin", "system:masters")
    authority.leaf("bob", "devs")
    (folder / "tokens.csv").write_text('secret,admin,1,"system:masters"\nplain,bob,2,devs\n')
    return folder


@attrs.frozen
class Answer:
    """A response as it came; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Client:
    """One HTTP/1.1 connection over any stream."""

    def __init__(self, stream: trio.abc.Stream, token: str = "secret") -> None:
        self.stream = stream
        self.token = token
        self._early = b""

    def encode(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: test"]
        if self.token:
            lines.append(f"Authorization: Bearer {self.token}")
        if body is not None and "Transfer-Encoding" not in headers and "Content-Length" not in headers:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b"")

    async def request(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Sends a request (header names with _ for -) and reads its answer."""
        if body is not None and not isinstance(body, bytes):
            body = orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.stream.send_all(self.encode(method, path, body, named))
        return await self.answer(bodyless=method == "HEAD")

    async def answer(self, *, bodyless: bool = False) -> Answer:
        """Reads the next final response. Raises EOFError when the connection ends instead."""
        while True:
            head = await self._until(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            code = int(lines[0].split(" ")[1])
            headers: dict[str, str] = {}
            for line in filter(None, lines[1:]):
                name, _, value = line.partition(": ")
                key = name.lower()
                headers[key] = f"{headers[key]}\n{value}" if key in headers else value
            if code != 100:
                break
        body = b""
        if not bodyless and code not in (204, 304):
            assert "content-length" in headers, headers
            body = await self._exactly(int(headers["content-length"]))
        return Answer(code, headers, body)

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self._early:
            await self._receive()
        found, _, self._early = self._early.partition(mark)
        return found

    async def _exactly(self, size: int) -> bytes:
        parts, have = [self._early], len(self._early)
        while have < size:
            self._early = b""
            await self._receive()
            parts.append(self._early)
            have += len(self._early)
        whole = b"".join(parts)
        self._early = whole[size:]
        return whole[:size]

    async def _receive(self) -> None:
        with trio.fail_after(10):
            data = await self.stream.receive_some(262144)
        if not data:
            raise EOFError
        self._early += data

    async def watch(self, path: str, **headers: str) -> Watching:
        """Starts a watch and reads its head."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await self.stream.send_all(self.encode("GET", path, None, named))
        watching = Watching(self.stream)
        await watching.start()
        return watching

    async def closed(self) -> bool:
        """Whether the server ends the connection, whatever it still sends before."""
        with trio.fail_after(5):
            try:
                while await self.stream.receive_some(65536):
                    pass
            except trio.BrokenResourceError:
                return True
        return True


class _Collected:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body: list[bytes] = []
        self.head_complete = False
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        key, text = name.decode().lower(), value.decode()
        self.headers[key] = f"{self.headers[key]}\n{text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_body(self, body: bytes) -> None:
        self.body.append(body)

    def on_message_complete(self) -> None:
        self.complete = True


class Watching:
    """A watch that is being read."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._collected = _Collected()
        self._parser = httptools.HttpResponseParser(self._collected)
        self.status = 0
        self._text = b""

    async def start(self) -> None:
        while not self._collected.head_complete:
            await self._more()
        self.status = self._parser.get_status_code()
        self.headers = self._collected.headers

    async def _more(self) -> None:
        data = await self._stream.receive_some(65536)
        if not data:
            raise EOFError
        self._parser.feed_data(data)
        self._text += b"".join(self._collected.body)
        self._collected.body.clear()

    async def exactly(self, size: int) -> bytes:
        """The next bytes of the stream."""
        with trio.fail_after(5):
            while len(self._text) < size:
                await self._more()
        data, self._text = self._text[:size], self._text[size:]
        return data

    async def event(self) -> Any:
        """The next event, None once the watch has ended as it should. Raises EOFError when it breaks off."""
        with trio.fail_after(5):
            while b"\n" not in self._text:
                if self._collected.complete:
                    assert not self._text
                    return None
                await self._more()
        line, _, self._text = self._text.partition(b"\n")
        return orjson.loads(line)

    async def events(self, count: int) -> list[tuple[str, str]]:
        """The next events as (type, name)."""
        found = []
        for _ in range(count):
            event = await self.event()
            found.append((event["type"], event["object"]["metadata"]["name"]))
        return found


class Server:
    """A running server: how to connect to it, and how to stop it."""

    def __init__(self, port: int, certificates: Path, member: Member, nursery: trio.Nursery) -> None:
        self.port = port
        self.certificates = certificates
        self.member = member
        self.nursery = nursery
        self.stop = trio.Event()

    def context(self, certificate: str = "", alpn: list[str] | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.certificates / "ca.crt"))
        if certificate:
            context.load_cert_chain(
                str(self.certificates / f"{certificate}.crt"), str(self.certificates / f"{certificate}.key")
            )
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    async def stream(self, certificate: str = "", alpn: list[str] | None = None) -> trio.SSLStream[trio.SocketStream]:
        tcp = await trio.open_tcp_stream("127.0.0.1", self.port)
        stream = trio.SSLStream(
            tcp, self.context(certificate, alpn), server_hostname="127.0.0.1", https_compatible=True
        )
        await stream.do_handshake()
        return stream

    @asynccontextmanager
    async def connect(self, token: str = "secret", certificate: str = "") -> AsyncIterator[Client]:
        stream = await self.stream(certificate)
        try:
            yield Client(stream, token)
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def running_server(certificates: Path, member: Member, **options: Any) -> AsyncIterator[Server]:
    """A server over the member, with kube-apiserver's defaults where `options` says nothing else.

    Without controllers and the objects of flow control, so that nobody but the test writes, and without the service
    accounts that one of them makes.
    """
    usual = {
        "tls_cert_file": certificates / "server.crt",
        "tls_private_key_file": certificates / "server.key",
        "client_ca_file": certificates / "ca.crt",
        "token_auth_file": certificates / "tokens.csv",
        "controllers": "",
        "disable_admission_plugins": ("ServiceAccount",),
        "enable_priority_and_fairness": False,
        "storage_backend": "kvraft",
    }
    chosen = ServerOptions(
        etcd_servers=list(member.client_urls), bind_address="127.0.0.1", secure_port=0, **(usual | options)
    )
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        started = await nursery.start(partial(run_apiserver, chosen, stop=stop))
        server = Server(started.port, certificates, member, nursery)
        server.stop = stop
        yield server
        nursery.cancel_scope.cancel()


@pytest.fixture
async def server(certificates: Path, member: Member) -> AsyncIterator[Server]:
    async with running_server(certificates, member) as running:
        yield running


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with server.connect() as connected:
        yield connected


@pytest.fixture
def start_server(certificates: Path, member: Member) -> Any:
    """Starts further servers over the same store: ``async with start_server(**options) as server``."""
    return partial(running_server, certificates, member)
