"""What keeps members well, as requests: alarms, hashes, defragmentation, and why there is no downgrade."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from kvraft.errors import KvraftError, NoDowngrade, NoDowngradeTarget, UnknownMethod, WrongDowngradeVersion
from kvraft.server.defragment import Defragmenter
from kvraft.server.hashes import Hashes
from kvraft.server.waiting import of_task
from kvraft.types import (
    AlarmAction,
    AlarmRequest,
    DefragmentRequest,
    DowngradeAction,
    DowngradeRequest,
    HashKVRequest,
    HashRequest,
    Response,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from kvraft.server.member import Member
    from kvraft.server.service import Answer, Caller

_VERSION = re.compile(r"\d+\.\d+(\.\d+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)?", re.ASCII)
"""A version as etcd reads one, with or without its last number."""


class Maintenance:
    """One member's answers to the requests of ``kvraft.types.maintenance``."""

    defragmenter: Defragmenter

    def __init__(self, member: Member, peer: Caller) -> None:
        """``peer`` is the caller that stands for other members."""
        self._member = member
        self._peer = peer
        self.hashes = Hashes(member.machine, member.counters)
        self.defragmenter: Defragmenter = Defragmenter(member.machine, member.log_store, member.counters)
        self.handlers: dict[type, Callable[[Any, bytes, Caller, Answer], None]] = {
            AlarmRequest: self._alarm,
            HashKVRequest: self._hash_kv,
            HashRequest: self._hash,
            DefragmentRequest: self._defragment,
            DowngradeRequest: self._downgrade,
        }

    def _hash_kv(self, request: HashKVRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        hurry = caller is not self._peer
        self._start(partial(self.hashes.kv, request.revision, hurry=hurry), answer)

    def _hash(self, request: HashRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        self._start(self.hashes.state, answer)

    def _defragment(self, request: DefragmentRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        self._start(self.defragmenter.run, answer)

    def _downgrade(self, request: DowngradeRequest, body: bytes, caller: Caller, answer: Answer) -> None:
        """Data has one format so far, so there is no version to go back to: what etcd says when that is so."""
        match request.action:
            case DowngradeAction.VALIDATE | DowngradeAction.ENABLE:
                raise NoDowngradeTarget if _VERSION.fullmatch(request.version) else WrongDowngradeVersion
            case DowngradeAction.CANCEL:
                raise NoDowngrade
        raise UnknownMethod

    def _start(self, made: Callable[[], Awaitable[Response]], answer: Answer) -> None:
        self._member.spawn(_answer, made, of_task(self._member, answer))

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
