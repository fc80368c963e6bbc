"""NOSPACE, raised by the member that has reached its quota and cleared by it once there is space again."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kvraft.errors import KvraftError
from kvraft.logs import fields
from kvraft.types import AlarmAction, AlarmMember, AlarmRequest, AlarmType
from kvraft.wire.native import encode_request_body

if TYPE_CHECKING:
    from kvraft.apply.machine import StateMachine
    from kvraft.server.driver import Driver

log = logging.getLogger(__name__)

FREE_SHARE = 0.9
"""The alarm is cleared when the data in use is at most this share of the quota: not to raise it again at once."""


def next_action(used_bytes: int, quota_bytes: int, *, raised: bool) -> AlarmAction | None:
    """What a member does about its alarm; None: nothing."""
    if not raised:
        return AlarmAction.ACTIVATE if used_bytes >= quota_bytes else None
    return AlarmAction.DEACTIVATE if used_bytes <= quota_bytes * FREE_SHARE else None


class SpaceWatch:
    """One member's eye on its space. ``look`` now and then."""

    def __init__(self, machine: StateMachine, driver: Driver, member_id: int) -> None:
        self._machine = machine
        self._driver = driver
        self._member_id = member_id
        self._asked = False

    def look(self) -> None:
        """Propose what the space calls for, unless that is under way."""
        if self._asked:
            return
        machine = self._machine
        raised = AlarmMember(self._member_id, AlarmType.NOSPACE) in machine.alarms.active(AlarmType.NOSPACE)
        action = next_action(machine.used_bytes, machine.quota_bytes, raised=raised)
        if action is None:
            return
        self._asked = True
        used = fields(used_bytes=machine.used_bytes, quota_bytes=machine.quota_bytes)
        if action is AlarmAction.ACTIVATE:
            log.warning("database space exceeded; raising the alarm NOSPACE", extra=used)
        else:
            log.info("there is space again; clearing the alarm NOSPACE", extra=used)
        request = AlarmRequest(action, self._member_id, AlarmType.NOSPACE)
        self._driver.propose(encode_request_body(request), self._answered, forwards=True)

    def _answered(self, answer: object) -> None:
        self._asked = False
        if isinstance(answer, KvraftError):
            log.warning("the alarm NOSPACE was not taken; trying again", extra=fields(error=str(answer)))
