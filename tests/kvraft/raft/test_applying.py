"""What is handed out to be applied, and given back; who hears of a commit."""

from __future__ import annotations

import pytest

from kvraft.raft.messages import Message, MessageKind
from tests.kvraft.raft.harness import leader_with_commit

K = MessageKind


def test_what_could_not_be_applied_yet_is_given_again() -> None:
    node = leader_with_commit()
    node.raft.propose([b"a", b"b", b"c"])
    node.pump()
    last = node.raft.last_index
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, node.raft.term, index=last))
    committed = node.raft.ready().committed
    assert [entry.data for entry in committed] == [b"a", b"b", b"c"]
    node.raft.not_applied(committed[1:])
    assert node.raft.applied_index == last - 2
    with pytest.raises(ValueError, match="applied is"):
        node.raft.compact(last - 1)
    assert node.raft.has_ready()
    assert node.raft.ready().committed == committed[1:]
    assert node.raft.applied_index == last


def test_patient_followers_hear_of_a_commit_when_told_to() -> None:
    node = leader_with_commit()
    node.raft.propose([b"a"])
    node.pump()
    assert not node.raft.owes_commit
    for peer in (2, 3):
        node.raft.step(Message(K.APPEND_RESPONSE, peer, 1, 1, index=2, patient=peer == 3))
    impatient = node.pump()
    assert node.raft.commit_index == 2
    assert [(m.kind, m.to, m.commit, m.entries) for m in impatient] == [(K.APPEND, 2, 2, ())]
    assert node.raft.owes_commit
    assert not node.raft.has_ready()
    told = node.raft.ready(tell_commit=True).messages
    assert [(m.kind, m.to, m.commit, m.entries) for m in told] == [(K.APPEND, 3, 2, ())]
    assert not node.raft.owes_commit
