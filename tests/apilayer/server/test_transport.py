"""Which TLS is spoken, with whose certificate; slow and greedy clients; how a server ends."""

from __future__ import annotations

import contextlib
import ssl
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hyperframe.frame import DataFrame, Frame, GoAwayFrame
from trio.testing import MockClock, wait_all_tasks_blocked

from apilayer.server import h2 as server_h2
from apilayer.server.errors import OptionsError
from apilayer.server.h1 import H1Connection
from apilayer.server.h2 import H2Connection
from apilayer.server.shutdown import drain, is_probe
from apilayer.server.tls_policy import ALWAYS_ON, chosen_for, read_policy
from tests.apilayer.in_process import serving
from tests.apilayer.server.conftest import Authority, Client
from tests.apilayer.server.test_h2 import H2Client, opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.apilayer.in_process import Server

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@attrs.frozen
class Flags:
    tls_min_version: str = ""
    tls_cipher_suites: tuple[str, ...] = ()
    tls_sni_cert_key: tuple[str, ...] = ()
    shutdown_delay_duration: float = 0.0
    shutdown_send_retry_after: bool = False
    shutdown_watch_termination_grace_period: float = 0.0


# ---------------------------------------------------------------------- TLS


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (Flags(tls_min_version="VersionTLS10"), "--tls-min-version: 'VersionTLS10' is too old"),
        (Flags(tls_min_version="TLS1.2"), "--tls-min-version: unknown tls version 'TLS1.2'"),
        (Flags(tls_cipher_suites=("TLS_RSA_WITH_AES_128_CBC_SHA",)), "TLS_RSA_WITH_AES_128_CBC_SHA not supported"),
        (Flags(tls_sni_cert_key=("only",)), "expected comma separated certificate and key file paths"),
        (Flags(tls_sni_cert_key=("a,b:x.*.y",)), "'x.*.y' is no domain pattern"),
        (Flags(tls_sni_cert_key=("a,b:",)), ""),
    ],
)
def test_flags_that_cannot_be_used(flags: Flags, told: str) -> None:
    if told:
        with pytest.raises(OptionsError, match=r"^--tls") as raised:
            read_policy(flags)
        assert told in str(raised.value)
    else:
        assert read_policy(flags).named[0].patterns == ()


def test_ciphers() -> None:
    assert read_policy(Flags()).minimum == ssl.TLSVersion.TLSv1_2
    two = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", ALWAYS_ON[0])
    assert read_policy(Flags(tls_cipher_suites=two)).ciphers == (
        "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305"
    )
    assert read_policy(Flags(tls_cipher_suites=ALWAYS_ON[:1])).minimum == ssl.TLSVersion.TLSv1_3


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        *(("a.example", 1), ("A.EXAMPLE.", 1), ("b.example", 2), ("x.b.example", 3), ("x.y.b.example", None)),
        *(("example", None), ("", None), (None, None)),
    ],
)
def test_which_certificate_a_name_gets(name: str | None, chosen: int | None) -> None:
    assert chosen_for(name, {"a.example": 1, "*.example": 2, "*.b.example": 3}) == chosen


async def handshake(server: Any, context: ssl.SSLContext, name: str = "127.0.0.1") -> trio.SSLStream[Any]:
    tcp = await trio.open_tcp_stream("127.0.0.1", server.port)
    stream = trio.SSLStream(tcp, context, server_hostname=name, https_compatible=True)
    try:
        await stream.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(tcp)
        raise
    return stream


async def test_versions_and_ciphers_on_the_wire(start_server) -> None:
    async with start_server() as server:
        context = server.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        stream = await handshake(server, context)
        assert stream.version() == "TLSv1.2"
        await trio.aclose_forcefully(stream)
        context.set_ciphers("ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA256")
        with pytest.raises(trio.BrokenResourceError):
            await handshake(server, context)
    async with start_server(tls_min_version="VersionTLS13") as server:
        context = server.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(trio.BrokenResourceError):
            await handshake(server, context)
        async with server.connect() as client:
            assert (await client.request("GET", "/livez")).status == 200


