"""When a member takes a turn: everything that has arrived is done as one batch, on the spot or in a task.

One turn for all that has arrived is cheapest. ``Arrivals`` knows when that is, and there the turn is taken: the way to
another task and back would cost as much as all that a lone write needs. What is left after it, and what anybody else
has, is for the task.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from kvraft.errors import KvraftError
from kvraft.logs import fields
from kvraft.raft.messages import NO_NODE
from kvraft.server.pace import Pace

if TYPE_CHECKING:
    from kvraft.server.member import Member

log = logging.getLogger(__name__)

CATCH_UP_EVENTS = 1000
"""Past events read for lagging watches per turn, so that they never hold up writes for long."""
BUSY_SHARE = 8
"""A turn that has applied something does only this part of them: whoever writes waits for the turn."""


class Turns:
    """Those of one member, from ``run`` on."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self._calm = False  # the task has nothing to do but what arrives
        self._due = False  # something has arrived, and more may have
        self._pace = Pace()
        self.handing_over: trio.Event | None = None
        """Set by the member when it wants to hear that another one leads; then the event is set."""

    def _take(self) -> bool:
        """What has arrived, and what comes of it at once: whether something has been applied.

        Raises ``KvraftError``: the member cannot go on.
        """
        member, driver = self._member, self._member.driver
        applied = member.machine.applied_index
        while driver.turn() and driver.has_work:
            pass
        member.service.leases.flush()
        member.membership.turn()
        driver.commit_if_due(due=False)
        changed = member.machine.applied_index != applied
        if changed or driver.pending:
            self._pace.wrote()
        return changed

    def durable(self, seq: int) -> None:
        """The kernel or the disk thread has made every batch up to ``seq`` durable."""
        driver = self._member.driver
        driver.durable(seq)
        if driver.has_work:  # else a majority has it without this member, or has it not yet
            self.soon()

    def soon(self) -> None:
        """Something has arrived: take a turn for it and everything else that has."""
        if self._member.arrivals.taking:
            self._due = True
        else:
            self._on_the_spot()

    def all_arrived(self) -> None:
        """This was all."""
        if self._due:
            self._due = False
            self._on_the_spot()

    def _on_the_spot(self) -> None:
        """... unless the task has to do it."""
        member, driver = self._member, self._member.driver
        if self._calm and not member.wake.is_set and self.handing_over is None:
            try:
                self._take()
            except KvraftError as error:
                self._calm = False
                member.fail(error)
                return
            member.flush()
            if not (driver.has_work or member.machine.watch.lags or member.machine.compacting):
                return
        member.wake.set()

    async def run(self) -> None:
        """Take a turn whenever the member is woken."""
        try:
            await self._run()
        finally:
            self._calm = False  # reports that come later find nobody who takes a turn

    async def _run(self) -> None:
        member, driver, watch, pace = self._member, self._member.driver, self._member.machine.watch, self._pace
        pause: float | None = None
        while True:
            if pause:
                with trio.move_on_after(pause):
                    await member.wake.wait()
            else:
                await member.wake.wait()
            try:
                changed = self._take()
                lagging = watch.catch_up(CATCH_UP_EVENTS // (BUSY_SHARE if changed else 1))
                member.flush()
                pause = pace.spend(member.machine.compact_step)
            except KvraftError as error:
                member.fail(error)
                return
            if (
                self.handing_over is not None
                and driver.raft.leader not in (NO_NODE, member.member_id)
                and not driver.proposed.waiting
            ):
                self.handing_over.set()
            if not member.ready.is_set() and driver.raft.leader != NO_NODE and member.membership.published:
                member.ready.set()
                log.info("ready to serve client requests", extra=fields(urls=member.client_urls))
            member.flush()  # those who waited for a compaction
            if lagging or driver.has_work or pause == 0:
                member.wake.set()
            self._calm = pause is None and member.ready.is_set() and not member.wake.is_set
