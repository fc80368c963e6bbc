"""One test per statement, by section: the Raft paper from section 8 on, and Ongaro's dissertation ("thesis")."""

from __future__ import annotations

import pytest

from kvraft.raft.messages import Configuration, Entry, HardState, Message, MessageKind, ReadState, Role
from tests.kvraft.raft.harness import Disk, entries, fill, kinds, lead, leader_with_commit, make_node

K = MessageKind
VOTERS = Configuration((1, 2, 3))


# -- 8 Client interaction; thesis, 6.4: linearizable reads


def test_8_a_leader_opens_its_term_with_a_no_op() -> None:
    node = make_node()
    lead(node)
    assert node.disk.log == {1: Entry(1, 1, 0, b"")}


def test_thesis_6_4_a_read_needs_a_commit_of_the_own_term_first() -> None:
    node = make_node(pre_vote=False)
    lead(node)
    node.raft.read_index(7)
    assert not node.raft.has_ready()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=1))
    beats = [m for m in node.pump() if m.kind == K.HEARTBEAT]
    assert [m.to for m in beats] == [2, 3]
    assert node.reads == []
    node.raft.step(Message(K.HEARTBEAT_RESPONSE, 3, 1, 1, context=beats[1].context))
    node.pump()
    assert node.reads == [ReadState(7, 1)]


def test_thesis_6_4_an_answer_to_an_earlier_heartbeat_confirms_nothing() -> None:
    node = leader_with_commit()
    node.raft.read_index(1)
    (first, _) = node.pump()
    node.raft.read_index(2)
    node.pump()
    node.raft.step(Message(K.HEARTBEAT_RESPONSE, 2, 1, 1, context=first.context))
    node.raft.step(Message(K.HEARTBEAT_RESPONSE, 3, 1, 1, context=first.context + 1000))
    node.raft.step(Message(K.HEARTBEAT_RESPONSE, 3, 1, 1))
    node.pump()
    assert node.reads == [ReadState(1, 1)]


def test_thesis_6_4_a_round_that_was_lost_rides_on_the_next_heartbeat() -> None:
    node = leader_with_commit()
    node.raft.read_index(1)
    (lost, _) = node.pump()
    node.raft.tick()
    (beat, _) = node.pump()
    assert beat.context == lost.context


def test_thesis_6_4_a_follower_believes_only_answers_to_its_latest_question() -> None:
    node = make_node(election_ticks=3)
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
    node.pump()
    node.raft.read_index(7)
    (first,) = node.pump()
    for _ in range(6):
        node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
        node.raft.tick()
    again = next(m for m in node.pump() if m.kind == K.READ_INDEX)
    assert again.context != first.context
    node.raft.step(Message(K.READ_INDEX_RESPONSE, 2, 1, 1, index=3, context=first.context))
    node.pump()
    assert node.reads == []
    node.raft.step(Message(K.READ_INDEX_RESPONSE, 2, 1, 1, index=5, context=again.context))
    node.pump()
    assert node.reads == [ReadState(7, 5)]


def test_thesis_6_4_a_restarted_node_asks_under_other_ids() -> None:
    node = make_node()
    contexts = []
    for _ in range(2):
        node.boot()
        node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
        node.raft.read_index(7)
        contexts += [m.context for m in node.pump() if m.kind == K.READ_INDEX]
    assert len(set(contexts)) == 2


# -- thesis, 3.8: what is durable before what


def test_thesis_3_8_votes_terms_and_entries_are_durable_before_anyone_is_told() -> None:
    node = make_node(pre_vote=False)
    raft = node.raft
    raft.step(Message(K.VOTE, 2, 1, 1))
    ready = raft.ready()
    assert (ready.hard_state, ready.messages) == (HardState(1, 2, 0), [])
    assert kinds(ready.after_persist) == ["VOTE_RESPONSE->2"]
    raft.step(Message(K.APPEND, 2, 1, 1, commit=1, entries=entries(1, 1)))
    append = raft.ready()
    assert (append.hard_state, append.messages, append.committed) == (HardState(1, 2, 1), [], ())
    assert kinds(append.after_persist) == ["APPEND_RESPONSE->2"]
    raft.persisted(ready.seq)
    assert not raft.has_ready()
    raft.persisted(append.seq)
    assert raft.ready().committed == list(entries(1, 1))
    for _ in range(20):
        raft.tick()
    campaign = raft.ready()
    assert (campaign.hard_state, campaign.messages) == (HardState(2, 1, 1), [])
    assert kinds(campaign.after_persist) == ["VOTE->2", "VOTE->3"]


def test_thesis_3_8_a_vote_that_is_durable_is_repeated_at_once() -> None:
    node = make_node(disk=fill(Disk(VOTERS), [], 1, vote=2))
    node.raft.step(Message(K.VOTE, 2, 1, 1))
    ready = node.raft.ready()
    assert (ready.seq, kinds(ready.messages)) == (0, ["VOTE_RESPONSE->2"])