async def test_certificates_by_name(start_server, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for name in ("one", "two"):
        authority.leaf(name, server=True)
    named = (
        f"{tmp_path}/one.crt,{tmp_path}/one.key:*.one.example,one.example",
        f"{tmp_path}/two.crt,{tmp_path}/two.key:two",
    )

    async def shown(server: Any, name: str) -> str:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        stream = await handshake(server, context, name)
        encoded = stream.getpeercert(binary_form=True)
        await trio.aclose_forcefully(stream)
        assert encoded is not None
        return ssl.DER_cert_to_PEM_cert(encoded)

    async with start_server(tls_sni_cert_key=named) as server:
        usual = (server.certificates / "server.crt").read_text()
        assert await shown(server, "other.example") == usual
        one = (tmp_path / "one.crt").read_text()
        assert [await shown(server, name) for name in ("one.example", "x.one.example")] == [one, one]
        two = (tmp_path / "two.crt").read_text()
        assert await shown(server, "two") == two
        authority.leaf("two", server=True)  # replaced while the server runs
        assert await shown(server, "two") == (tmp_path / "two.crt").read_text() != two
        assert await shown(server, "x.y.one.example") == usual


# ---------------------------------------------------------------------- slow and greedy clients


class Wire:
    """A connection in memory whose other end does nothing by itself. `ended`: the server is done with it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.ended = trio.Event()

    async def trickle(self, data: bytes, seconds: float) -> None:
        """A byte each so many seconds, until the server has enough."""
        for byte in data:
            try:
                await self.stream.send_all(bytes([byte]))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            await trio.sleep(seconds)


async def connected(server: Server, nursery: trio.Nursery, kind: Any, *, lockstep: bool = False) -> Wire:
    pair = trio.testing.lockstep_stream_pair() if lockstep else trio.testing.memory_stream_pair()
    wire = Wire(pair[0])

    async def serve() -> None:
        await kind(pair[1], server.app).run()
        wire.ended.set()
        await pair[1].aclose()

    nursery.start_soon(serve)
    return wire


H1 = partial(lambda stream, app: H1Connection(stream, app, None))


@pytest.mark.parametrize(
    ("data", "seconds", "end"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100, 5.0, 32.0),
        (b"\r\n" * 100, 20.0, 90.0),
        (b"", 1.0, 90.0),
    ],
    ids=["head", "blank lines", "silence"],
)
async def test_who_trickles_is_let_go(autojump_clock: MockClock, data: bytes, seconds: float, end: float) -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        start = trio.current_time()
        wire = await connected(server, nursery, H1)
        nursery.start_soon(wire.trickle, data, seconds)
        await wire.ended.wait()
        assert trio.current_time() - start == pytest.approx(end, abs=1.0)
        nursery.cancel_scope.cancel()


async def test_a_body_that_trickles_is_given_up(autojump_clock: MockClock) -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        start = trio.current_time()
        wire = await connected(server, nursery, H1)
        client = Client(wire.stream)
        await wire.stream.send_all(client.encode("POST", CONFIGMAPS, None, {"Content-Length": "1000"}))
        nursery.start_soon(wire.trickle, b"{" * 10, 5.0)
        with trio.fail_after(60):
            data = await wire.stream.receive_some()
        assert b"504 Gateway Timeout" in data
        assert trio.current_time() - start == pytest.approx(34.0, abs=1.0)
        nursery.cancel_scope.cancel()


async def test_an_idle_time_is_whole_after_a_request(autojump_clock: MockClock) -> None:
    """The deadline of a request stays where it is and comes before the idle time is over: the connection lives on."""
    async with serving() as server, trio.open_nursery() as nursery:
        wire = await connected(server, nursery, H1)
        client = Client(wire.stream)
        for _ in range(3):
            await trio.sleep(85.0)
            assert (await client.request("GET", CONFIGMAPS)).status == 200
        start = trio.current_time()
        await wire.ended.wait()
        assert trio.current_time() - start == pytest.approx(90.0, abs=1.0)
        nursery.cancel_scope.cancel()


async def test_a_request_that_comes_with_the_old_deadline_has_all_its_time(mock_clock: MockClock) -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        client = Client((await connected(server, nursery, H1)).stream)
        assert (await client.request("GET", CONFIGMAPS)).status == 200
        await wait_all_tasks_blocked()
        await client.stream.send_all(client.encode("GET", CONFIGMAPS, None, {}))
        mock_clock.jump(70.0)  # before the server has looked at what came
        assert (await client.answer()).status == 200
        nursery.cancel_scope.cancel()


async def test_a_time_that_the_client_asks_for_is_kept(autojump_clock: MockClock) -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        wire = await connected(server, nursery, H1)
        client = Client(wire.stream)
        assert (await client.request("GET", CONFIGMAPS)).status == 200
        start = trio.current_time()
        await client.stream.send_all(client.encode("POST", f"{CONFIGMAPS}?timeout=2s", None, {"Content-Length": "9"}))
        assert b"504 Gateway Timeout" in await wire.stream.receive_some()
        assert trio.current_time() - start == pytest.approx(2.0, abs=0.1)
        nursery.cancel_scope.cancel()


class AtOnce:
    """A stream on which everything has arrived, and which takes everything, without a checkpoint."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.sent: list[bytes] = []

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data, self.data = self.data, b""
        return data

    async def send_all(self, data: bytes) -> None:
        self.sent.append(data)


async def test_requests_that_come_together_let_others_have_their_turn() -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        passes = 0

        async def others() -> None:
            nonlocal passes
            while True:
                await trio.lowlevel.checkpoint()
                passes += 1

        nursery.start_soon(others)
        asked = Client(trio.testing.memory_stream_pair()[0]).encode("GET", f"{CONFIGMAPS}?resourceVersion=0", None, {})
        stream = AtOnce(asked * 20)
        await H1(stream, server.app).run()
        assert [answer[:15] for answer in stream.sent] == [b"HTTP/1.1 200 OK"] * 20
        assert passes >= 15
        nursery.cancel_scope.cancel()


async def test_who_was_refused_is_looked_at_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []

    async def counted() -> None:
        turns.append(1)

    monkeypatch.setattr("apilayer.server.h1.turn_to_send", counted)
    async with serving() as server, trio.open_nursery() as nursery:
        client = Client((await connected(server, nursery, H1)).stream)
        found = []
        for running in (0, 400, 400, 0, 0):
            server.app.flow_control.running[0] = running
            found.append(((await client.request("GET", CONFIGMAPS)).status, len(turns)))
        assert found == [(200, 0), (429, 0), (429, 1), (200, 2), (200, 2)]
        nursery.cancel_scope.cancel()


async def fill(server: Server, objects: int = 200) -> None:
    for number in range(objects):
        body = {"metadata": {"name": f"c{number}"}, "data": {"x": "y" * 1000}}
        assert (await server.request("POST", CONFIGMAPS, body)).status == 201


async def test_an_answer_that_nobody_reads_is_given_up(autojump_clock: MockClock) -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        await fill(server)
        start = trio.current_time()
        wire = await connected(server, nursery, H1, lockstep=True)
        await wire.stream.send_all(Client(wire.stream).encode("GET", CONFIGMAPS, None, {}))
        await wire.ended.wait()
        assert trio.current_time() - start == pytest.approx(60.0, abs=1.5)
        assert server.app.flow_control.running == [0, 0]
        nursery.cancel_scope.cancel()


async def test_an_http2_answer_that_nobody_reads_is_given_up(autojump_clock: MockClock) -> None:
    async with serving() as server, trio.open_nursery() as nursery:
        await fill(server)
        start = trio.current_time()
        make = partial(lambda stream, app: H2Connection(stream, app, None, streams=250))
        wire = await connected(server, nursery, make)
        client = H2Client(wire.stream)
        await client.flush()
        await client.start("GET", CONFIGMAPS)  # its window is 64 KiB, and is never opened again
        await wire.ended.wait()
        # The answer is given up after a minute; then the connection is idle.
        assert trio.current_time() - start == pytest.approx(60.0 + 90.0, abs=3.0)
        nursery.cancel_scope.cancel()


async def test_who_takes_back_too_much_is_let_go(server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_h2, "MAX_RESETS", 10)
    async with opened(server) as client:
        for _ in range(11):
            number = await client.start("GET", f"{CONFIGMAPS}?watch=1")
            client.connection.reset_stream(number)
            await client.flush()
        with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
            while await client.stream.receive_some(65536):
                pass


async def test_a_client_is_asked_to_go_elsewhere(start_server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_h2, "random", lambda: 0.01)
    async with start_server(goaway_chance=0.02) as server, opened(server) as client:
        number = await client.start("GET", "/livez")
        data = b""
        with trio.fail_after(5):
            while received := await client.stream.receive_some(65536):
                data += received
        frames = []
        while data:
            frame, length = Frame.parse_frame_header(memoryview(data[:9]))
            frame.parse_body(memoryview(data[9 : 9 + length]))
            frames.append(frame)
            data = data[9 + length :]
        left = [frame for frame in frames if isinstance(frame, GoAwayFrame)]
        assert (left[0].error_code, left[0].last_stream_id) == (0, 2**31 - 1)
        answered = [frame for frame in frames if isinstance(frame, DataFrame) and frame.stream_id == number]
        assert b"".join(frame.data for frame in answered) == b"ok"
        assert frames.index(left[0]) < frames.index(answered[0])


async def test_streams_of_a_connection(start_server) -> None:
    async with start_server(http2_max_streams_per_connection=7) as server, opened(server) as client:
        await client.request("GET", "/livez")
        assert client.connection.remote_settings.max_concurrent_streams == 7


# ---------------------------------------------------------------------- the end


def test_probes() -> None:
    assert [path for path in ("/livez", "/readyz/etcd", "/healthz", "/api", "/", "", "/livezx") if is_probe(path)] == [
        *("/livez", "/readyz/etcd", "/healthz")
    ]


async def test_new_requests_are_sent_elsewhere_while_others_end(start_server) -> None:
    async with start_server(shutdown_send_retry_after=True) as server, server.connect() as busy:
        body = b'{"metadata":{"name":"last"}}'
        await busy.stream.send_all(busy.encode("POST", CONFIGMAPS, b"", {"Content-Length": str(len(body))}))
        server.stop.set()
        with trio.fail_after(10):
            while True:
                async with server.connect() as new:
                    answer = await new.request("GET", CONFIGMAPS)
                if answer.status != 200:
                    break
            assert (answer.status, answer.headers["retry-after"]) == (429, "5")
            assert answer.headers["connection"] == "close"
            assert answer.body == b"The apiserver is shutting down, please try again later.\n"
        async with server.connect() as late:
            assert (await late.request("GET", "/readyz")).status == 500
        await busy.stream.send_all(body)
        assert (await busy.answer()).status == 201
        assert await busy.closed()


class Ending:
    """A listener that only notes when it was told what."""

    def __init__(self) -> None:
        self.shut: float | None = None
        self.cut: float | None = None

    def shut_down(self) -> None:
        self.shut = trio.current_time()

    def cut_off(self) -> None:
        self.cut = trio.current_time()


@pytest.fixture
async def watched(nursery: trio.Nursery) -> AsyncIterator[tuple[Server, list[float]]]:
    """A server with watches, and when each of them ended."""
    ends: list[float] = []
    async with serving() as server:

        async def follow() -> None:
            watch = await server.watch(f"{CONFIGMAPS}?watch=1")
            await watch.run()
            ends.append(trio.current_time())

        for _ in range(20):
            nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        assert len(server.registry.cache.watchers()) == 20
        yield server, ends


@pytest.mark.parametrize(("delay", "grace"), [(0.0, 0.0), (5.0, 0.0), (5.0, 10.0)])
async def test_watches_end_over_the_grace_period(
    autojump_clock: MockClock, watched: tuple[Server, list[float]], delay: float, grace: float
) -> None:
    server, ends = watched
    listener: Any = Ending()
    flags = Flags(shutdown_delay_duration=delay, shutdown_watch_termination_grace_period=grace)
    start = trio.current_time()
    await drain(flags, server.app, listener, server.registry.cache)
    found = sorted(at - start for at in ends)
    assert len(found) == 20
    assert found[0] == pytest.approx(delay, abs=1.0)
    assert found[-1] == pytest.approx(delay + grace, abs=1.0)
    if grace:  # evenly: not all at once
        assert max(after - before for before, after in pairwise(found)) < 2.0
    assert listener.shut - start == pytest.approx(delay + grace, abs=0.2)
    assert listener.cut - start == pytest.approx(delay + grace + 60.0, abs=0.2)
