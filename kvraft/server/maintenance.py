"""What keeps members well, as requests: alarms, hashes, defragmentation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from kvraft.errors import KvraftError
from kvraft.server.defragment import Defragmenter
from kvraft.server.hashes import Hashes
from kvraft.types import AlarmAction, AlarmRequest, DefragmentRequest, HashKVRequest, HashRequest, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvraft.server.member import Member
    from kvraft.server.service import Answer, Caller


class Maintenance:
    """One member's answers to the requests of ``kvraft.types.maintenance``."""

    def __init__(self, member: Member, peer: Caller) -> None:
        """``peer`` is the caller that stands for other members."""
        self._member = member
        self._peer = peer
        self.hashes = Hashes(member.machine)
        self._defragmenter = Defragmenter(member.machine, member.log_store)
        self.handlers: dict[type, Callable[[Any, bytes, Caller, Answer], None]] = {
            AlarmRequest: self._alarm,
            HashKVRequest: self._hash_kv,
            HashRequest: self._hash,
            DefragmentRequest: self._defragment,
        }

    def _hash_kv(self, request: HashKVRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        hurry = caller is not self._peer
        self._member.spawn(_answer, partial(self.hashes.kv, request.revision, hurry=hurry), answer)

    def _hash(self, request: HashRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        self._member.spawn(_answer, self.hashes.state, answer)

    def _defragment(self, request: DefragmentRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        self._member.spawn(_answer, self._defragmenter.run, answer)

    def _alarm(self, request: AlarmRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        machine, driver = self._member.machine, self._member.driver
        machine.check(request)
        if request.action != AlarmAction.GET:
            driver.propose(body, answer, forwards=caller.forwards)  # type: ignore[arg-type]
            return

        def ready(error: KvraftError | None) -> None:
            answer(machine.alarms.execute(request) if error is None else error)

        driver.read(ready, waits=caller.forwards)


async def _answer(made: Callable[[], Awaitable[Response]], answer: Answer) -> None:
    """What takes its time, as a task of the member."""
    try:
        found = await made()
    except KvraftError as error:
        answer(error)
    else:
        answer(found)
