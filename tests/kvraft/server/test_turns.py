"""Turns on the spot and turns for all that arrives; the disk thread's reports, however late."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import open_client
from kvraft.storage import failpoint
from kvraft.storage.errors import OutOfSpace
from kvraft.storage.writer import AT_ONCE_BYTES
from kvraft.types import PutRequest, PutResponse
from kvraft.wire import native
from tests.kvraft.members import PATIENCE_SECONDS, open_members, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.server.member import Member


@pytest.fixture
async def member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Member]:
    monkeypatch.setattr("kvraft.storage.writer.SLOW_SECONDS", 600.0)  # however busy the machine is
    async with open_members(tmp_path, 1) as members:
        async with open_client(members.urls) as client:
            await client.put(b"k", b"v")
        member = members.running["m1"]
        await until(lambda: not member.wake.is_set)
        yield member


def propose(member: Member, answers: list[object], value: bytes = b"v") -> None:
    body = native.encode_request_body(PutRequest(b"k", value))
    member.driver.propose(member.auth.as_root(body), answers.append)


async def test_a_lone_write_is_done_where_it_arrives(member: Member) -> None:
    answers: list[object] = []
    propose(member, answers)
    member.turns.soon()
    assert [type(answer) for answer in answers] == [PutResponse]
    assert not member.wake.is_set


async def test_a_compaction_hears_of_writes_on_the_spot(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would take as much of the member's time as when nobody writes."""
    told: list[int] = []
    monkeypatch.setattr(member.turns._pace, "wrote", lambda: told.append(1))
    propose(member, [])
    member.turns.soon()
    assert told
    assert not member.wake.is_set


async def test_what_arrives_together_is_one_turn(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks, and however much: the turn is taken where it arrives, when all of it has."""
    turns: list[int] = []
    turn = member.driver.turn

    def counted() -> bool:
        turns.append(member.driver.pending)
        return turn()

    monkeypatch.setattr(member.driver, "turn", counted)
    answers: list[object] = []
    descriptors = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(3)]

    def take(descriptor: int) -> None:
        os.eventfd_read(descriptor)
        propose(member, answers)
        member.turns.soon()
        assert not answers

    for descriptor in descriptors:
        member.arrivals.add(descriptor, partial(take, descriptor))
        os.eventfd_write(descriptor, 1)
    await until(lambda: len(answers) == 3)
    assert next(pending for pending in turns if pending) == 3  # before that one for a tick, perhaps
    for descriptor in descriptors:
        member.arrivals.remove(descriptor)
        os.close(descriptor)


@pytest.mark.parametrize("busy", ["a turn is coming", "leadership is handed over"])
async def test_otherwise_it_waits_for_the_turn_of_all(member: Member, busy: str) -> None:
    answers: list[object] = []
    if busy == "a turn is coming":
        member.wake.set()
    else:
        member.turns.handing_over = trio.Event()
    propose(member, answers)
    member.turns.soon()
    assert not answers
    assert member.wake.is_set
    await until(lambda: len(answers) == 1)
    assert isinstance(answers[0], PutResponse)


async def test_a_failed_write_of_the_kernel_ends_the_member(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write_until_the_disk_is_full() -> None:
        async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
            await client.put(b"k", b"v")
            failpoint.configure("log.after_sync=error@1")
            await client.put(b"k", b"v" * 2 * AT_ONCE_BYTES)

    monkeypatch.setattr("kvraft.storage.writer.SLOW_SECONDS", 600.0)  # else it would be the thread's
    try:
        with trio.fail_after(PATIENCE_SECONDS), pytest.raises(BaseExceptionGroup) as failed:
            await write_until_the_disk_is_full()
    finally:
        failpoint.configure("")
    assert failed.group_contains(OutOfSpace)


async def test_a_report_of_the_disk_thread_may_come_late(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []
    monkeypatch.setattr(member.writer, "_background", None)
    monkeypatch.setattr(member.writer, "_on_durable", held.append)
    answers: list[object] = []
    propose(member, answers, b"v" * 2 * AT_ONCE_BYTES)
    member.turns.soon()
    await until(lambda: bool(held) and not member.writer.oldest_pending_seconds())
    assert not answers
    propose(member, answers)
    member.turns.soon()
    await until(lambda: len(answers) == 2)
    member.turns.durable(held[0])  # overtaken by what was written on the spot
    propose(member, answers)
    member.turns.soon()
    await until(lambda: len(answers) == 3)
    assert all(isinstance(answer, PutResponse) for answer in answers)


async def test_a_report_that_changes_nothing_takes_no_turn(member: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(member.driver, "turn", lambda: taken.append(1))
    member.turns.durable(0)
    assert not taken
    assert not member.wake.is_set


async def test_what_is_reported_after_the_end_takes_no_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_members(tmp_path, 1) as members:
        async with open_client(members.urls) as client:
            await client.put(b"k", b"v")
        member = members.running["m1"]
        await until(lambda: not member.wake.is_set)
        await members.stop("m1")
        taken: list[int] = []
        monkeypatch.setattr(member.driver, "turn", lambda: taken.append(1))
        member.turns.durable(0)  # the state is closed
        assert not taken
