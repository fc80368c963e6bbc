"""The Lock and Election services: each call is a task, which ends when the call does."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from kvraft.errors import KvraftError, TooManyRequests
from kvraft.recipes.election import Leadership
from kvraft.server import clients, concurrency
from kvraft.wire.etcd import election_pb2, lock_pb2
from kvraft.wire.etcd.responses import from_kv

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvraft.recipes.election import Seen
    from kvraft.server.etcd.call import Call, Handler
    from kvraft.server.etcd.services import EtcdServices

    Run = Callable[[EtcdServices, Call, Any], Awaitable[None]]


class Recipe:
    """One call; see ``call.Handler``."""

    def __init__(self, services: EtcdServices, run: Run, call: Call) -> None:
        self._services = services
        self._run = run
        self._call = call
        self._scope = trio.CancelScope()
        self._started = False

    def message(self, message: Any) -> None:
        """The request."""
        if self._started:
            return
        if self._call.connection.unanswered >= clients.MAX_UNANSWERED:
            self._call.fail(TooManyRequests())
            return
        self._started = True
        self._call.connection.unanswered += 1
        self._services.member.spawn(self._serve, message)

    async def _serve(self, message: Any) -> None:
        with self._scope:
            try:
                await self._run(self._services, self._call, message)
            except KvraftError as error:
                self._call.fail(error)
        self._call.connection.unanswered -= 1
        self._services.member.wake.set()

    def half_closed(self) -> None:
        """It has asked."""

    def drained(self) -> None:
        """What has been seen meanwhile is not repeated; the next is sent."""

    def closed(self) -> None:
        """Nobody waits any more."""
        self._scope.cancel()


async def _lock(services: EtcdServices, call: Call, message: lock_pb2.LockRequest) -> None:
    holding = await concurrency.lock(services.member, call, message.name, message.lease)
    answer = lock_pb2.LockResponse(key=holding.key)
    services.stamp.on(answer.header, holding.revision)
    call.reply(answer.SerializeToString())


async def _unlock(services: EtcdServices, call: Call, message: lock_pb2.UnlockRequest) -> None:
    answer = lock_pb2.UnlockResponse()
    services.stamp.on(answer.header, await concurrency.unlock(services.member, call, message.key))
    call.reply(answer.SerializeToString())


async def _campaign(services: EtcdServices, call: Call, message: election_pb2.CampaignRequest) -> None:
    won, revision = await concurrency.campaign(services.member, call, message.name, message.lease, message.value)
    leader = election_pb2.LeaderKey(name=won.name, key=won.key, rev=won.created, lease=won.lease_id)
    answer = election_pb2.CampaignResponse(leader=leader)
    services.stamp.on(answer.header, revision)
    call.reply(answer.SerializeToString())


def _leadership(message: election_pb2.ProclaimRequest | election_pb2.ResignRequest) -> Leadership | None:
    if not message.HasField("leader"):
        return None
    leader = message.leader
    return Leadership(leader.name, leader.key, leader.rev, leader.lease)


async def _proclaim(services: EtcdServices, call: Call, message: election_pb2.ProclaimRequest) -> None:
    answer = election_pb2.ProclaimResponse()
    revision = await concurrency.proclaim(services.member, call, _leadership(message), message.value)
    services.stamp.on(answer.header, revision)
    call.reply(answer.SerializeToString())


async def _resign(services: EtcdServices, call: Call, message: election_pb2.ResignRequest) -> None:
    answer = election_pb2.ResignResponse()
    services.stamp.on(answer.header, await concurrency.resign(services.member, call, _leadership(message)))
    call.reply(answer.SerializeToString())


def _seen(services: EtcdServices, seen: Seen) -> bytes:
    answer = election_pb2.LeaderResponse()
    services.stamp.on(answer.header, seen.revision)
    from_kv(seen.kv, answer.kv)
    return answer.SerializeToString()


async def _leader(services: EtcdServices, call: Call, message: election_pb2.LeaderRequest) -> None:
    call.reply(_seen(services, await concurrency.leader(services.member, call, message.name)))


async def _observe(services: EtcdServices, call: Call, message: election_pb2.LeaderRequest) -> None:
    observed: Any = concurrency.observe(services.member, call, message.name)
    async with aclosing(observed) as sights:
        async for seen in sights:
            if not call.full:  # a client that does not read misses what is over by the time it does
                call.send(_seen(services, seen))
                services.member.wake.set()
    call.end()


RECIPES: dict[str, Run] = {
    "/v3lockpb.Lock/Lock": _lock,
    "/v3lockpb.Lock/Unlock": _unlock,
    "/v3electionpb.Election/Campaign": _campaign,
    "/v3electionpb.Election/Proclaim": _proclaim,
    "/v3electionpb.Election/Leader": _leader,
    "/v3electionpb.Election/Observe": _observe,
    "/v3electionpb.Election/Resign": _resign,
}
"""By path."""


def streams(services: EtcdServices) -> dict[str, Callable[[Call], Handler]]:
    """What makes the handler of each method's calls."""
    return {path: partial(Recipe, services, run) for path, run in RECIPES.items()}
