"""The whole of KV through the service, the native protocol and the client: what only shows with a member around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.errors import (
    AnswerTooLarge,
    Compacted,
    InvalidSortOption,
    KeyNotFound,
    KvraftError,
    TooManyOps,
    TooManyRequests,
    ValueProvided,
)
from kvraft.server import reads
from kvraft.server.waiting import of_task
from kvraft.types import PutRequest, RangeRequest, SortOrder, SortTarget, TxnRequest
from tests.kvraft.members import open_members

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from kvraft.client import Client
    from kvraft.server.member import Member
    from kvraft.server.service import Answer
    from kvraft.types import Response

ALL = (b"\0", b"\0")


@pytest.fixture
async def member(tmp_path: Path) -> AsyncIterator[Member]:
    async with open_member(tmp_path / "data", max_txn_ops=200) as member:
        yield member


@pytest.fixture
async def client(member: Member) -> AsyncIterator[Client]:
    async with open_client(member.client_urls) as client:
        yield client


async def fill(client: Client, count: int, size: int = 3) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(client.put, b"k%05d" % number, b"v" * size)


async def test_options_travel(client: Client) -> None:
    for key, value in ((b"a", b"2"), (b"b", b"1"), (b"c", b"3")):
        await client.put(key, value)
    found = await client.range(
        *ALL, sort_order=SortOrder.DESCEND, sort_target=SortTarget.VALUE, max_mod_revision=3, keys_only=True
    )
    assert ([kv.key for kv in found.kvs], found.count) == ([b"a", b"b"], 3)
    assert [kv.key for kv in (await client.range(*ALL, min_create_revision=4)).kvs] == [b"c"]
    with pytest.raises(InvalidSortOption):
        await client.range(*ALL, sort_order=7)
    assert (await client.put(b"a", b"", ignore_value=True, prev_kv=True)).prev_kv.value == b"2"  # type: ignore[union-attr]
    with pytest.raises(KeyNotFound):
        await client.put(b"x", b"", ignore_value=True)
    with pytest.raises(ValueProvided):
        await client.put(b"a", b"x", ignore_value=True)


async def test_a_transaction_that_only_reads_is_not_replicated(member: Member, client: Client) -> None:
    await client.put(b"a", b"1")
    index = member.driver.raft.last_index
    nested = TxnRequest((), (TxnRequest((), (RangeRequest(b"a"),)), RangeRequest(b"a", serializable=True)))
    answer = await client.txn((), (nested,))
    assert answer.responses[0].responses[0].responses[0].kvs[0].value == b"1"  # type: ignore[union-attr]
    assert member.driver.raft.last_index == index
    with pytest.raises(Compacted):
        await client.txn((), (RangeRequest(b"a", revision=-1),))


async def test_the_limit_of_operations_is_a_flag(client: Client) -> None:
    operations = tuple(PutRequest(b"k%d" % number, b"") for number in range(201))
    assert len((await client.txn((), operations[:200])).responses) == 200
    with pytest.raises(TooManyOps):
        await client.txn((), operations)
    with pytest.raises(TooManyOps):
        await client.txn((), (RangeRequest(b"a"),) * 201)


@pytest.fixture
def _short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "PIECE_KEYS", 10)
    monkeypatch.setattr("kvraft.server.service.QUICK_KEYS", 20)


@pytest.mark.usefixtures("_short_reads")
async def test_a_long_range_is_read_beside_the_loop(member: Member, client: Client) -> None:
    await fill(client, 100)
    pieces = []
    run_sync = trio.to_thread.run_sync

    async def counting(function, *args, **options):
        pieces.append(function)
        return await run_sync(function, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trio.to_thread, "run_sync", counting)
        found = await client.range(*ALL)
        assert [kv.key for kv in found.kvs] == [b"k%05d" % number for number in range(100)]
        assert (found.count, found.more, found.revision) == (100, False, member.machine.revision)
        assert len(pieces) >= 10
        descending = await client.range(*ALL, limit=3, sort_order=SortOrder.DESCEND)
        assert [kv.key for kv in descending.kvs] == [b"k00099", b"k00098", b"k00097"]
        assert (descending.count, descending.more) == (100, True)
        pieces.clear()
        assert (await client.range(*ALL, limit=5)).count == 100
        assert pieces == [], "the count is known"
        old = await client.range(*ALL, revision=51)
        assert (old.count, len(pieces) > 1) == (50, True)
        await client.compact(50)
        with pytest.raises(Compacted):
            await client.range(*ALL, revision=49)


@pytest.mark.usefixtures("_short_reads")
async def test_a_long_range_sees_what_was_written_before_it_and_nothing_later(member: Member, client: Client) -> None:
    await fill(client, 50)
    seen: list[tuple[int, int]] = []
    written: list[int] = []

    async def read() -> None:
        for _ in range(5):
            before = len(written)
            found = await client.range(*ALL)
            seen.append((before, len(written)))
            newest = max(kv.mod_revision for kv in found.kvs)
            assert newest == found.revision
            assert found.revision >= (written[before - 1] if before else 0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for number in range(100):
            answer = await client.put(b"k%05d" % (number % 50), b"new")
            written.append(answer.revision)
    assert any(before < after for before, after in seen), "writes went on meanwhile"


@pytest.mark.usefixtures("_short_reads")
async def test_an_answer_made_beside_the_loop_wakes_it(
    member: Member, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it leaves at once, not with the next tick."""
    woken: list[bool] = []

    def watched(member: Member, answer: Answer) -> Answer:
        answers = of_task(member, answer)

        def answered(found: Response | KvraftError) -> None:
            answers(found)
            woken.append(member.wake.is_set)

        return answered

    monkeypatch.setattr("kvraft.server.service.of_task", watched)
    monkeypatch.setattr("kvraft.server.maintenance.of_task", watched)
    await fill(client, 50)
    assert len((await client.range(*ALL, serializable=True)).kvs) == 50
    assert (await client.hash_kv(member.client_urls[0])).hash
    await client.defragment(member.client_urls[0])
    assert woken == [True, True, True]


