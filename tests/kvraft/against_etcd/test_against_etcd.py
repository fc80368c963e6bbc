"""The same random operations against kvraft and etcd, both real processes: every answer must be the same.

Known differences of etcd 3.4, which is what Debian has, from the etcd whose rules kvraft follows; operations are
drawn so that they do not show:

- an unknown sort order is ignored and an unknown sort target ends the process (later: "invalid sort option");
- the header of a transaction within a transaction is empty: kvraft fills its revision in;
- revision -1 in a transaction can be read as long as nothing has been compacted: kvraft always says "compacted";
- the deletion at the compacted revision itself is not shown to a watch (etcd #19179): kvraft keeps it;
- an unknown compare target or result counts as equal: kvraft refuses it by name.
"""

from __future__ import annotations

import shutil
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from kvraft.types import (
    CompactRequest,
    CompactResponse,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    TxnRequest,
    TxnResponse,
    WatchRequest,
)
from tests.bench.clusters import store_cluster
from tests.kvraft.against_etcd.calls import CALLS, answer
from tests.kvraft.against_etcd.gateway import Gateway, Refused
from tests.kvraft.against_etcd.native import Native
from tests.kvraft.mvcc.strategies import commands, keys, puts, range_ends, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed, so there is nothing to compare"),
]

EVERYTHING = (b"\0", b"\0")
LAST_KEY = b"\xff\xff\xff the end"
_padding = count()


@pytest.fixture(scope="module")
def urls() -> Iterator[tuple[str, str]]:
    """etcd and kvraft, one member each."""
    with store_cluster("etcd", 1) as etcd, store_cluster("kvraft", 1) as kvraft:
        yield etcd.urls[0], kvraft.urls[0]


@pytest.fixture(scope="module")
def stores(urls: tuple[str, str]) -> Iterator[tuple[Gateway, Native]]:
    gateway, native = Gateway(urls[0]), Native(urls[1])
    yield gateway, native
    gateway.close()
    native.close()


def outcome(store: Gateway | Native, request: Any) -> Any:
    """What it answers, errors too, without what is known to differ."""
    try:
        answer = store.call(request)
    except Refused as error:
        return error.answer
    return without_inner_headers(answer) if isinstance(answer, TxnResponse) else answer


def without_inner_headers(answer: TxnResponse) -> TxnResponse:
    inner = [
        msgspec.structs.replace(without_inner_headers(response), revision=0)
        if isinstance(response, TxnResponse)
        else response
        for response in answer.responses
    ]
    return msgspec.structs.replace(answer, responses=inner)


