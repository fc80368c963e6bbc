"""What a member that does not lead has the leader do, and what it is certain of when something is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio

from kvraft.errors import (
    KvraftError,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    Stopped,
    TimeoutLeaderFailure,
    TooManyRequests,
    Unavailable,
)
from kvraft.raft.messages import Entry, Message, MessageKind, SnapshotMeta
from kvraft.server.forwarding import MAX_SERVED
from kvraft.types import (
    KeyValue,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseKeepAliveRequest,
    LeaseKeepAliveResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
    LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    Status,
    StatusRequest,
)
from kvraft.wire import native
from kvraft.wire.peer import Answered, Ask, Propose, Proposed
from tests.kvraft.drivers import CONFIG, Node, kinds
from tests.kvraft.members import open_members

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from kvraft.server.member import Member
    from tests.kvraft.members import Members

NO_OP = Entry(1, 1, 0, b"")


def refusal(error: KvraftError) -> bytes:
    return native.encode_body(native.to_failure(error))


def follower() -> Node:
    """Member 1, which follows member 2 in term 1 and has its first entry."""
    node = Node()
    node.append(2, 1, NO_OP, commit=1)
    return node


def asked(node: Node, name: str) -> int:
    """Propose at a follower; the id of the question that it asks."""
    node.propose(name, forwards=True)
    node.turn()
    ((_, question),) = node.transport.asked
    assert isinstance(question, Propose)
    assert question.data == name.encode()
    node.transport.asked.clear()
    return question.question_id


# ---------------------------------------------------------------------- the member that is asked by a client


def test_a_write_at_a_follower_is_answered_when_the_follower_has_applied_it() -> None:
    node = follower()
    question = asked(node, "a")
    node.driver.answered(2, [Proposed(question, 2, 1)])
    node.append(2, 1, Entry(2, 1, 0, b"a"), before=1)
    assert node.answers == {}
    node.append(2, 1, Entry(3, 1, 0, b"b"), before=1, commit=2)
    assert node.answers == {"a": b"a"}


def test_the_entry_may_be_applied_before_the_leaders_answer_comes() -> None:
    node = follower()
    question = asked(node, "a")
    node.append(2, 1, Entry(2, 1, 0, b"a"), before=1, commit=2)
    assert node.answers == {}
    node.driver.answered(2, [Proposed(question, 2, 1)])
    assert node.answers == {"a": b"a"}


def test_another_terms_entry_in_its_place_means_that_it_is_asked_again() -> None:
    node = follower()
    first, second = (asked(node, name) for name in ("early", "late"))
    node.driver.answered(2, [Proposed(second, 3, 1)])
    node.append(3, 2, Entry(2, 2, 0, b""), Entry(3, 2, 0, b"other"), before=1, commit=3)
    node.driver.answered(2, [Proposed(first, 2, 1)])  # ... and here the entry came before the answer
    assert node.answers == {}
    node.tick(1)
    assert sorted((peer, question.data) for peer, question in node.transport.asked) == [(3, b"early"), (3, b"late")]


def test_a_snapshot_over_its_place_leaves_the_end_unknown() -> None:
    node = follower()
    question = asked(node, "a")
    meta = SnapshotMeta(10, 1, node.driver.raft.configuration)
    node.driver.receive_snapshot(Message(MessageKind.SNAPSHOT, 2, 1, 1, snapshot=meta), meta)
    node.turn()
    node.driver.answered(2, [Proposed(question, 5, 1)])
    assert kinds(node) == {"a": OutcomeUnknown}


def test_what_the_leader_refuses_is_asked_again_with_the_next_tick_and_not_before() -> None:
    node = follower()
    question = asked(node, "a")
    for error in (NotLeader(), NoLeader()):
        node.driver.answered(2, [Answered(question, refusal(error))])
        node.turn()
        assert node.transport.asked == []
        node.tick(1)
        ((peer, again),) = node.transport.asked
        assert (peer, again.data) == (2, b"a")
        question = again.question_id
        node.transport.asked.clear()
    assert node.answers == {}


def test_other_refusals_are_the_answer() -> None:
    node = follower()
    node.driver.answered(2, [Answered(asked(node, "a"), refusal(TooManyRequests()))])
    assert kinds(node) == {"a": TooManyRequests}


def test_without_a_leader_a_write_waits_for_one() -> None:
    node = Node()
    node.propose("a", forwards=True)
    node.turn()
    assert node.answers == {}
    assert node.transport.asked == []
    node.follow(3)
    assert [(peer, question.data) for peer, question in node.transport.asked] == [(3, b"a")]


def test_a_member_that_comes_to_lead_proposes_what_it_holds() -> None:
    node = Node()
    node.propose("a", forwards=True)
    node.lead()
    node.acknowledge(2)
    assert node.answers == {"a": b"a"}


def test_without_a_leader_until_the_end_it_certainly_did_not_happen() -> None:
    node = Node()
    node.propose("a", forwards=True)
    node.tick(CONFIG.request_timeout_ticks)
    assert kinds(node) == {"a": NoLeader}


def test_a_leader_that_cannot_be_reached_was_certainly_not_asked() -> None:
    node = follower()
    node.transport.reachable = False
    node.propose("a", forwards=True)
    node.turn()
    for _ in range(CONFIG.request_timeout_ticks):
        assert node.answers == {}
        node.tick(1)
        node.follow(2)
    assert kinds(node) == {"a": Unavailable}
    assert "connection lost" in str(node.answers["a"])


def test_a_lost_connection_leaves_the_end_of_a_write_unknown_and_it_is_not_asked_again() -> None:
    node = follower()
    question = asked(node, "a")
    node.driver.link_lost(3)
    assert node.answers == {}
    node.driver.link_lost(2)
    assert kinds(node) == {"a": TimeoutLeaderFailure}
    node.tick(2)
    assert node.transport.asked == []
    node.driver.answered(2, [Proposed(question, 2, 1)])  # nobody waits for it any more
    node.append(2, 1, Entry(2, 1, 0, b"a"), before=1, commit=2)
    assert len(node.answers) == 1


@pytest.mark.parametrize(("ticks_before", "kind"), [(0, TimeoutLeaderFailure), (25, OutcomeUnknown)])
def test_the_error_tells_whether_a_change_of_leaders_may_be_why(ticks_before: int, kind: type) -> None:
    node = follower()
    for _ in range(ticks_before):
        node.tick(1)
        node.follow(2)
    asked(node, "a")
    for _ in range(CONFIG.request_timeout_ticks):
        node.tick(1)
        node.follow(2)
    assert kinds(node) == {"a": kind}


def test_stopping_says_what_is_certain() -> None:
    node = follower()
    asked(node, "asked")
    node.transport.reachable = False
    node.propose("held", forwards=True)
    node.turn()
    node.driver.stop()
    assert kinds(node) == {"asked": OutcomeUnknown, "held": Stopped}


def test_questions_count_against_the_bound() -> None:
    node = follower()
    for number in range(CONFIG.max_pending):
        node.propose(str(number), forwards=True)
    node.turn()
    node.propose("one too many", forwards=True)
    assert kinds(node) == {"one too many": TooManyRequests}


# ---------------------------------------------------------------------- the member that is asked by another


def test_a_leader_answers_with_the_place_as_soon_as_it_has_proposed() -> None:
    node = Node()
    node.lead()
    node.driver.asked("origin", [Propose(7, b"a"), Propose(8, b"b")])
    node.turn()
    assert node.transport.replied == [("origin", Proposed(7, 2, 1)), ("origin", Proposed(8, 3, 1))]
    assert node.driver.proposed.count == 0


def test_proposals_of_several_members_share_an_entry() -> None:
    node = Node()
    node.driver.config = attrs.evolve(CONFIG, max_batch_bytes=100)
    node.lead()
    node.driver.asked("origin", [Propose(7, b"a")])
    node.propose("own")
    node.driver.asked("other", [Propose(1, b"b")])
    node.turn()
    assert node.transport.replied == [("origin", Proposed(7, 2, 1, 0)), ("other", Proposed(1, 2, 1, 2))]
    assert node.driver.proposed.count == 1
    node.acknowledge(2)
    assert node.answers == {"own": b"own"}
    assert node.driver.proposed.count == 0


def test_what_came_together_has_as_many_places_as_it_has_proposals() -> None:
    node = Node()
    node.driver.config = attrs.evolve(CONFIG, max_batch_bytes=100)
    node.lead()
    node.propose_together("a", "b", "c")
    node.driver.asked("origin", [Propose(7, b"x")])
    node.propose_together("d", "e")
    node.driver.asked("other", [Propose(1, b"y")])
    node.turn()
    assert node.log.entries_by_index[2].data == b"a,b,c,x,d,e,y"
    assert node.transport.replied == [("origin", Proposed(7, 2, 1, 3)), ("other", Proposed(1, 2, 1, 6))]
    node.acknowledge(2)
    assert node.answers == {name: name.encode() for name in "abcde"}
    assert node.driver.proposed.count == 0


def test_an_answer_is_found_within_its_entry() -> None:
    node = follower()
    first, second, third = (asked(node, name) for name in ("a", "b", "c"))
    node.driver.answered(2, [Proposed(second, 2, 1, 3), Proposed(first, 2, 1, 1)])
    assert node.driver.proposed.count == 2
    node.append(2, 1, Entry(2, 1, 0, b"x,a,c,b,y"), before=1, commit=2)
    node.driver.answered(2, [Proposed(third, 2, 1, 2)])
    assert node.answers == {"a": b"a", "b": b"b", "c": b"c"}
    assert node.driver.proposed.count == 0


def test_who_does_not_lead_refuses() -> None:
    node = follower()
    node.driver.asked("origin", [Propose(7, b"a")])
    node.turn()
    ((origin, answer),) = node.transport.replied
    assert origin == "origin"
    assert isinstance(answer, Answered)
    assert isinstance(native.decode_answer(answer.body), NotLeader)
    assert node.transport.asked == []


def test_other_questions_are_bounded() -> None:
    node = Node()
    waiting: list[object] = []
    node.driver.forwarder.serve = lambda body, answer: waiting.append((body, answer))
    node.driver.asked("origin", [Ask(number, b"x") for number in range(MAX_SERVED + 1)])
    node.turn()
    assert len(waiting) == MAX_SERVED
    ((_, answer),) = node.transport.replied
    assert isinstance(answer, Answered)
    assert isinstance(native.decode_answer(answer.body), TooManyRequests)


def test_a_question_that_may_be_asked_twice_is_asked_again_when_its_connection_is_lost() -> None:
    node = follower()
    node.driver.ask_leader(b"again", lambda answer: node.answers.update({"again": answer}), repeatable=True)
    node.driver.ask_leader(b"once", lambda answer: node.answers.update({"once": answer}))
    node.turn()
    node.transport.asked.clear()
    node.driver.link_lost(2)
    node.tick(1)
    assert [question.data for _, question in node.transport.asked] == [b"again"]
    assert kinds(node) == {"once": TimeoutLeaderFailure}


# ---------------------------------------------------------------------- real members


@attrs.define
class AnyMember:
    """A client whose protocol does not tell it about leaders."""

    congested: bool = False
    forwards: bool = True

    def hold(self, retry: Callable[[], None]) -> None:
        raise AssertionError


async def ask(member: Member, request: native.Request) -> object:
    done = trio.Event()
    answers: list[object] = []

    def answer(found: object) -> None:
        answers.append(found)
        done.set()

    member.service.start(request, native.encode_body(request), AnyMember(), answer)  # type: ignore[arg-type]
    member.wake.set()
    with trio.fail_after(30):
        await done.wait()
    assert len(answers) == 1
    return answers[0]


def followers(members: Members, leader: str) -> list[str]:
    return [name for name in members.running if name != leader]


async def test_every_member_takes_writes_and_reads_its_own(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        for number, name in enumerate(sorted(members.running)):
            key, member = b"k%d" % number, members.running[name]
            written = await ask(member, PutRequest(key, b"v"))
            assert isinstance(written, PutResponse)
            read = await ask(member, RangeRequest(key, serializable=True))  # without a word with anybody else
            revision = written.revision
            assert read == RangeResponse(revision, [KeyValue(key, b"v", revision, revision, 1)], 1)


async def test_every_member_serves_leases(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        for name in sorted(members.running):
            member = members.running[name]
            granted = await ask(member, LeaseGrantRequest(60))
            assert isinstance(granted, LeaseGrantResponse)
            lease = granted.lease_id
            assert not isinstance(await ask(member, PutRequest(b"k", b"v", lease)), KvraftError)
            renewed = await ask(member, LeaseKeepAliveRequest(lease))
            assert isinstance(renewed, LeaseKeepAliveResponse)
            assert (renewed.lease_id, renewed.ttl) == (lease, 60)
            left = await ask(member, LeaseTimeToLiveRequest(lease, keys=True))
            assert isinstance(left, LeaseTimeToLiveResponse)
            assert left.ttl in (59, 60)
            assert (left.granted_ttl, left.keys) == (60, [b"k"])
            revoked = await ask(member, LeaseRevokeRequest(lease, term=12345))  # not theirs to say: ignored
            assert isinstance(revoked, LeaseRevokeResponse)
            gone = await ask(member, LeaseKeepAliveRequest(lease))
            assert isinstance(gone, LeaseKeepAliveResponse)
            assert gone.ttl == 0
            gone = await ask(member, LeaseTimeToLiveRequest(lease))
            assert isinstance(gone, LeaseTimeToLiveResponse)
            assert (gone.ttl, gone.granted_ttl, gone.keys) == (-1, 0, [])


async def test_writes_at_followers_survive_the_end_of_the_leader(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        leader = await members.leader()
        first, second = (members.running[name] for name in followers(members, leader))
        outcomes: list[object] = []

        async def write(member: Member, number: int) -> None:
            outcomes.append(await ask(member, PutRequest(b"n%03d" % number, b"")))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(write, (first, second)[number % 2], number)
                if number == 50:
                    await members.crash(leader)
        done = [outcome for outcome in outcomes if isinstance(outcome, PutResponse)]
        unknown = [outcome for outcome in outcomes if isinstance(outcome, OutcomeUnknown)]
        assert len(done) + len(unknown) == 100, outcomes
        assert len({outcome.revision for outcome in done}) == len(done)
        found = await ask(first, RangeRequest(b"n", b"o"))
        assert isinstance(found, RangeResponse)
        assert len(done) <= found.count <= 100
        assert all(kv.version == 1 for kv in found.kvs), "applied twice"


async def test_a_given_member_can_be_asked(tmp_path: Path) -> None:
    async with open_members(tmp_path) as members:
        asker, other = (members.running[name] for name in sorted(members.running)[:2])
        done = trio.Event()
        answers: list[object] = []

        def answer(found: object) -> None:
            answers.append(found)
            done.set()

        asker.driver.ask(other.member_id, native.encode_body(StatusRequest()), answer)  # type: ignore[arg-type]
        with trio.fail_after(30):
            await done.wait()
        (status,) = answers
        assert isinstance(status, Status)
        assert status.member_id == other.member_id
        asker.driver.ask(12345, b"x", answer)
        assert isinstance(answers[1], Unavailable)