# -- thesis, 3.10: leadership transfer


def test_thesis_3_10_a_complete_follower_is_told_to_stand_and_passes_leases() -> None:
    node = leader_with_commit()
    node.raft.transfer_leadership(2)
    assert node.pump() == [Message(K.TIMEOUT_NOW, 1, 2, 1)]
    target = make_node(2)
    target.raft.step(Message(K.APPEND, 1, 2, 1, commit=1, entries=(Entry(1, 1, 0, b""),)))
    target.pump()
    target.raft.step(Message(K.TIMEOUT_NOW, 1, 2, 1))
    votes = target.pump()
    assert votes == [Message(K.VOTE, 2, peer, 2, index=1, log_term=1, force=True) for peer in (1, 3)]
    node.raft.step(votes[0])
    assert kinds(node.pump()) == ["VOTE_RESPONSE->2"]
    assert node.raft.vote == 2


# -- thesis, 4.2.3 and 6.2: leases and the quorum check


@pytest.mark.parametrize("kind", [K.VOTE, K.PREVOTE])
@pytest.mark.parametrize("leading", [True, False])
def test_thesis_4_2_3_whoever_hears_a_leader_ignores_candidates(kind: MessageKind, leading: bool) -> None:
    node = leader_with_commit() if leading else make_node()
    if not leading:
        node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
        node.pump()
    candidate = Message(kind, 3, 1, 7, index=9, log_term=6)
    node.raft.step(candidate)
    assert (node.raft.term, node.raft.has_ready()) == (1, False)
    if not leading:
        for _ in range(10):
            node.raft.tick()
        node.raft.step(candidate)
        assert kinds(node.pump())[-1] == ("VOTE_RESPONSE->3" if kind == K.VOTE else "PREVOTE_RESPONSE->3")


def test_thesis_6_2_a_leader_that_reaches_no_majority_steps_down() -> None:
    node = leader_with_commit()
    node.raft.read_index(5)
    for _ in range(20):
        node.raft.tick()
    node.pump()
    assert (node.raft.role, node.raft.term, node.raft.leader) == (Role.FOLLOWER, 1, 0)
    assert node.dropped_reads == [5]
    assert "no quorum" in node.raft.status().step_down_reason


# -- thesis, 9.6: pre-vote


def test_thesis_9_6_a_pre_vote_changes_no_term_and_no_vote() -> None:
    node = make_node()
    node.raft.campaign()
    assert (node.raft.role, node.raft.term) == (Role.PRE_CANDIDATE, 0)
    requests = node.pump()
    assert requests == [Message(K.PREVOTE, 1, peer, 1) for peer in (2, 3)]
    voter = make_node(2)
    voter.raft.step(requests[0])
    assert voter.pump() == [Message(K.PREVOTE_RESPONSE, 2, 1, 1)]
    assert (voter.raft.term, voter.raft.vote) == (0, 0)
    node.raft.step(Message(K.PREVOTE_RESPONSE, 2, 1, 1))
    assert (node.raft.role, node.raft.term) == (Role.CANDIDATE, 1)


def test_thesis_9_6_a_refusal_tells_of_a_later_term() -> None:
    node = make_node()
    node.raft.campaign()
    node.raft.step(Message(K.PREVOTE_RESPONSE, 2, 1, 5, reject=True))
    assert (node.raft.role, node.raft.term) == (Role.FOLLOWER, 5)


def test_thesis_9_6_grants_of_an_earlier_attempt_do_not_count() -> None:
    node = make_node(disk=fill(Disk(VOTERS), [], 4))
    node.raft.campaign()
    node.raft.step(Message(K.PREVOTE_RESPONSE, 2, 1, 4))
    assert node.raft.role is Role.PRE_CANDIDATE


# -- thesis, 10.2.1: the leader writes to its disk in parallel


def test_thesis_10_2_1_the_leader_sends_before_its_own_write_is_durable() -> None:
    node = leader_with_commit()
    node.raft.propose([b"a"])
    ready = node.raft.ready()
    assert kinds(ready.messages) == ["APPEND->2", "APPEND->3"]
    assert (ready.entries, ready.after_persist) == ([Entry(2, 1, 0, b"a")], ())


def test_thesis_10_2_1_followers_alone_may_commit_but_the_leader_applies_what_is_durable() -> None:
    node = leader_with_commit()
    node.raft.propose([b"a"])
    ready = node.raft.ready()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=2))
    assert node.raft.commit_index == 1, "the leader's own copy does not count yet"
    node.raft.step(Message(K.APPEND_RESPONSE, 3, 1, 1, index=2))
    assert node.raft.commit_index == 2
    assert node.raft.ready().committed == ()
    node.raft.persisted(ready.seq)
    assert node.raft.ready().committed == [Entry(2, 1, 0, b"a")]