class Comparison(RuleBasedStateMachine):
    def __init__(self, etcd: Gateway, kvraft: Native) -> None:
        super().__init__()
        self.etcd = etcd
        self.kvraft = kvraft
        self.revision = 0
        self.first = 0
        self.compacted = 0

    def both(self, request: Any) -> Any:
        theirs, ours = outcome(self.etcd, request), outcome(self.kvraft, request)
        assert ours == theirs, f"{request} was answered by kvraft with {ours}, by etcd with {theirs}"
        self.revision = max(self.revision, getattr(theirs, "revision", 0))
        return theirs

    @initialize()
    def start_alike(self) -> None:
        """Empty both and bring them to one revision, whatever an example before has found."""
        reached = {}
        for store in (self.etcd, self.kvraft):
            store.call(DeleteRangeRequest(*EVERYTHING))
            reached[store] = store.call(PutRequest(b"pad", b"%d" % next(_padding))).revision
        for store, revision in reached.items():
            for _ in range(revision, max(reached.values())):
                store.call(PutRequest(b"pad", b""))
            last = store.call(DeleteRangeRequest(b"pad"))
            store.call(CompactRequest(last.revision))
        self.revision = self.first = self.compacted = max(reached.values()) + 1
        self.both(RangeRequest(*EVERYTHING))

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        request = data.draw(self.shifted(commands(8)))
        self.note(request, self.both(request))

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        self.both(data.draw(self.shifted(ranges(10))))

    @rule(data=st.data(), physical=st.booleans())
    def compact(self, data: st.DataObject, physical: bool) -> None:
        request = CompactRequest(self.first + data.draw(st.integers(-1, self.done + 1)), physical)
        self.note(request, self.both(request))

    def note(self, request: Any, answer: Any) -> None:
        if isinstance(request, CompactRequest) and isinstance(answer, CompactResponse):
            self.compacted = request.revision

    @property
    def done(self) -> int:
        """Revisions of this example. Where they begin depends on the examples before, so nothing is drawn from that."""
        return self.revision - self.first

    @rule(request=puts)
    def put(self, request: PutRequest) -> None:
        self.both(request)

    def shifted(self, requests: st.SearchStrategy) -> st.SearchStrategy:
        """Small revisions as revisions of this example."""
        return requests.map(self.shift)

    def shift(self, request: Any) -> Any:
        base = self.first - 1
        if isinstance(request, RangeRequest):
            names = ("revision", "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision")
            moved = {name: getattr(request, name) + base for name in names if getattr(request, name) > 0}
            return msgspec.structs.replace(request, **moved)
        if isinstance(request, CompactRequest):
            return CompactRequest(request.revision + base)
        if isinstance(request, TxnRequest):
            compare = tuple(
                msgspec.structs.replace(compare, operand=compare.operand + base)
                if compare.target in (1, 2) and compare.operand
                else compare
                for compare in request.compare
            )
            success, failure = (tuple(map(self.shift, branch)) for branch in (request.success, request.failure))
            return TxnRequest(compare, success, failure)
        return request

    @rule(data=st.data(), options=st.tuples(st.booleans(), st.booleans(), st.booleans()))
    def watch(self, data: st.DataObject, options: tuple[bool, bool, bool]) -> None:
        """The events from some revision up to one that every watch of this kind sees."""
        prev_kv, no_put, no_delete = options
        start = self.first + data.draw(st.integers(-1, self.done + 1))
        start += start == self.compacted
        key, range_end = data.draw(st.tuples(keys, range_ends | st.just(LAST_KEY + b"\0")))
        if range_end != b"\0" and not (key <= LAST_KEY < range_end):
            key, range_end = EVERYTHING
        self.both(PutRequest(LAST_KEY, b""))
        no_delete = no_delete and not no_put
        last = self.both(DeleteRangeRequest(LAST_KEY)).revision if no_put else self.revision
        request = WatchRequest(key, range_end, start, prev_kv, no_put, no_delete)
        theirs, ours = (store.events(request, last) for store in (self.etcd, self.kvraft))
        assert ours == theirs, f"{request} saw {ours} in kvraft, {theirs} in etcd"


def test_every_answer_is_etcds(stores: tuple[Gateway, Native]) -> None:
    run_state_machine_as_test(
        lambda: Comparison(*stores),
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            phases=[Phase.generate],  # a real process for every attempt: the message says enough
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def test_calls_of_every_service_are_answered_alike(urls: tuple[str, str]) -> None:
    different = [
        (call, theirs, ours) for call in CALLS if (theirs := answer(urls[0], *call)) != (ours := answer(urls[1], *call))
    ]
    assert not different


def test_a_difference_is_found(stores: tuple[Gateway, Native]) -> None:
    """The comparison has eyes: a store that gets one command more answers differently."""

    class Deaf(Native):
        def __init__(self, inner: Native) -> None:
            self.__dict__.update(inner.__dict__)

        def call(self, request: Any) -> Any:
            if isinstance(request, PutRequest) and request.prev_kv:
                super().call(request)
            return super().call(request)

    etcd, kvraft = stores
    with pytest.raises(AssertionError, match="was answered by kvraft with"):
        run_state_machine_as_test(
            lambda: Comparison(etcd, Deaf(kvraft)),
            settings=settings(max_examples=60, stateful_step_count=25, deadline=None, phases=[Phase.generate]),
        )
