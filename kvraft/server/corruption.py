"""Members compare hashes of what they hold: when one starts, before it serves, and now and then while they run.

Two members that have applied the same and come to different data can never agree again: the sooner they stand still
the less is lost.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

import trio

from kvraft.errors import Compacted, Corrupt, KvraftError
from kvraft.logs import fields
from kvraft.raft.messages import Role
from kvraft.storage.tables import INITIAL_REVISION
from kvraft.types import AlarmAction, AlarmRequest, AlarmType, HashKVRequest, HashKVResponse
from kvraft.wire.native import encode_request_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kvraft.server.hashes import Hashes
    from kvraft.server.member import Member

log = logging.getLogger(__name__)

START_SECONDS = 0.25
"""For so long the comparison at the start holds up serving; a large one is finished while the member serves."""
CONNECT_SECONDS = 0.05
RETRY_SECONDS = 0.2
ATTEMPTS = 5
"""A peer that has not applied the revision yet, or takes long, is asked again so often."""
UNKNOWN_MEMBER = 0


def differing(hashes: Mapping[int, HashKVResponse], members: int) -> list[int]:
    """The members, of ``members`` in all, whose data is wrong: those outside of a majority that agrees.

    Without such a majority it is ``UNKNOWN_MEMBER``, as in etcd. Hashes after different compactions do not compare:
    only those at the most common one count.
    """
    if not hashes:
        return []
    compacted = Counter(found.compact_revision for found in hashes.values()).most_common(1)[0][0]
    comparable = {member: found.hash for member, found in hashes.items() if found.compact_revision == compacted}
    counts = Counter(comparable.values())
    if len(counts) <= 1:
        return []
    common, agreeing = counts.most_common(1)[0]
    if agreeing <= members // 2:
        return [UNKNOWN_MEMBER]
    return sorted(member for member, value in comparable.items() if value != common)


def stands_alone(hashes: Mapping[int, HashKVResponse], member: int) -> bool:
    """Whether ``member`` could be compared with others and none of them agrees."""
    mine = hashes[member]
    others = [
        found.hash
        for other, found in hashes.items()
        if other != member and found.compact_revision == mine.compact_revision
    ]
    return bool(others) and mine.hash not in others


class CorruptionCheck:
    """One member's part. ``at_start`` and ``run`` are tasks of the member."""

    def __init__(self, member: Member, hashes: Hashes, interval_seconds: float) -> None:
        self._member = member
        self._hashes = hashes
        self._interval_seconds = interval_seconds

    async def run(self) -> None:
        """While this member leads, compare everybody now and then, and raise CORRUPT; 0 seconds: never."""
        while self._interval_seconds > 0:
            await trio.sleep(self._interval_seconds)
            if self._member.driver.raft.role is Role.LEADER and self._member.peers.links:
                try:
                    await self.check()
                except KvraftError as error:
                    log.warning("the corruption check could not be made", extra=fields(error=str(error)))

    async def check(self) -> list[int]:
        """Compare now; the members whose data is wrong, for which CORRUPT has been proposed."""
        hashes = await self._gather(list(self._member.peers.links))
        wrong = differing(hashes, 1 + len(self._member.peers.links))
        for member_id in wrong:
            log.error("members hold different data", extra=fields(corrupt=f"{member_id:x}", hashes=_shown(hashes)))
            request = AlarmRequest(AlarmAction.ACTIVATE, member_id, AlarmType.CORRUPT)
            self._member.driver.propose(encode_request_body(request), _ignore, forwards=True)
            self._member.wake.set()
        return wrong

    async def at_start(self) -> None:
        """Compare with whoever is there, and stop this member if its data is wrong.

        Returns when that is done, or has taken so long that it goes on while the member serves.
        """
        done = trio.Event()
        self._member.spawn(self._compare_at_start, done)
        with trio.move_on_after(START_SECONDS):
            await done.wait()

    async def _compare_at_start(self, done: trio.Event) -> None:
        try:
            if self._member.machine.revision > INITIAL_REVISION and self._member.peers.links:
                await self._compare()
        except KvraftError as error:
            log.info("no comparison with peers at the start", extra=fields(error=str(error)))
        finally:
            done.set()

    async def _compare(self) -> None:
        member = self._member
        for _ in range(ATTEMPTS):  # they are being connected to
            if member.peers.connected():
                break
            await trio.sleep(CONNECT_SECONDS)
        hashes = await self._gather(member.peers.connected())
        if stands_alone(hashes, member.member_id):
            member.fail(Corrupt(f"{Corrupt.text}: this member holds other data than its peers: {_shown(hashes)}"))

    async def _gather(self, peers: list[int]) -> dict[int, HashKVResponse]:
        """This member's hash, and that of every peer that could give its own at the same revision."""
        revision = self._member.machine.revision
        hashes = {self._member.member_id: await self._hashes.kv(revision)}

        async def ask(peer: int) -> None:
            for _ in range(ATTEMPTS):
                try:
                    found = await self._member.ask(peer, HashKVRequest(revision))
                except Compacted:
                    return
                except KvraftError:  # it has not come so far yet, or is still at it
                    await trio.sleep(RETRY_SECONDS)
                else:
                    if isinstance(found, HashKVResponse):
                        hashes[peer] = found
                    return

        async with trio.open_nursery() as nursery:
            for peer in peers:
                nursery.start_soon(ask, peer)
        return hashes


def _shown(hashes: Mapping[int, HashKVResponse]) -> dict[str, str]:
    return {f"{member:x}": f"{found.hash:08x}" for member, found in hashes.items()}


def _ignore(answer: object) -> None:
    """Whether the alarm was taken shows in the next check."""
