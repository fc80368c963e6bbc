"""Followers where nobody waits for a commit are not woken for it alone; all others hear of it at once."""

from __future__ import annotations

import pytest

from kvraft.raft.messages import Entry, Message, MessageKind
from kvraft.wire.peer import Propose
from tests.kvraft.drivers import Node


def told(node: Node) -> set[int]:
    """Who has been sent the commit index that the leader has, since this was last asked."""
    sent, node.transport.sent = node.transport.sent, []
    appends = [message for message in sent if message.kind == MessageKind.APPEND]
    return {message.to for message in appends if message.commit == node.driver.raft.commit_index}


def acknowledge(node: Node, peer: int, *, patient: bool) -> None:
    raft = node.driver.raft
    node.receive(Message(MessageKind.APPEND_RESPONSE, peer, 1, raft.term, index=raft.last_index, patient=patient))


@pytest.fixture
def leader() -> Node:
    """Of two followers that have everything: member 2 is patient, member 3 is not."""
    node = Node()
    node.lead()
    acknowledge(node, 2, patient=True)
    acknowledge(node, 3, patient=False)
    node.turn()
    told(node)
    return node


def test_a_commit_alone_is_told_to_those_who_wait_for_it(leader: Node) -> None:
    leader.propose("a")
    leader.turn()
    told(leader)
    acknowledge(leader, 3, patient=False)
    assert "a" in leader.answers
    assert told(leader) == {3}
    acknowledge(leader, 2, patient=True)
    assert told(leader) == set()
    leader.tick(1)
    assert told(leader) == {2}, "the next tick tells everybody"
    leader.tick(1)
    assert told(leader) == set(), "once"


def test_further_entries_tell_it(leader: Node) -> None:
    leader.propose("a")
    leader.turn()
    acknowledge(leader, 3, patient=False)
    acknowledge(leader, 2, patient=True)
    told(leader)
    leader.propose("b")
    leader.turn()
    assert told(leader) == {2, 3}
    leader.tick(1)
    assert told(leader) == set()


def test_who_becomes_impatient_is_told(leader: Node) -> None:
    leader.propose("a")
    leader.turn()
    acknowledge(leader, 2, patient=True)
    told(leader)
    raft = leader.driver.raft
    leader.receive(Message(MessageKind.HEARTBEAT_RESPONSE, 2, 1, raft.term, index=raft.last_index))
    assert told(leader) >= {2}


def test_a_write_that_came_in_at_a_follower_is_told_to_all(leader: Node) -> None:
    leader.driver.asked("member 2", [Propose(1, b"a")])
    leader.turn()
    told(leader)
    acknowledge(leader, 2, patient=True)
    acknowledge(leader, 3, patient=True)
    assert told(leader) >= {2}


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("awaited", [False, True])
def test_a_follower_is_patient_while_nobody_watches_or_reads_there(reads: bool, awaited: bool) -> None:
    node = Node()
    node.follow(2)
    node.machine.awaited = awaited
    if reads:
        node.read("r")
    node.append(2, 1, Entry(1, 1, 0, b""))
    answer = next(message for message in node.transport.sent if message.kind == MessageKind.APPEND_RESPONSE)
    assert answer.patient == (not (awaited or reads))
