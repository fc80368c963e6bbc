"""Clusters of real members in this process, over loopback sockets and real files, that can be crashed and restarted."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from kvraft.raft.messages import Role
from kvraft.server.config import MemberConfig
from kvraft.server.joining import join
from kvraft.server.member import Member
from tests.ports import free_ports

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


PATIENCE_SECONDS = 60.0
"""What does not come about in this time never will."""


async def until(condition: Callable[[], bool]) -> None:
    """Wait for ``condition``, which something outside this task makes true. Raises ``trio.TooSlowError``."""
    with trio.fail_after(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 (members have no event for what only tests ask)
            await trio.sleep(0.002)


class Members:
    """Members by name; ``stop`` ends one cleanly, ``crash`` at once, ``start`` brings it back with its files.

    ``settings`` are ``MemberConfig``'s; with ``client_tls`` or ``peer_tls`` among them the URLs are https.
    """

    def __init__(self, directory: Path, names: list[str], nursery: trio.Nursery, **settings: Any) -> None:
        ports = iter(free_ports(2 * len(names)))
        client_scheme, peer_scheme = ("https" if f"{whose}_tls" in settings else "http" for whose in ("client", "peer"))
        self.client_urls = {name: f"{client_scheme}://127.0.0.1:{next(ports)}" for name in names}
        self.peer_urls = {name: f"{peer_scheme}://127.0.0.1:{next(ports)}" for name in names}
        self.directory = directory
        self._nursery = nursery
        self._settings: dict[str, Any] = {"heartbeat_ms": 50, "election_ms": 500, **settings}
        self.running: dict[str, Member] = {}
        self._ended: dict[str, trio.Event] = {}
        self._scopes: dict[str, trio.CancelScope] = {}

    def new(self, name: str) -> str:
        """Choose ports for a further member; its peer URL."""
        client, peer = free_ports(2)
        self.client_urls[name], self.peer_urls[name] = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        return self.peer_urls[name]

    def config(self, name: str, **settings: Any) -> MemberConfig:
        """The member's settings, with ``settings`` on top."""
        given: dict[str, Any] = {
            "name": name,
            "data_dir": self.directory / name,
            "listen_client_urls": (self.client_urls[name],),
            "advertise_client_urls": (self.client_urls[name],),
            "listen_peer_urls": (self.peer_urls[name],),
            "initial_advertise_peer_urls": (self.peer_urls[name],),
            "initial_cluster": {other: (url,) for other, url in self.peer_urls.items()},
        }
        return MemberConfig(**{**given, **self._settings, **settings})

    async def join(self, name: str, **settings: Any) -> Member:
        """Start a member that the cluster has added, as ``kvraft serve --initial-cluster-state existing`` does."""
        config = self.config(name, initial_cluster_state="existing", **settings)
        beginning = None if config.has_data else await join(config, None)
        return self._start(name, Member(config, beginning))

    def build(self, name: str, **settings: Any) -> Member:
        """Open the member's files; ``settings`` for this start alone."""
        return Member(self.config(name, **settings))

    def start(self, name: str, **settings: Any) -> Member:
        """Open the member's files and run it."""
        return self._start(name, self.build(name, **settings))

    def _start(self, name: str, member: Member) -> Member:
        self.running[name] = member
        self._ended[name] = trio.Event()
        self._scopes[name] = trio.CancelScope()
        self._nursery.start_soon(self._run, name, member)
        return member

    async def _run(self, name: str, member: Member) -> None:
        try:
            with self._scopes[name]:
                await member.run()
        finally:
            self._ended[name].set()

    async def ended(self, name: str) -> None:
        """Wait for a member that ends by itself."""
        with trio.fail_after(PATIENCE_SECONDS):
            await self._ended[name].wait()
        del self.running[name]

    async def stop(self, name: str) -> None:
        """End it cleanly and wait for the end."""
        await self.running.pop(name).stop()
        await self._ended[name].wait()

    async def crash(self, name: str) -> None:
        """End it at once: no handing over, no answers, no last commit."""
        del self.running[name]
        self._scopes[name].cancel()
        await self._ended[name].wait()

    async def applied_everywhere(self) -> int:
        """The applied index, once all running members have applied the same, and nothing is under way."""
        await until(lambda: len(self._reached()) == 1)
        return self._reached().pop()

    def _reached(self) -> set[int]:
        return {
            index
            for member in self.running.values()
            for index in (member.machine.applied_index, member.driver.raft.last_index)
        }

    async def published(self) -> None:
        """Every member has told its name and URLs, and everybody knows them: nothing happens by itself any more."""
        await until(
            lambda: all(known.client_urls for member in self.running.values() for known in member.machine.members)
        )

    async def leader(self) -> str:
        """The name of a running member that leads, as soon as there is one."""
        await until(lambda: bool(self._leaders()))
        return self._leaders()[0]

    def _leaders(self) -> list[str]:
        return [name for name, member in self.running.items() if member.driver.raft.role is Role.LEADER]

    @property
    def urls(self) -> list[str]:
        """Every member's client URL."""
        return list(self.client_urls.values())


@asynccontextmanager
async def open_members(
    directory: Path, count: int = 3, *, calm: bool = False, **settings: Any
) -> AsyncIterator[Members]:
    """A running cluster with a leader.

    ``calm``: m1 leads, and nobody stands for election because the machine is slow; somebody who crashes is missed
    for an election timeout, ten seconds by default.
    """
    if calm:
        settings.setdefault("election_ms", 10_000)
    async with trio.open_nursery() as nursery:
        members = Members(directory, [f"m{number}" for number in range(1, count + 1)], nursery, **settings)
        try:
            for name in members.client_urls:
                members.start(name)
            if calm:
                first = members.running["m1"]
                await until(lambda: len(first.peers.connected()) == count - 1)
                first.driver.raft.campaign()
                first.wake.set()
            for member in members.running.values():
                await member.ready.wait()
            yield members
        finally:
            with trio.CancelScope(shield=True):
                for name in list(members.running):
                    await members.stop(name)