async def test_a_page_of_a_thousand_keys_is_read_at_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.txn((), [PutRequest(b"k%05d" % number, b"") for number in range(150)])
    monkeypatch.setattr("kvraft.server.service.QUICK_KEYS", reads.QUICK_KEYS // 10)
    await client.range(*ALL, limit=100)
    monkeypatch.setattr(reads, "MAX_LONG_READS", 0)
    page = await client.range(*ALL, limit=100)
    assert (len(page.kvs), page.count, page.more) == (100, 150, True)


@pytest.mark.usefixtures("_short_reads")
async def test_long_reads_have_bounds(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    await fill(client, 50, size=100)
    monkeypatch.setattr(reads, "MAX_ANSWER_BYTES", 5000)
    with pytest.raises(AnswerTooLarge):
        await client.range(*ALL)
    assert (await client.range(*ALL, keys_only=True)).count == 50
    monkeypatch.setattr(reads, "MAX_LONG_READS", 0)
    with pytest.raises(TooManyRequests):
        await client.range(*ALL, keys_only=True)


@pytest.mark.usefixtures("_short_reads")
async def test_pages_are_of_one_revision(client: Client) -> None:
    await fill(client, 30)
    seen, counts = [], []
    async for page in client.pages(*ALL, page_keys=7):
        seen += [kv.key for kv in page.kvs]
        counts.append(page.count)
        await client.put(b"k-%d" % len(seen), b"later")
        await client.delete_range(b"k00029")
    assert seen == [b"k%05d" % number for number in range(30)]
    assert counts == [30, 23, 16, 9, 2]


async def test_a_physical_compaction_is_answered_when_the_space_is_free(member: Member, client: Client) -> None:
    for number in range(300):
        await client.put(b"k", b"%d" % number)
    step = member.machine.compact_step
    answered: list[int] = []
    before: list[bool] = []

    def ten(limit: int) -> bool:
        before.append(not answered)
        return step(min(limit, 10))

    member.machine.compact_step = ten  # type: ignore[method-assign]

    async def compact() -> None:
        await client.compact(member.machine.revision, physical=True)
        answered.append(member.machine._environment.meta.compact_done)

    await compact()
    assert sum(before) > 20, "that many steps came before the answer"
    assert answered == [member.machine.revision]
    assert member.machine.uncommitted == 0
    later = await client.put(b"k", b"")
    await client.compact(later.revision)


async def test_followers_and_leader_answer_alike(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members, open_client(members.urls) as client:
        for number in range(20):
            await client.put(b"k%02d" % number, b"%d" % (number * 7 % 20))
        await client.compact(10)
        await members.applied_everywhere()
        requests = [
            RangeRequest(*ALL, 5, revision, sort_order=order, sort_target=target, max_create_revision=15)
            for revision in (0, 12)
            for order in SortOrder
            for target in SortTarget
        ]
        for request in requests:
            answers = [member.machine.range(request) for member in members.running.values()]
            assert answers[0] == answers[1] == answers[2]
