"""Alarms: what is wrong with members, as all of them know it. They are part of the replicated state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.types import AlarmAction, AlarmMember, AlarmRequest, AlarmResponse, AlarmType

if TYPE_CHECKING:
    from kvraft.storage.state import StateEnvironment


class Alarms:
    """The alarms of the state in ``environment``, in the order of members."""

    def __init__(self, environment: StateEnvironment) -> None:
        self._environment = environment

    def active(self, alarm: int = AlarmType.NONE) -> list[AlarmMember]:
        """Those of one type; NONE: all."""
        return [
            AlarmMember(member_id, kind)
            for member_id, kind in self._environment.meta.alarms
            if alarm in (AlarmType.NONE, kind)
        ]

    def execute(self, request: AlarmRequest) -> AlarmResponse:
        """Do ``request``; the answer names what it found, raised or cleared."""
        meta = self._environment.meta
        found: list[AlarmMember] = []
        if request.action == AlarmAction.GET:
            found = self.active(request.alarm)
        elif request.action == AlarmAction.ACTIVATE:
            # One who is no member any more has nobody to clear it.
            if request.alarm != AlarmType.NONE and request.member_id not in meta.removed:
                found = [AlarmMember(request.member_id, request.alarm)]
                meta.alarms = tuple(sorted({*meta.alarms, (request.member_id, request.alarm)}))
        else:
            found = [alarm for alarm in self.active(request.alarm) if request.member_id in (0, alarm.member_id)]
            gone = {(alarm.member_id, alarm.alarm) for alarm in found}
            meta.alarms = tuple(alarm for alarm in meta.alarms if alarm not in gone)
        return AlarmResponse(meta.revision, found)


def describe(alarm: AlarmMember) -> str:
    """As etcd's Status gives it, the trailing blank included."""
    member = f"memberID:{alarm.member_id} " if alarm.member_id else ""
    return f"{member}alarm:{AlarmType(alarm.alarm).name} "
