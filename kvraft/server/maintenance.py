"""What keeps members well, as requests: alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft.types import AlarmAction, AlarmRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.errors import KvraftError
    from kvraft.server.member import Member
    from kvraft.server.service import Answer, Caller


class Maintenance:
    """One member's answers to the requests of ``kvraft.types.maintenance``."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.handlers: dict[type, Callable[[Any, bytes, Caller, Answer], None]] = {AlarmRequest: self._alarm}

    def _alarm(self, request: AlarmRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        machine, driver = self._member.machine, self._member.driver
        machine.check(request)
        if request.action != AlarmAction.GET:
            driver.propose(body, answer, forwards=caller.forwards)  # type: ignore[arg-type]
            return

        def ready(error: KvraftError | None) -> None:
            answer(machine.alarms.execute(request) if error is None else error)

        driver.read(ready)
