"""The public interface of ``Raft`` beyond the paper: bounds, bad input, batches and what is refused how."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.raft.core import Raft
from kvraft.raft.messages import (
    Configuration,
    Entry,
    HardState,
    Message,
    MessageKind,
    ProposalDropped,
    RaftConfig,
    RaftStart,
    ReadState,
    Role,
    SnapshotMeta,
)
from kvraft.raft.progress import ProgressState
from tests.kvraft.raft.harness import (
    Disk,
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


# -- what is refused at the start


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"node_id": 0}, "node_id must not be 0"),
        ({"heartbeat_ticks": 0}, "heartbeat_ticks must be at least 1, not 0"),
        ({"max_append_bytes": 0}, "max_append_bytes"),
        ({"max_inflight_messages": -1}, "max_inflight_messages must be at least 1, not -1"),
        ({"cached_bytes": 0}, "cached_bytes"),
        ({"election_ticks": 3, "heartbeat_ticks": 3}, "election_ticks 3 must be above heartbeat_ticks 3"),
    ],
)
def test_settings_that_cannot_work_are_refused(setting: dict[str, int], message: str) -> None:
    config = RaftConfig(**{"node_id": 1, **setting})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        Raft(config, RaftStart(HardState(), VOTERS), Disk(VOTERS), random.Random(1))


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"compacted_index": 3, "applied_index": 2}, "compacted_index 3 is above applied_index 2"),
        ({"applied_index": 6}, "applied_index 6 is above last_index 5"),
        ({"hard_state": HardState(1, 0, 6)}, "commit 6 is above last_index 5"),
    ],
)
def test_a_start_that_contradicts_itself_is_refused(start: dict[str, Any], message: str) -> None:
    values = {"hard_state": HardState(1), "configuration": VOTERS, "last_index": 5, **start}
    with pytest.raises(ValueError, match=message):
        Raft(RaftConfig(1), RaftStart(**values), fill(Disk(VOTERS), [1] * 5), random.Random(1))


def test_a_start_behind_a_compacted_log() -> None:
    start = RaftStart(HardState(4, 0, 2), VOTERS, 7, 4, last_index=7, applied_index=7)
    raft = Raft(RaftConfig(1), start, Disk(VOTERS), random.Random(1))
    assert (raft.first_index, raft.compacted_index, raft.commit_index, raft.durable_index) == (8, 7, 7, 7)
    assert not raft.has_ready()


# -- proposals


def test_proposals_are_numbered_consecutively_and_leave_in_one_batch() -> None:
    node = leader_with_commit()
    assert node.raft.propose([b"a", b"b"]) == (2, 1)
    assert node.raft.propose([b"c"]) == (4, 1)
    ready = node.raft.ready()
    assert [entry.data for entry in ready.entries] == [b"a", b"b", b"c"]
    first, second = ready.messages
    assert [entry.index for entry in first.entries] == [2, 3, 4]
    assert first.entries is second.entries, "followers at the same index share the entries"


@pytest.mark.parametrize("datas", [[], [b"a", b""]])
def test_an_empty_proposal_is_an_error(datas: list[bytes]) -> None:
    node = leader_with_commit()
    with pytest.raises(ValueError, match="some data"):
        node.raft.propose(datas)
    assert not node.raft.has_ready()


def test_only_a_leader_takes_proposals() -> None:
    node = make_node()
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
    with pytest.raises(ProposalDropped, match="not the leader") as dropped:
        node.raft.propose([b"a"])
    assert dropped.value.leader == 2


def test_too_much_uncommitted_data_is_refused_as_a_whole_until_it_is_applied() -> None:
    node = make_node(max_uncommitted_bytes=10)
    lead(node)
    node.raft.propose([b"x" * 50])  # alone, anything passes
    with pytest.raises(ProposalDropped, match="too much uncommitted data") as dropped:
        node.raft.propose([b"x"])
    assert dropped.value.leader == 1
    node.pump()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=2))
    node.pump()
    node.raft.propose([b"x" * 5, b"x" * 5])
    with pytest.raises(ProposalDropped):
        node.raft.propose([b"x"])
    assert node.raft.last_index == 4


# -- batches


def test_a_new_commit_index_alone_is_not_written() -> None:
    node = make_node()
    node.raft.step(Message(K.APPEND, 2, 1, 1, entries=entries(1, 1, 1)))
    node.pump()
    node.raft.step(Message(K.APPEND, 2, 1, 1, index=2, log_term=1, commit=2))
    ready = node.raft.ready()
    assert (ready.seq, ready.hard_state, len(ready.committed)) == (0, None, 2)
    node.raft.step(Message(K.APPEND, 2, 1, 1, index=2, log_term=1, commit=2, entries=entries(3, 1)))
    assert node.raft.ready().hard_state == HardState(1, 0, 2)


def test_an_unchanged_hard_state_is_not_written_again() -> None:
    node = leader_with_commit()
    node.raft.propose([b"a"])
    node.pump()
    node.raft.propose([b"b"])
    assert node.raft.ready().hard_state is None


def test_what_waits_for_earlier_batches_has_a_batch_of_its_own() -> None:
    raft = make_node().raft
    raft.step(Message(K.VOTE, 2, 1, 1))
    first = raft.ready()
    raft.step(Message(K.VOTE, 2, 1, 1))
    second = raft.ready()
    assert (first.seq, second.seq, second.hard_state, second.messages) == (1, 2, None, [])
    assert kinds(second.after_persist) == ["VOTE_RESPONSE->2"]


def test_an_acknowledgement_on_its_way_is_not_repeated() -> None:
    raft = make_node().raft
    append = Message(K.APPEND, 2, 1, 1, entries=entries(1, 1))
    raft.step(append)
    seq = raft.ready().seq
    raft.step(append)
    assert not raft.has_ready()
    raft.persisted(seq)
    raft.step(append)
    assert kinds(raft.ready().messages) == ["APPEND_RESPONSE->2"]


def test_what_became_durable_within_the_turn_does_not_wait() -> None:
    node = make_node()
    node.raft.step(Message(K.VOTE, 2, 1, 1))
    seq = node.raft.ready().seq
    node.raft.step(Message(K.VOTE, 2, 1, 1))
    node.raft.persisted(seq)
    ready = node.raft.ready()
    assert (ready.seq, kinds(ready.messages), ready.after_persist) == (0, ["VOTE_RESPONSE->2"], ())


def test_persisted_takes_batches_in_order_and_once() -> None:
    raft = leader_with_commit().raft
    raft.propose([b"a"])
    seq = raft.ready().seq
    with pytest.raises(ValueError, match="not outstanding"):
        raft.persisted(seq + 1)
    raft.persisted(seq)
    with pytest.raises(ValueError, match="not outstanding"):
        raft.persisted(seq)


def test_committed_entries_come_in_bounded_portions() -> None:
    node = make_node(disk=fill(Disk(VOTERS), [1] * 7, commit=7), max_committed_bytes=9)
    sizes = []
    while node.raft.has_ready():
        sizes.append(len(node.raft.ready().committed))
    assert sizes == [3, 3, 1]


# -- bad input


@pytest.mark.parametrize(
    "message",
    [
        Message(K.APPEND_RESPONSE, 9, 1, 5),
        Message(K.VOTE_RESPONSE, 9, 1, 5, force=True),
        Message(K.APPEND, 2, 3, 5),
        Message(K.APPEND, 1, 1, 5),
        Message(77, 2, 1, 5),
        Message(77, 2, 1, 0),
        Message(K.SNAPSHOT, 2, 1, 1),
        Message(K.SNAPSHOT, 2, 1, 1, snapshot=SnapshotMeta(9, 2, VOTERS)),
        Message(K.APPEND_RESPONSE, 2, 1, 1, index=7),
        Message(K.PREVOTE_RESPONSE, 2, 1, 9),
    ],
)
def test_strange_messages_change_nothing(message: Message) -> None:
    node = make_node(disk=fill(Disk(VOTERS), [1, 1], 1))
    before = node.raft.status()
    node.raft.step(message)
    assert (node.raft.status(), node.raft.has_ready()) == (before, False)


@pytest.mark.parametrize(
    "message",
    [
        Message(K.APPEND, 2, 1, 1, index=2, log_term=1, entries=entries(4, 1)),
        Message(K.APPEND, 2, 1, 1, index=2, log_term=1, entries=entries(3, 2)),
        Message(K.APPEND, 2, 1, 1, index=2, log_term=3),
        Message(K.APPEND, 3, 1, 1, index=2, log_term=1, entries=entries(3, 1)),
        Message(K.HEARTBEAT, 3, 1, 1, commit=2),
        Message(K.SNAPSHOT, 3, 1, 1, snapshot=SnapshotMeta(9, 1, VOTERS)),
    ],
)
def test_what_no_correct_leader_sends_is_not_followed(message: Message) -> None:
    node = make_node(disk=fill(Disk(VOTERS), [1, 1], 1))
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
    node.pump()
    before = node.raft.status()
    node.raft.step(message)
    assert (node.raft.status(), node.raft.has_ready()) == (before, False)


def test_a_leader_does_not_take_back_what_it_sent() -> None:
    node = make_node()
    node.raft.step(Message(K.APPEND, 2, 1, 2, entries=entries(1, 1, 1)))
    node.pump()
    node.raft.step(Message(K.APPEND, 2, 1, 2, entries=entries(1, 1, 2)))
    assert not node.raft.has_ready()
    assert node.disk.log[2].term == 1


def test_a_commit_index_beyond_the_log_is_not_believed() -> None:
    node = make_node(disk=fill(Disk(VOTERS), [1, 1], 1))
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1, commit=3))
    assert node.raft.commit_index == 0
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1, commit=2))
    assert node.raft.commit_index == 2


def test_an_append_below_the_commit_index_is_answered_with_it() -> None:
    node = make_node(disk=fill(Disk(VOTERS), [1, 1, 1], 1, commit=2))
    node.raft.step(Message(K.APPEND, 2, 1, 1, index=1, log_term=1, entries=entries(2, 9)))
    assert node.pump() == [Message(K.APPEND_RESPONSE, 1, 2, 1, index=2)]
    assert node.raft.last_index == 3


def test_a_leader_believes_no_acknowledgement_of_what_it_does_not_have() -> None:
    node = leader_with_commit()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=9))
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=9, reject=True, reject_hint=99, log_term=99))
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=0, reject=True, reject_hint=-5, log_term=-5))
    assert node.raft.status().progress[2].match == 1
    assert node.raft.commit_index == 1


messages = st.builds(
    Message,
    kind=st.sampled_from([0, *K, 99]),
    sender=st.integers(0, 4),
    to=st.integers(1, 2),
    term=st.integers(-1, 4),
    index=st.integers(-1, 6),
    log_term=st.integers(-1, 4),
    commit=st.integers(-1, 6),
    reject=st.booleans(),
    reject_hint=st.integers(-1, 6),
    context=st.integers(-1, 3),
    force=st.booleans(),
    entries=st.lists(st.builds(Entry, st.integers(0, 5), st.integers(0, 4), st.just(0), st.just(b"x")), max_size=2).map(
        tuple
    ),
)


@given(st.sampled_from([Role.FOLLOWER, Role.PRE_CANDIDATE, Role.LEADER]), st.lists(messages, max_size=8))
@settings(derandomize=True, max_examples=300, deadline=None)
def test_no_message_stops_a_node_or_takes_back_a_commit(role: Role, received: list[Message]) -> None:
    node = make_node(disk=fill(Disk(VOTERS), [1, 1, 2], 2, commit=2))
    if role is Role.PRE_CANDIDATE:
        node.raft.campaign()
    elif role is Role.LEADER:
        lead(node)
    node.pump()
    committed = [node.disk.log[1], node.disk.log[2]]
    for message in received:
        term = node.raft.term
        node.raft.step(message)
        node.pump()
        assert node.raft.term >= term
    assert node.state[:2] == committed


# -- leadership, followers and reads


def test_campaigning_is_for_voters_that_do_not_lead() -> None:
    node = leader_with_commit()
    node.raft.campaign()
    assert node.raft.role is Role.LEADER
    learner = make_node(4, learners=(4,))
    learner.raft.campaign()
    assert learner.raft.role is Role.FOLLOWER


def test_a_learner_that_hears_nothing_forgets_its_leader() -> None:
    node = make_node(4, learners=(4,))
    node.raft.step(Message(K.HEARTBEAT, 2, 4, 1))
    node.raft.read_index(3)
    for _ in range(20):
        node.raft.tick()
    node.pump()
    assert (node.raft.leader, node.raft.role, node.dropped_reads) == (0, Role.FOLLOWER, [3])


@pytest.mark.parametrize(
    ("sender", "learners", "role"), [(2, (), Role.CANDIDATE), (3, (), Role.FOLLOWER), (2, (1,), Role.FOLLOWER)]
)
def test_timeout_now_counts_from_the_leader_and_for_voters(sender: int, learners: tuple[int, ...], role: Role) -> None:
    node = make_node(1, (2, 3) if learners else (1, 2, 3), learners=learners)
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
    node.raft.step(Message(K.TIMEOUT_NOW, sender, 1, 1))
    assert node.raft.role is role


def test_a_dead_leader_is_not_waited_for() -> None:
    node = make_node(2)
    node.raft.step(Message(K.HEARTBEAT, 1, 2, 1))
    node.raft.suspect_leader(3)
    assert node.raft.leader == 1, "3 does not lead"
    node.raft.suspect_leader(1)
    assert (node.raft.role, node.raft.term, node.raft.leader) == (Role.FOLLOWER, 1, 0)
    node.raft.step(Message(K.PREVOTE, 3, 2, 2))
    for _ in range(3):
        node.raft.tick()
    assert node.raft.role is Role.PRE_CANDIDATE
    assert kinds(node.pump())[1:] == ["PREVOTE_RESPONSE->3", "PREVOTE->1", "PREVOTE->3"]


def test_hints_to_hurry_never_put_an_election_off_nor_disturb_a_leader() -> None:
    node = make_node()
    for _ in range(3):
        node.raft.hurry()
        node.raft.tick()
    assert node.raft.role is Role.PRE_CANDIDATE
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
    for _ in range(9):
        node.raft.hurry()
        node.raft.tick()
    assert node.raft.leader == 2
    leader = leader_with_commit()
    leader.raft.hurry()
    leader.raft.suspect_leader(1)
    assert leader.raft.role is Role.LEADER


def test_no_snapshot_is_opened_for_a_follower_that_may_be_gone() -> None:
    node = leader_with_commit()
    node.raft.propose([b"a"])
    node.pump()
    for _ in range(10):
        node.raft.tick()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=2))
    node.pump()
    node.compact(2)
    node.raft.report_unreachable(3)
    assert node.pump() == []
    node.raft.step(Message(K.HEARTBEAT_RESPONSE, 3, 1, 1))
    assert kinds(node.pump()) == ["SNAPSHOT->3"]


def test_a_member_may_ask_to_lead() -> None:
    cluster = make_cluster(3, learners=(3,))
    cluster.elect(1)
    cluster[1].step(Message(K.TRANSFER_LEADER, 3, 1, 1))
    cluster[1].step(Message(K.TRANSFER_LEADER, 2, 1, 1))
    cluster.deliver()
    assert [raft.role for raft in (cluster[1], cluster[2])] == [Role.FOLLOWER, Role.LEADER]


def test_a_transfer_again_to_the_same_changes_nothing_and_to_another_replaces_it() -> None:
    node = leader_with_commit()
    node.raft.transfer_leadership(1)
    assert not node.raft.has_ready()
    node.raft.transfer_leadership(2)
    node.raft.transfer_leadership(2)
    node.raft.transfer_leadership(3)
    assert kinds(node.pump()) == ["TIMEOUT_NOW->2", "TIMEOUT_NOW->3"]
    assert node.raft.status().transferee == 3


def test_stepping_down_keeps_the_term_and_says_why() -> None:
    node = leader_with_commit()
    node.raft.read_index(4)
    node.raft.step(Message(K.READ_INDEX, 2, 1, 1, context=8))
    node.raft.step_down("disk stalled")
    node.raft.step_down("twice")
    status = node.raft.status()
    assert (status.role, status.term, status.leader) == (Role.FOLLOWER, 1, 0)
    assert (status.step_down_reason, status.progress) == ("disk stalled", {})
    node.pump()
    assert node.dropped_reads == [4]


def test_reports_about_followers_count_on_a_leader_only() -> None:
    node = make_node()
    for peer in (2, 9):
        node.raft.report_unreachable(peer)
        node.raft.report_snapshot(peer, 4)
    assert not node.raft.has_ready()
    node = leader_with_commit()
    node.raft.report_unreachable(9)
    node.raft.report_snapshot(9, 4)
    node.raft.report_snapshot(2, 4)
    node.raft.report_unreachable(2)
    node.raft.report_unreachable(2)
    assert node.raft.status().progress[2].state is ProgressState.PROBE
    assert node.raft.status().progress[3].state is ProgressState.REPLICATE


def test_only_applied_entries_are_compacted() -> None:
    node = make_node(disk=fill(Disk(VOTERS), [1, 1, 2], commit=2))
    node.pump()
    with pytest.raises(ValueError, match="cannot compact at 3: applied is 2"):
        node.raft.compact(3)
    node.compact(2)
    node.raft.compact(1)
    assert (node.raft.compacted_index, node.raft.first_index) == (2, 3)
    node.raft.step(Message(K.APPEND, 2, 1, 2, index=2, log_term=1))
    assert kinds(node.pump()) == ["APPEND_RESPONSE->2"]


def test_pending_reads_are_bounded() -> None:
    node = make_node(max_pending_reads=2)
    lead(node)
    for request_id in (1, 2, 3):
        node.raft.read_index(request_id)
    node.raft.step(Message(K.READ_INDEX, 2, 1, 1, context=9))
    assert node.pump() == [Message(K.READ_INDEX_RESPONSE, 1, 2, 1, context=9, reject=True)]
    assert node.dropped_reads == [3]
    follower = make_node(max_pending_reads=1)
    follower.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
    follower.raft.read_index(1)
    follower.raft.read_index(2)
    follower.pump()
    assert follower.dropped_reads == [2]


def test_reads_of_a_turn_share_a_question() -> None:
    cluster = make_cluster(3)
    cluster.elect(1)
    for request_id in (1, 2, 3):
        cluster[2].read_index(request_id)
    assert kinds(cluster.nodes[2].pump()) == ["READ_INDEX->1"]
    cluster[3].read_index(4)
    cluster.deliver()
    assert cluster.nodes[3].reads == [ReadState(4, 1)]


def test_the_same_seed_and_inputs_give_the_same_output() -> None:
    def run() -> list[Message]:
        cluster = make_cluster(5, election_ticks=4)
        sent: list[Message] = []
        for step in range(200):
            for node_id in cluster.nodes:
                cluster[node_id].tick()
            cluster.pump()
            sent += cluster.network
            if step % 7 == 0:
                cluster.deliver()
            cluster.network.clear()
        return sent

    first = run()
    assert first == run()
    assert first
