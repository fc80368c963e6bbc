"""Watch events that are sent on the spot over HTTP/2 and WebSocket, where others share the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
import trio
import trio.testing
from h2.settings import SettingCodes
from wsproto.events import Ping, Pong

from tests.apilayer.server.test_direct_watch import Steps, served
from tests.apilayer.server.test_h2 import H2Client
from tests.apilayer.server.test_websocket import WATCH, upgrade

if TYPE_CHECKING:
    from pathlib import Path

FALLING_BEHIND = pytest.mark.parametrize(
    ("count", "size", "buffer_bytes"), [(300, 0, 1 << 13), (60, 7_000, 1 << 15), (30, 20_000, 1 << 18)]
)


async def opened(stream: trio.abc.Stream, paths: list[str], *, wide: bool = True) -> tuple[H2Client, list[int]]:
    """A client of HTTP/2 with its watches, which have begun; `wide`: with windows that never close, as Go has them."""
    client = H2Client(stream)
    if wide:
        client.connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 4 << 20})
        client.connection.increment_flow_control_window(1 << 30)
    watches = [await client.start("GET", path) for path in paths]
    while len(client.heads) < len(watches):
        await client.receive()
    await trio.testing.wait_all_tasks_blocked()
    return client, watches


async def shown(client: H2Client, watch: int, count: int) -> list[str]:
    """The names in the first events of a watch, so many of them."""
    while client.bodies[watch].count(b"\n") < count:
        await client.receive()
    return [orjson.loads(line)["object"]["metadata"]["name"] for line in client.bodies[watch].splitlines()[:count]]


async def test_watches_of_http_2_that_keep_up_run_no_task(certificates: Path) -> None:
    async with served(certificates, 2, http2=True) as it:
        clients = [await opened(client.stream, [WATCH, f"{WATCH}&labelSelector=!a"]) for client in it.clients]
        steps = Steps("hypercorn.trio.task_group._handle")
        trio.lowlevel.add_instrument(steps)
        for number in range(10):
            it.put(number)
            for client, watches in clients:
                for watch in watches:
                    assert (await shown(client, watch, number + 1))[-1] == f"c{number}"
        assert steps.count == 0


@pytest.mark.parametrize("wide", [True, False])
@FALLING_BEHIND
async def test_a_reader_of_http_2_that_falls_behind_misses_nothing(
    certificates: Path, count: int, size: int, buffer_bytes: int, wide: bool
) -> None:
    async with served(certificates, buffer_bytes=buffer_bytes, http2=True) as it:
        paths = [WATCH, WATCH, f"{WATCH}&fieldSelector=metadata.name%3Dc5"]
        client, watches = await opened(it.clients[0].stream, paths, wide=wide)
        for number in range(count):
            it.put(number, size)
            if number % 3:
                await trio.testing.wait_all_tasks_blocked()
        for watch in watches[:2]:
            assert await shown(client, watch, count // 2) == [f"c{number}" for number in range(count // 2)]
        head, _ = await client.request("GET", "/livez")
        assert head[":status"] == "200"
        it.put(count, size)
        for watch in watches[:2]:
            assert await shown(client, watch, count + 1) == [f"c{number}" for number in range(count + 1)]
        assert await shown(client, watches[2], 1) == ["c5"]


@pytest.mark.parametrize("count", [1, 4])
async def test_what_the_socket_does_not_take_follows(certificates: Path, count: int) -> None:
    async with served(certificates, buffer_bytes=1 << 13, http2=True) as it:
        client, watches = await opened(it.clients[0].stream, [WATCH] * count, wide=count == 1)
        for number in range(4):
            it.put(number, 20_000)
            await trio.testing.wait_all_tasks_blocked()
            for watch in watches:
                assert (await shown(client, watch, number + 1))[-1] == f"c{number}"


async def test_what_a_watch_that_is_reset_has_left_over_goes_before_others(certificates: Path) -> None:
    async with served(certificates, buffer_bytes=1 << 13, http2=True) as it:
        client, (reset, lasting) = await opened(
            it.clients[0].stream, [f"{WATCH}&fieldSelector=metadata.name%3Dc0", WATCH]
        )
        for _ in range(15):
            it.put(0, 4_000)
            await trio.testing.wait_all_tasks_blocked()
        client.connection.reset_stream(reset)
        await client.flush()
        it.put(1)
        assert (await shown(client, lasting, 16))[-1] == "c1"


async def test_a_watch_over_websocket_that_keeps_up_runs_no_task(certificates: Path) -> None:
    async with served(certificates, 3) as it:
        plain = await it.clients[2].watch(WATCH)
        sockets = [await upgrade(client) for client in it.clients[:2]]
        await trio.testing.wait_all_tasks_blocked()
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        for number in range(10):
            it.put(number)
            for each in sockets:
                assert await each.event() == ("ADDED", f"c{number}")
            assert await plain.events(1) == [("ADDED", f"c{number}")]
        assert steps.count == 0


@FALLING_BEHIND
async def test_a_reader_of_websocket_that_falls_behind_misses_nothing_and_gets_its_pongs(
    certificates: Path, count: int, size: int, buffer_bytes: int
) -> None:
    async with served(certificates, buffer_bytes=buffer_bytes) as it:
        reader = await upgrade(it.clients[0])
        for number in range(count):
            it.put(number, size)
            if number % 10 == 0:
                await reader.send(Ping(b"%d" % number))
            if number % 3:
                await trio.testing.wait_all_tasks_blocked()
        found, pongs = [], []
        while len(found) < count or len(pongs) < len(range(0, count, 10)):
            message = await reader.next()
            if isinstance(message, Pong):
                pongs.append(int(message.payload))
            else:
                found.append(orjson.loads(message)["object"]["metadata"]["name"])
        assert found == [f"c{number}" for number in range(count)]
        assert pongs == list(range(0, count, 10))
