"""The driver's answers where simulations rarely come: expiry, bounds, overwritten proposals, stopping."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvraft.errors import (
    KvraftError,
    LeaderChanged,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    Stopped,
    TimeoutLeaderFailure,
    TooManyRequests,
)
from kvraft.raft.messages import Entry, Message, MessageKind, Role, SnapshotMeta
from kvraft.server.driver import DriverConfig
from tests.kvraft.drivers import CONFIG, Node, kinds

if TYPE_CHECKING:
    from collections.abc import Sequence


def test_a_proposal_gets_its_answer_once_it_is_applied() -> None:
    node = Node()
    node.lead()
    node.propose("a")
    node.turn()
    assert node.answers == {}
    assert node.driver.proposed.count == 1
    node.acknowledge(2)
    assert node.answers == {"a": b"a"}
    assert node.driver.proposed.count == 0


def test_answers_that_are_certain_are_on_their_way_before_the_entry_is_applied() -> None:
    steps: list[object] = []
    node = Node(flush=lambda: steps.append(dict(node.answers)))
    node.lead()
    node.acknowledge(1)
    apply = node.machine.apply

    def applied(entries: Sequence[Entry], *, answered: bool) -> list[list[bytes]]:
        steps.append(answered)
        return apply(entries, answered=answered)

    node.machine.apply = applied  # type: ignore[method-assign]
    for foresees in (True, False):
        node.machine.foresees = foresees
        node.answers.clear()
        steps.clear()
        node.propose("a")
        node.turn()
        assert steps == []
        node.acknowledge(node.driver.raft.last_index)
        assert node.answers == {"a": b"a"}
        assert steps[: 1 + foresees] == ([{"a": b"a"}, False] if foresees else [True])
    assert node.driver.proposed.count == 0


def test_nothing_is_foreseen_where_nobody_waits() -> None:
    node = Node()
    node.machine.foresee = None  # type: ignore[assignment, method-assign] - it would raise
    node.append(2, 1, Entry(1, 1, 0, b"a"), commit=1)
    assert node.machine.applied_index == 1


def test_the_disk_hears_who_has_more_to_do_than_to_wait_for_it() -> None:
    node = Node()
    node.append(2, 1, Entry(1, 1, 0, b"a"))
    assert set(node.log.submitted_by_leader) == {False}
    node.lead()
    node.log.submitted_by_leader.clear()
    node.propose("b")
    node.turn()
    assert node.log.submitted_by_leader == [True]


def test_a_proposal_that_takes_too_long_has_an_unknown_end() -> None:
    node = Node()
    node.lead()
    node.propose("a")
    node.turn()
    node.tick(CONFIG.request_timeout_ticks - 1)
    assert node.answers == {}
    node.tick(1)
    (answer,) = node.answers.values()
    assert isinstance(answer, OutcomeUnknown)
    assert not answer.definite
    node.acknowledge(2)  # and it happens after all, unheard
    assert node.machine.applied_index == 2
    assert len(node.answers) == 1


def test_a_commit_that_is_due_is_for_the_next_start_alone() -> None:
    node = Node()
    node.machine.uncommitted = 1
    node.driver.commit_if_due(due=False)
    assert node.machine.commits == []
    node.driver.commit_if_due(due=True)
    node.machine.uncommitted = CONFIG.commit_operations
    node.driver.commit_if_due(due=False)
    assert node.machine.commits == [False, False]


def test_a_read_that_takes_too_long_is_refused_and_not_answered_again() -> None:
    node = Node()
    node.lead()
    node.acknowledge(1)
    node.read("r")
    node.turn()
    node.tick(CONFIG.request_timeout_ticks)
    assert kinds(node) == {"r": OutcomeUnknown}
    context = max(message.context for message in node.transport.sent)
    node.receive(Message(MessageKind.HEARTBEAT_RESPONSE, 2, 1, node.driver.raft.term, index=1, context=context))
    assert len(node.answers) == 1


def test_reads_that_wait_outlast_an_election_and_the_others_do_not() -> None:
    node = Node()
    node.read("at once")
    node.read("waits", waits=True)
    node.turn()
    assert kinds(node) == {"at once": NoLeader}
    node.tick(CONFIG.request_timeout_ticks - 1)
    node.lead()
    node.acknowledge(1)
    context = max(message.context for message in node.transport.sent)
    node.receive(Message(MessageKind.HEARTBEAT_RESPONSE, 2, 1, node.driver.raft.term, index=1, context=context))
    assert kinds(node) == {"at once": NoLeader, "waits": type(None)}


def test_a_read_that_waits_is_asked_again_when_the_leader_would_not_confirm_it() -> None:
    node = Node()
    node.follow(3)
    node.read("r", waits=True)
    node.turn()
    for times_asked in (1, 2):
        asked = [message for message in node.transport.sent if message.kind is MessageKind.READ_INDEX]
        assert len(asked) == times_asked
        refusal = MessageKind.READ_INDEX_RESPONSE
        node.receive(Message(refusal, 3, 1, 1, context=asked[-1].context, reject=True))
        assert node.answers == {}
        node.tick(1)  # not before: whoever leads may lead no more
    asked = [message for message in node.transport.sent if message.kind is MessageKind.READ_INDEX]
    node.receive(Message(MessageKind.READ_INDEX_RESPONSE, 3, 1, 1, context=asked[-1].context))
    assert node.answers == {"r": None}


def test_a_read_waits_for_a_leader_no_longer_than_a_request_may_take() -> None:
    node = Node()
    node.read("r", waits=True)
    node.turn()
    node.tick(CONFIG.request_timeout_ticks - 1)
    assert node.answers == {}
    node.tick(1)
    assert kinds(node) == {"r": NoLeader}
    node.lead()
    node.acknowledge(1)
    assert len(node.answers) == 1
    assert not node.driver.reads.held


def test_more_than_the_bound_is_refused_and_room_comes_back() -> None:
    node = Node()
    node.lead()
    for number in range(CONFIG.max_pending // 2):
        node.propose(f"p{number}")
        node.read(f"r{number}")
    node.propose("one too many")
    node.read("another")
    assert kinds(node) == {"one too many": TooManyRequests, "another": TooManyRequests}
    node.turn()
    node.tick(CONFIG.request_timeout_ticks)
    assert len(node.answers) == CONFIG.max_pending + 2
    node.propose("again")
    node.turn()
    assert "again" not in node.answers


def test_proposals_that_came_together_have_an_entry_together_and_an_answer_each() -> None:
    node = Node()
    node.driver.config = DriverConfig()
    node.lead()
    node.propose("a")
    assert node.propose_together("b", "c", "d")
    node.propose("e")
    assert (node.driver.pending, node.driver.under_way) == (5, 5)
    node.turn()
    assert node.log.entries_by_index[2].data == b"a,b,c,d,e"
    assert (node.driver.proposed.count, node.driver.under_way) == (5, 5)
    node.acknowledge(2)
    assert node.answers == {name: name.encode() for name in "abcde"}
    assert node.driver.under_way == 0


def test_proposals_that_came_together_are_all_refused_all_lost_or_all_unreadable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    node = Node()
    node.propose_together("a", "b")
    node.turn()
    assert kinds(node) == {"a": NoLeader, "b": NoLeader}
    node.lead()
    node.propose_together("c", "d")
    node.turn()
    node.tick(CONFIG.request_timeout_ticks)
    assert kinds(node)["c"] is kinds(node)["d"] is TimeoutLeaderFailure
    assert node.driver.proposed.failed == 4
    monkeypatch.setattr(node.machine, "join", b"".join)
    node.propose_together("e", "f")
    node.turn()
    node.acknowledge(3)
    assert [node.answers[name] for name in "ef"] == [b"ef", b"ef"]
    node.propose_together("g", "h")
    node.driver.stop()
    assert kinds(node)["g"] is kinds(node)["h"] is Stopped
    assert (node.driver.under_way, node.driver.proposed.count) == (0, 0)


def test_proposals_that_came_together_are_taken_all_or_none() -> None:
    node = Node()
    node.lead()
    assert node.propose_together(*map(str, range(CONFIG.max_pending - 1)))
    assert not node.propose_together("x", "y")
    assert node.propose_together("z")
    assert node.driver.pending == CONFIG.max_pending
    assert node.answers == {}


def test_without_a_leader_and_with_another_one_proposals_are_refused_by_name() -> None:
    node = Node()
    node.propose("nobody")
    node.turn()
    assert kinds(node) == {"nobody": NoLeader}
    node.receive(Message(MessageKind.HEARTBEAT, 3, 1, 1))
    node.propose("three")
    node.turn()
    answer = node.answers["three"]
    assert isinstance(answer, NotLeader)
    assert answer.leader == "http://m3"


def test_while_leadership_is_handed_over_proposals_are_worth_another_try() -> None:
    node = Node()
    node.lead()
    node.driver.raft.transfer_leadership(2)
    node.propose("a")
    node.turn()
    assert kinds(node) == {"a": NoLeader}


def test_an_entry_that_is_applied_in_pieces_is_given_again_until_it_is_done() -> None:
    node = Node()
    node.lead()
    node.acknowledge(1)
    for name in ("before", "long", "after"):
        node.propose(name)
    node.turn()
    node.machine.pieces = {3: 4}
    node.driver.receive(Message(MessageKind.APPEND_RESPONSE, 2, 1, node.driver.raft.term, index=4))
    node.read("r")
    for _ in range(3):
        node.driver.turn()
        assert kinds(node) == {"before": bytes}
        assert (node.machine.applied_index, node.driver.raft.applied_index) == (2, 2)
        assert node.driver.has_work
    node.turn()
    assert kinds(node) == {"before": bytes, "long": bytes, "after": bytes}
    assert node.driver.raft.applied_index == node.machine.applied_index == 4


def _overwrite(node: Node, *, commit: int) -> None:
    """A leader of term 2 replaces what node 1 has proposed in term 1, from the index after the no-op on."""
    entries = (Entry(2, 2, 0, b""),)
    node.receive(Message(MessageKind.APPEND, 3, 1, 2, index=1, log_term=1, commit=commit, entries=entries))


def test_a_proposal_is_certainly_gone_only_when_another_entry_is_applied_in_its_place() -> None:
    node = Node()
    node.lead()
    node.acknowledge(1)
    node.propose("a")
    node.turn()
    _overwrite(node, commit=1)
    assert node.answers == {}
    _overwrite(node, commit=2)
    answer = node.answers["a"]
    assert isinstance(answer, NotLeader)
    assert answer.definite


def test_taking_the_place_of_a_lost_proposal_leaves_its_end_unknown() -> None:
    """Of five members one may hold the old entry still, and lead before anything else is committed there."""
    node = Node()
    node.lead()
    node.acknowledge(1)
    for name in ("a", "b", "c"):
        node.propose(name)
    node.turn()  # entries 2, 3 and 4 of term 1
    _overwrite(node, commit=1)  # entry 2 is of term 2 now, 3 and 4 are gone
    node.lead()  # entry 3: the no-op of term 3
    node.propose("d")  # entry 4
    node.turn()
    assert kinds(node) == {"c": LeaderChanged}
    answer = node.answers["c"]
    assert isinstance(answer, KvraftError)
    assert not answer.definite
    node.acknowledge(4)
    assert kinds(node) == {"a": NotLeader, "b": NotLeader, "c": LeaderChanged, "d": bytes}


def test_a_snapshot_over_proposals_leaves_their_end_unknown() -> None:
    node = Node()
    node.lead()
    node.propose("a")
    node.turn()
    meta = SnapshotMeta(10, 2, node.driver.raft.configuration)
    node.driver.receive_snapshot(Message(MessageKind.SNAPSHOT, 3, 1, 2, snapshot=meta), meta)
    node.turn()
    assert kinds(node) == {"a": LeaderChanged}
    assert node.machine.applied_index == 10


def test_stopping_answers_everybody_with_what_is_certain() -> None:
    node = Node()
    node.lead()
    node.acknowledge(1)
    node.propose("in the log")
    node.read("asked")
    node.turn()
    node.propose("not yet")
    node.read("neither")
    node.driver.stop()
    assert kinds(node) == {"in the log": OutcomeUnknown, "asked": Stopped, "not yet": Stopped, "neither": Stopped}
    assert [answer.definite for answer in node.answers.values() if isinstance(answer, KvraftError)].count(False) == 1


def test_a_leader_on_a_stalled_disk_steps_down() -> None:
    node = Node()
    node.lead()
    node.log.stalled_seconds = CONFIG.stalled_disk_seconds
    node.driver.tick()
    assert node.driver.raft.role is Role.LEADER
    node.log.stalled_seconds += 0.1
    node.driver.tick()
    assert node.driver.raft.role is not Role.LEADER


@pytest.mark.parametrize("count", [1, 3000])
def test_whatever_arrives_in_one_turn_is_handled_in_some_turn(count: int) -> None:
    node = Node((1,))
    node.driver.config = DriverConfig()
    node.driver.raft.campaign()
    node.turn()
    for number in range(count):
        node.propose(str(number))
    node.turn()
    assert len(node.answers) == count


def test_what_arrives_together_shares_entries_up_to_a_bound() -> None:
    node = Node((1,))
    node.driver.config = DriverConfig(max_batch_bytes=6)
    node.driver.raft.campaign()
    node.turn()
    last = node.driver.raft.last_index
    for name in ("aaa", "bbb", "c", "dddddddddddd", "e", "f"):
        node.propose(name)
    assert node.driver.proposed.count == 0
    node.driver.turn()
    assert node.driver.proposed.count == 6
    assert [entry.data for batch in node.log.submitted for entry in batch.entries] == [
        b"aaa,bbb",
        b"c,dddddddddddd",
        b"e,f",
    ]
    node.turn()
    assert node.driver.raft.last_index == last + 3
    assert {name: answer for name, answer in node.answers.items() if answer != name.encode()} == {}
    assert (len(node.answers), node.driver.proposed.count) == (6, 0)
