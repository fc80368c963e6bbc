"""One test per statement of the extended Raft paper, by section; "thesis" is Ongaro's dissertation."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kvraft.raft.election import Election
from kvraft.raft.messages import (
    Configuration,
    Entry,
    Message,
    MessageKind,
    Role,
    SnapshotMeta,
)
from tests.kvraft.raft.harness import (
    Disk,
    Node,
    entries,
    fill,
    kinds,
    lead,
    leader_with_commit,
    make_cluster,
    make_node,
)

K = MessageKind
VOTERS = Configuration((1, 2, 3))


def node_with(terms: list[int], term: int = 0, commit: int = 0, **settings: Any) -> Node:
    return make_node(disk=fill(Disk(VOTERS), terms, term, commit=commit), **settings)


def in_role(role: Role, term: int = 1) -> Node:
    """Node 1 in a role of ``term``."""
    node = make_node(disk=fill(Disk(VOTERS), [], term - (role >= Role.CANDIDATE)), pre_vote=False)
    if role is Role.CANDIDATE:
        node.raft.campaign()
    elif role is Role.LEADER:
        lead(node)
    node.pump()
    assert (node.raft.role, node.raft.term) == (role, term)
    return node


# -- 5.1 Raft basics


def test_5_1_a_node_starts_as_a_follower_in_the_term_it_remembers() -> None:
    raft = make_node(disk=fill(Disk(VOTERS), [1, 4], 5, vote=2)).raft
    assert (raft.role, raft.term, raft.vote, raft.leader) == (Role.FOLLOWER, 5, 2, 0)


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
@pytest.mark.parametrize("kind", [K.APPEND, K.HEARTBEAT, K.APPEND_RESPONSE, K.HEARTBEAT_RESPONSE])
def test_5_1_a_later_term_makes_anyone_a_follower_of_it(role: Role, kind: MessageKind) -> None:
    node = in_role(role, 1)
    node.raft.step(Message(kind, 2, 1, 3))
    assert (node.raft.role, node.raft.term, node.raft.vote) == (Role.FOLLOWER, 3, 0)
    assert node.raft.leader == (2 if kind in (K.APPEND, K.HEARTBEAT) else 0)


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (K.APPEND, K.APPEND_RESPONSE),
        (K.HEARTBEAT, K.APPEND_RESPONSE),
        (K.SNAPSHOT, K.APPEND_RESPONSE),
        (K.VOTE, K.VOTE_RESPONSE),
        (K.PREVOTE, K.PREVOTE_RESPONSE),
    ],
)
def test_5_1_a_request_of_an_earlier_term_is_refused(role: Role, kind: MessageKind, answer: MessageKind) -> None:
    node = in_role(role, 3)
    last = node.raft.last_index
    node.raft.step(Message(kind, 2, 1, 2, index=0, log_term=0, entries=entries(1, 2)))
    assert node.pump() == [Message(answer, 1, 2, 3, reject=True)]
    assert (node.raft.role, node.raft.last_index) == (role, last)


@pytest.mark.parametrize("kind", [K.APPEND_RESPONSE, K.VOTE_RESPONSE, K.READ_INDEX, K.TIMEOUT_NOW])
def test_5_1_an_answer_of_an_earlier_term_is_ignored(kind: MessageKind) -> None:
    node = in_role(Role.LEADER, 3)
    node.raft.step(Message(kind, 2, 1, 2, index=1))
    assert not node.raft.has_ready()
    assert node.raft.role is Role.LEADER


# -- 5.2 Leader election


def test_5_2_a_leader_sends_heartbeats_periodically() -> None:
    node = make_node(heartbeat_ticks=2)
    lead(node)
    node.raft.tick()
    assert node.pump() == []
    node.raft.tick()
    assert kinds(node.pump()) == ["HEARTBEAT->2", "HEARTBEAT->3"]


def test_5_2_a_follower_that_hears_nothing_stands_for_election() -> None:
    node = node_with([1, 2], pre_vote=False)
    for _ in range(19):
        node.raft.tick()
    assert (node.raft.role, node.raft.term, node.raft.vote) == (Role.CANDIDATE, 3, 1)
    assert node.pump() == [
        Message(K.VOTE, 1, 2, 3, index=2, log_term=2),
        Message(K.VOTE, 1, 3, 3, index=2, log_term=2),
    ]


def test_5_2_a_candidate_without_a_result_stands_again() -> None:
    node = in_role(Role.CANDIDATE, 2)
    for _ in range(19):
        node.raft.tick()
    assert (node.raft.role, node.raft.term) == (Role.CANDIDATE, 3)
    assert kinds(node.pump()) == ["VOTE->2", "VOTE->3"]


@pytest.mark.parametrize(
    ("size", "votes", "role"),
    [
        (1, {}, Role.LEADER),
        (3, {2: True, 3: True}, Role.LEADER),
        (3, {2: True}, Role.LEADER),
        (5, {2: True, 3: True}, Role.LEADER),
        (3, {2: False, 3: False}, Role.FOLLOWER),
        (5, {2: False, 3: False, 4: False}, Role.FOLLOWER),
        (5, {2: True, 3: False, 4: False, 5: False}, Role.FOLLOWER),
        (3, {}, Role.CANDIDATE),
        (5, {2: True}, Role.CANDIDATE),
        (5, {2: False, 3: False}, Role.CANDIDATE),
        (4, {2: True}, Role.CANDIDATE),
    ],
)
def test_5_2_a_majority_of_votes_decides_an_election(size: int, votes: dict[int, bool], role: Role) -> None:
    node = make_node(voters=tuple(range(1, size + 1)), pre_vote=False)
    node.raft.campaign()
    node.pump()  # the own vote counts once it is durable
    for voter, granted in votes.items():
        node.raft.step(Message(K.VOTE_RESPONSE, voter, 1, 1, reject=not granted))
    assert (node.raft.role, node.raft.term) == (role, 1)


def test_5_2_a_repeated_vote_counts_once() -> None:
    node = make_node(voters=(1, 2, 3, 4, 5), pre_vote=False)
    node.raft.campaign()
    for _ in range(3):
        node.raft.step(Message(K.VOTE_RESPONSE, 2, 1, 1))
    assert node.raft.role is Role.CANDIDATE


@pytest.mark.parametrize(
    ("vote", "candidate", "granted"),
    [(0, 2, True), (0, 3, True), (2, 2, True), (3, 3, True), (2, 3, False), (3, 2, False)],
)
def test_5_2_a_node_votes_for_one_candidate_per_term(vote: int, candidate: int, granted: bool) -> None:
    node = make_node(disk=fill(Disk(VOTERS), [], 1, vote=vote))
    node.raft.step(Message(K.VOTE, candidate, 1, 1))
    assert node.pump() == [Message(K.VOTE_RESPONSE, 1, candidate, 1, reject=not granted)]
    assert node.raft.vote == (candidate if granted else vote)


def test_5_2_nobody_votes_in_a_term_that_has_a_leader() -> None:
    node = make_node()
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
    node.pump()
    node.raft.step(Message(K.VOTE, 3, 1, 1, index=9, log_term=1))
    assert node.pump() == [Message(K.VOTE_RESPONSE, 1, 3, 1, reject=True)]


@pytest.mark.parametrize("kind", [K.APPEND, K.HEARTBEAT])
@pytest.mark.parametrize("term", [1, 2])
def test_5_2_a_candidate_that_hears_a_leader_follows_it(kind: MessageKind, term: int) -> None:
    node = in_role(Role.CANDIDATE, 1)
    node.raft.step(Message(kind, 3, 1, term))
    assert (node.raft.role, node.raft.term, node.raft.leader) == (Role.FOLLOWER, term, 3)


def test_5_2_granting_a_vote_restarts_the_timer() -> None:
    node = make_node(pre_vote=False)
    for _ in range(9):
        node.raft.tick()
    node.raft.step(Message(K.VOTE, 2, 1, 0))
    for _ in range(9):
        node.raft.tick()
    assert node.raft.role is Role.FOLLOWER


def test_5_2_election_timeouts_are_spread_over_the_interval() -> None:
    seen = set()
    node = make_node(pre_vote=False)
    for _ in range(200):
        ticks, term = 0, node.raft.term
        while node.raft.term == term:
            node.raft.tick()
            ticks += 1
        seen.add(ticks)
    assert seen == set(range(10, 20))


def test_5_2_split_votes_are_rare() -> None:
    together = 0
    for seed in range(1000):
        rng = random.Random(seed)
        elections = [Election(10, rng) for _ in range(3)]
        while not any(election.has_timed_out() for election in elections):
            for election in elections:
                election.elapsed += 1
        together += sum(election.has_timed_out() for election in elections) > 1
    assert together / 1000 < 0.3


# -- 5.3 Log replication


def test_5_3_a_leader_appends_a_proposal_and_sends_it_to_everyone() -> None:
    node = leader_with_commit()
    assert node.raft.propose([b"some"]) == (2, 1)
    entry = Entry(2, 1, 0, b"some")
    assert node.pump() == [
        Message(K.APPEND, 1, peer, 1, index=1, log_term=1, commit=1, entries=(entry,)) for peer in (2, 3)
    ]
    assert node.disk.log[2] == entry


def test_5_3_an_entry_on_a_majority_is_committed_applied_and_told() -> None:
    node = leader_with_commit()
    node.raft.propose([b"some"])
    node.pump()
    assert node.raft.commit_index == 1
    node.raft.step(Message(K.APPEND_RESPONSE, 3, 1, 1, index=2))
    assert node.pump() == [Message(K.APPEND, 1, peer, 1, index=2, log_term=1, commit=2) for peer in (2, 3)]
    assert node.state[-1] == Entry(2, 1, 0, b"some")


@pytest.mark.parametrize(
    ("size", "acknowledging", "committed"),
    [
        (1, (), True),
        (3, (), False),
        (3, (2,), True),
        (3, (2, 3), True),
        (5, (2,), False),
        (5, (2, 3), True),
        (5, (2, 3, 4, 5), True),
        (4, (2,), False),
        (4, (2, 3), True),
    ],
)
def test_5_3_a_majority_commits(size: int, acknowledging: tuple[int, ...], committed: bool) -> None:
    node = leader_with_commit(voters=tuple(range(1, size + 1)))
    node.raft.propose([b"some"])
    node.pump()
    for peer in acknowledging:
        node.raft.step(Message(K.APPEND_RESPONSE, peer, 1, 1, index=2))
    assert (node.raft.commit_index == 2) is committed


@pytest.mark.parametrize("terms", [[], [2], [1, 2], [1]])
def test_5_3_a_commit_covers_every_entry_before_it(terms: list[int]) -> None:
    node = node_with(terms, 2, pre_vote=False)
    lead(node)
    node.raft.propose([b"some"])
    node.pump()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 3, index=len(terms) + 2))
    node.pump()
    assert [entry.term for entry in node.state] == [*terms, 3, 3]


@pytest.mark.parametrize(("leader_commit", "committed"), [(0, 0), (1, 1), (2, 2), (9, 3)])
def test_5_3_a_follower_applies_what_the_leader_committed_and_it_has(leader_commit: int, committed: int) -> None:
    node = make_node()
    node.raft.step(Message(K.APPEND, 2, 1, 1, commit=leader_commit, entries=entries(1, 1, 1, 1)))
    node.pump()
    assert (node.raft.commit_index, len(node.state)) == (committed, committed)


def test_5_3_a_commit_index_covers_only_what_the_message_shows_to_match() -> None:
    node = node_with([1, 1, 1])
    node.raft.step(Message(K.APPEND, 2, 1, 2, index=1, log_term=1, commit=3))
    assert node.raft.commit_index == 1


@pytest.mark.parametrize(
    ("index", "log_term", "hint", "hint_term"),
    [(2, 1, 1, 1), (3, 2, 2, 2), (4, 4, 2, 2), (2, 3, 2, 2), (9, 1, 1, 1)],
)
def test_5_3_a_follower_refuses_an_append_that_does_not_fit(
    index: int, log_term: int, hint: int, hint_term: int
) -> None:
    node = node_with([1, 2], 4)
    node.raft.step(Message(K.APPEND, 2, 1, 4, index=index, log_term=log_term, entries=entries(index + 1, 4)))
    refusal = Message(K.APPEND_RESPONSE, 1, 2, 4, index=index, log_term=hint_term, reject=True, reject_hint=hint)
    assert node.pump() == [refusal]
    assert node.raft.last_index == 2


@pytest.mark.parametrize(
    ("index", "log_term", "sent", "terms"),
    [
        (2, 2, entries(3, 3), [1, 2, 3]),
        (1, 1, entries(2, 3, 4), [1, 3, 4]),
        (0, 0, entries(1, 1), [1, 2]),
        (0, 0, entries(1, 3), [3]),
        (1, 1, entries(2, 2, 4), [1, 2, 4]),
        (2, 2, (), [1, 2]),
    ],
)
def test_5_3_a_follower_replaces_what_conflicts_and_nothing_else(
    index: int, log_term: int, sent: tuple[Entry, ...], terms: list[int]
) -> None:
    node = node_with([1, 2], 4)
    node.raft.step(Message(K.APPEND, 2, 1, 4, index=index, log_term=log_term, entries=sent))
    answers = node.pump()
    assert [node.disk.log[i].term for i in sorted(node.disk.log)] == terms
    assert answers == [Message(K.APPEND_RESPONSE, 1, 2, 4, index=index + len(sent))]


FIGURE_7 = {
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("case", FIGURE_7)
def test_5_3_figure_7_a_leader_brings_any_follower_to_its_own_log(case: str) -> None:
    leader_log = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
    disks = {1: leader_log, 2: FIGURE_7[case], 3: []}
    cluster = make_cluster(disks={i: fill(Disk(VOTERS), terms, 7) for i, terms in disks.items()})
    cluster.elect(1)
    cluster.propose(1, b"new")
    for node in cluster.nodes.values():
        assert [entry.term for entry in node.disk.log.values()] == [*leader_log, 8, 8]
        assert node.state == cluster.nodes[1].state


def test_5_3_a_refusal_skips_a_whole_term() -> None:
    node = node_with([1] * 5 + [5] * 20, pre_vote=False)
    lead(node)
    refusal = Message(K.APPEND_RESPONSE, 2, 1, 6, index=25, log_term=4, reject=True, reject_hint=12)
    node.raft.step(refusal)
    (probe,) = node.pump()
    assert (probe.index, probe.log_term) == (5, 1)


# -- 5.4 Safety


@pytest.mark.parametrize(
    ("terms", "index", "log_term", "granted"),
    [
        ([1], 1, 1, True),
        ([1], 1, 2, True),
        ([1, 1], 1, 2, True),
        ([1], 2, 1, True),
        ([1, 1], 1, 1, False),
        ([2], 1, 1, False),
        ([2], 2, 1, False),
        ([1, 1], 2, 1, True),
        ([], 0, 0, True),
    ],
)
@pytest.mark.parametrize("kind", [K.VOTE, K.PREVOTE])
def test_5_4_1_only_a_log_at_least_as_complete_gets_a_vote(
    terms: list[int], index: int, log_term: int, granted: bool, kind: MessageKind
) -> None:
    node = node_with(terms, 3)
    node.raft.step(Message(kind, 2, 1, 4, index=index, log_term=log_term))
    (answer,) = node.pump()
    assert answer.reject is not granted


def test_5_4_2_figure_8_counting_commits_only_entries_of_the_own_term() -> None:
    node = node_with([1, 2], 3, pre_vote=False)
    lead(node)
    assert node.raft.term == 4
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 4, index=2))
    assert node.raft.commit_index == 0, "an entry of term 2 on a majority may still be replaced"
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 4, index=3))
    assert node.raft.commit_index == 3, "with an entry of term 4 on it, it may not"


# -- 5.5, 7: crashes and snapshots


def test_5_5_a_repeated_append_changes_nothing() -> None:
    node = make_node()
    append = Message(K.APPEND, 2, 1, 1, entries=entries(1, 1, 1))
    node.raft.step(append)
    first = node.pump()
    node.raft.step(append)
    assert node.pump() == first == [Message(K.APPEND_RESPONSE, 1, 2, 1, index=2)]
    assert node.raft.last_index == 2


def test_7_a_leader_sends_a_snapshot_for_what_it_discarded() -> None:
    node = leader_with_commit(2)
    node.raft.propose([b"a", b"b"])
    node.pump()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=3))
    node.pump()
    node.compact(3)
    node.raft.step(Message(K.APPEND_RESPONSE, 3, 1, 1, index=0, reject=True))
    assert node.pump() == [Message(K.SNAPSHOT, 1, 3, 1)]


def test_7_a_snapshot_replaces_the_log_and_tells_the_configuration() -> None:
    node = node_with([1, 1])
    meta = SnapshotMeta(9, 2, Configuration((1, 2, 3, 4)))
    node.received[9, 2] = [Entry(i, 1, 0, b"") for i in range(1, 9)] + [Entry(9, 2, 0, b"")]
    node.raft.step(Message(K.SNAPSHOT, 2, 1, 2, snapshot=meta))
    assert node.pump() == [Message(K.APPEND_RESPONSE, 1, 2, 2, index=9)]
    raft = node.raft
    assert (raft.first_index, raft.last_index, raft.commit_index, raft.applied_index) == (10, 9, 9, 9)
    assert raft.configuration == meta.configuration
    assert (node.disk.log, node.disk.compacted_index) == ({}, 9)
    raft.step(Message(K.APPEND, 4, 1, 3, index=9, log_term=2, entries=entries(10, 3)))
    assert kinds(node.pump()) == ["APPEND_RESPONSE->4"]


def test_7_a_snapshot_of_what_is_committed_already_is_only_acknowledged() -> None:
    node = node_with([1, 1, 1], commit=2)
    node.raft.step(Message(K.SNAPSHOT, 2, 1, 1, snapshot=SnapshotMeta(1, 1, VOTERS)))
    ready = node.raft.ready()
    assert ready.snapshot is None
    assert ready.messages == [Message(K.APPEND_RESPONSE, 1, 2, 1, index=2)]


def test_7_a_snapshot_that_the_log_covers_keeps_the_log() -> None:
    node = node_with([1, 1, 1], commit=1)
    node.raft.step(Message(K.SNAPSHOT, 2, 1, 1, snapshot=SnapshotMeta(2, 1, VOTERS)))
    assert node.pump() == [Message(K.APPEND_RESPONSE, 1, 2, 1, index=2)]
    assert (node.raft.commit_index, node.raft.last_index, node.raft.compacted_index) == (2, 3, 0)
