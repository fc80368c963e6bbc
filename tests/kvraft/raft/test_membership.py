"""Changing who takes part, one test per statement: section 6 of the Raft paper, chapter 4 of the dissertation."""

from __future__ import annotations

import pytest

from kvraft.raft.messages import (
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    MessageKind,
    ProposalDropped,
    ReadState,
    Role,
)
from tests.kvraft.raft.harness import (
    Cluster,
    Disk,
    Node,
    encode_change,
    fill,
    kinds,
    lead,
    leader_with_commit,
    make_cluster,
    make_node,
)

K = MessageKind
JOINT = Configuration((1, 2, 3), (1, 4, 5), (6,))
CHANGE = int(EntryKind.CONFIGURATION)


def joint_cluster() -> Cluster:
    """Node 1 is in both halves, 2 and 3 in the incoming, 4 and 5 in the outgoing one, 6 learns."""
    return Cluster({i: make_node(i, JOINT.voters, JOINT.outgoing, JOINT.learners, pre_vote=False) for i in range(1, 7)})


def configurations(cluster: Cluster) -> list[Configuration]:
    return [node.raft.configuration for node in cluster.nodes.values()]


# -- 6: joint consensus


@pytest.mark.parametrize(("away", "wins"), [((), True), ((2, 4), True), ((2, 3), False), ((4, 5), False), ((6,), True)])
def test_6_a_joint_configuration_needs_a_majority_of_each_half_to_elect(away: tuple[int, ...], wins: bool) -> None:
    cluster = joint_cluster()
    for node_id in away:
        cluster.isolate(node_id)
    cluster[1].campaign()
    cluster.deliver()
    assert (cluster[1].role is Role.LEADER) is wins
    assert (cluster[1].commit_index >= 1) is wins


@pytest.mark.parametrize(
    ("holders", "commits"), [((2, 4), True), ((3, 5), True), ((4, 5, 6), False), ((2, 3, 6), False), ((), False)]
)
def test_6_a_joint_configuration_needs_a_majority_of_each_half_to_commit(
    holders: tuple[int, ...], commits: bool
) -> None:
    node = make_node(1, JOINT.voters, JOINT.outgoing, JOINT.learners, pre_vote=False)
    lead(node, (2, 3, 4, 5))
    for peer in holders:
        node.raft.step(Message(K.APPEND_RESPONSE, peer, 1, 1, index=1))
    assert node.raft.commit_index == int(commits)


def test_6_a_change_of_voters_passes_through_a_joint_configuration_that_the_leader_ends() -> None:
    cluster = make_cluster(4, spare=(4,))
    cluster.elect(1)
    seen: list[Configuration] = []
    apply = cluster[1].apply_configuration
    cluster[1].apply_configuration = lambda configuration: seen.append(configuration) or apply(configuration)  # type: ignore[method-assign]
    cluster.change(1, (1, 2, 4))
    assert list(dict.fromkeys(seen)) == [
        Configuration((1, 2, 3)),
        Configuration((1, 2, 4), (1, 2, 3)),
        Configuration((1, 2, 4)),
    ]
    log = cluster.nodes[4].disk.log
    assert [(log[i].kind, log[i].data) for i in (2, 3)] == [(CHANGE, b"1,2,4/"), (CHANGE, b"")]
    assert configurations(cluster) == [Configuration((1, 2, 4))] * 4


def test_6_a_change_is_committed_by_the_old_voters_and_ended_by_both() -> None:
    cluster = make_cluster(5, spare=(4, 5))
    cluster.elect(1)
    for node_id in (4, 5):
        cluster.isolate(node_id)
    cluster.change(1, (1, 4, 5))
    assert cluster[1].configuration == Configuration((1, 4, 5), (1, 2, 3))
    cluster.propose(1, b"a")
    assert cluster[1].commit_index == 2, "the new voters have none of it"
    cluster.cut.clear()
    cluster.tick((1,), 1)
    assert cluster[1].configuration == Configuration((1, 4, 5))
    assert cluster[1].commit_index == cluster[1].last_index


def test_6_a_new_leader_ends_what_another_one_began() -> None:
    cluster = make_cluster(5, spare=(4, 5), pre_vote=False, check_quorum=False)
    cluster.elect(1)
    for node_id in (4, 5):
        cluster.isolate(node_id)
    cluster.change(1, (2, 4, 5))
    cluster.cut.clear()
    cluster.isolate(1)
    assert cluster[2].configuration == Configuration((2, 4, 5), (1, 2, 3))
    cluster.elect(2)
    cluster.tick((2,), 2)
    assert [cluster[i].configuration for i in (2, 3, 4, 5)] == [Configuration((2, 4, 5))] * 4


def test_6_a_member_that_was_not_heard_yet_does_not_cost_the_leader_its_quorum() -> None:
    node = leader_with_commit(voters=(1,))
    node.raft.propose_configuration(encode_change((1, 2)))
    node.pump()
    for _ in range(10):
        node.raft.tick()
    assert node.raft.role is Role.LEADER
    for _ in range(10):
        node.raft.tick()
    assert node.raft.role is Role.FOLLOWER


# -- 6: new members catch up without a vote


def test_6_a_learner_never_stands_and_is_never_asked() -> None:
    cluster = make_cluster(3, learners=(3,))
    for _ in range(40):
        cluster[3].tick()
    cluster[3].campaign()
    assert (cluster[3].role, cluster[3].has_ready()) == (Role.FOLLOWER, False)
    cluster[1].campaign()
    assert kinds(cluster.nodes[1].pump()) == ["PREVOTE->2"]


def test_6_a_learner_is_replicated_to_and_not_counted() -> None:
    cluster = make_cluster(4, spare=(4,))
    cluster.elect(1)
    cluster.change(1, (1, 2, 3), (4,))
    assert cluster[1].configuration == Configuration((1, 2, 3), (), (4,))
    assert cluster[1].last_index == 2, "a change of learners needs no second step"
    assert cluster[4].commit_index == 2
    for node_id in (2, 3):
        cluster.isolate(node_id)
    cluster.propose(1, b"a")
    assert (cluster[1].commit_index, cluster[4].last_index) == (2, 3)


def test_6_a_learner_does_not_keep_a_leader_in_office() -> None:
    cluster = make_cluster(4, learners=(4,))
    cluster.elect(1)
    for node_id in (2, 3):
        cluster.isolate(node_id)
    cluster.tick((1,), 20)
    assert cluster[1].role is Role.FOLLOWER


def test_6_a_learner_is_no_target_of_a_transfer_and_takes_none() -> None:
    cluster = make_cluster(3, learners=(3,))
    cluster.elect(1)
    with pytest.raises(ProposalDropped, match="not a voting member"):
        cluster[1].transfer_leadership(3)
    cluster[1].step(Message(K.TRANSFER_LEADER, 3, 1, 1))
    cluster[3].step(Message(K.TIMEOUT_NOW, 1, 3, 1))
    assert (cluster[1].has_ready(), cluster[3].role) == (False, Role.FOLLOWER)


def test_6_a_learner_asks_the_leader_for_reads() -> None:
    cluster = make_cluster(3, learners=(3,))
    cluster.elect(1)
    cluster[3].read_index(9)
    cluster.deliver()
    assert cluster.nodes[3].reads == [ReadState(9, 1)]


def test_6_a_learner_that_has_caught_up_becomes_a_voter() -> None:
    cluster = make_cluster(3, learners=(3,))
    cluster.elect(1)
    cluster.change(1, (1, 2, 3))
    assert configurations(cluster) == [Configuration((1, 2, 3))] * 3
    cluster.isolate(2)
    cluster.propose(1, b"a")
    assert cluster[1].commit_index == cluster[1].last_index


def test_the_only_voter_leads_once_its_vote_is_durable_for_learners_must_not_see_a_term_twice() -> None:
    cluster = make_cluster(2, learners=(2,))
    cluster.nodes[1].slow_disk = True
    cluster[1].campaign()
    cluster.deliver()
    assert cluster[1].role is Role.CANDIDATE
    cluster.nodes[1].persist_all()
    assert cluster[1].role is Role.LEADER
    assert cluster.nodes[1].disk.hard_state == HardState(1, 1, 0)


# -- thesis, 4.1: one change at a time; whom to listen to


def test_thesis_4_1_there_is_one_change_at_a_time() -> None:
    cluster = make_cluster(5, spare=(4, 5))
    cluster.elect(1)
    assert cluster[1].may_change
    cluster[1].propose_configuration(encode_change((1, 2, 3, 4)))
    assert not cluster[1].may_change
    for _ in range(2):
        with pytest.raises(ProposalDropped, match="under way"):
            cluster[1].propose_configuration(encode_change((1, 2, 3, 5)))
        cluster.isolate(4)
        cluster.isolate(3)
        cluster.deliver()
        assert cluster[1].configuration.outgoing
    cluster.cut.clear()
    cluster.tick((1,), 1)
    assert cluster[1].may_change
    cluster.change(1, (1, 2, 3, 4, 5))
    assert configurations(cluster) == [Configuration((1, 2, 3, 4, 5))] * 5


def test_thesis_4_1_a_new_leader_changes_nothing_before_it_has_applied_what_it_found() -> None:
    node = make_node(disk=fill(Disk(Configuration((1, 2, 3))), [1, 1], 1), pre_vote=False)
    lead(node)
    with pytest.raises(ProposalDropped, match="under way"):
        node.raft.propose_configuration(encode_change((1, 2)))
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 2, index=3))
    node.pump()
    assert node.raft.may_change


def test_thesis_4_1_only_a_leader_that_stays_takes_changes() -> None:
    node = make_node()
    with pytest.raises(ProposalDropped, match="not the leader"):
        node.raft.propose_configuration(b"x")
    node = leader_with_commit()
    with pytest.raises(ValueError, match="needs some data"):
        node.raft.propose_configuration(b"")
    node.raft.transfer_leadership(2)
    assert not node.raft.may_change
    with pytest.raises(ProposalDropped, match="transfer in progress"):
        node.raft.propose_configuration(b"x")


def test_thesis_4_1_requests_of_strangers_are_served_and_their_answers_are_not_counted() -> None:
    """A node may lag behind the change that made the sender a member, or even the leader."""
    node = make_node()
    node.raft.step(Message(K.APPEND, 9, 1, 5, entries=(Entry(1, 5, 0, b"a"),)))
    assert kinds(node.pump()) == ["APPEND_RESPONSE->9"]
    assert (node.raft.leader, node.disk.last_index) == (9, 1)
    other = make_node()
    other.raft.step(Message(K.VOTE, 9, 1, 5))
    assert (kinds(other.pump()), other.raft.vote) == (["VOTE_RESPONSE->9"], 9)
    leader = leader_with_commit()
    leader.raft.step(Message(K.APPEND_RESPONSE, 9, 1, 7, reject=True))
    assert (leader.raft.role, leader.raft.term) == (Role.LEADER, 1)


def test_a_node_that_knows_no_configuration_learns_it_with_a_snapshot() -> None:
    cluster = make_cluster(3, spare=(3,))
    cluster.nodes[3] = Node(cluster.nodes[3].config, Disk(Configuration(())), seed=3)
    cluster.elect(1)
    cluster.propose(1, b"a", b"b")
    for node_id in (1, 2):
        cluster.nodes[node_id].compact(2)
    for _ in range(30):
        cluster[3].tick()
    assert cluster[3].role is Role.FOLLOWER
    cluster.change(1, (1, 2), (3,))
    cluster.tick((1,), 2)
    assert configurations(cluster) == [Configuration((1, 2), (), (3,))] * 3
    assert cluster.nodes[3].state == cluster.nodes[1].state


# -- thesis, 4.2.2: removing the leader


def remove_the_leader(**settings: bool) -> Cluster:
    cluster = make_cluster(3, **settings)
    cluster.elect(1)
    cluster.propose(1, b"a")
    cluster[1].propose_configuration(encode_change((2, 3)))
    return cluster


def test_thesis_4_2_2_a_leader_on_its_way_out_hands_over_before_it_goes() -> None:
    cluster = remove_the_leader()
    cluster.deliver()
    cluster.tick((1,), 1)  # the first offer came before the successor had applied the joint configuration
    assert {cluster[2].role, cluster[3].role} == {Role.LEADER, Role.FOLLOWER}
    assert configurations(cluster) == [Configuration((2, 3))] * 3, "who is removed hears of it"
    assert cluster[1].role is Role.FOLLOWER


def test_thesis_4_2_2_without_a_successor_the_leader_steps_down_when_its_removal_is_committed() -> None:
    cluster = remove_the_leader()
    cluster.cut |= {(2, 1), (3, 1)}
    cluster.pump()
    cluster.network = [m for m in cluster.network if m.kind != K.TIMEOUT_NOW]
    cluster.cut.clear()
    deliver, cluster.deliver_one = cluster.deliver_one, lambda m: None if m.kind == K.TIMEOUT_NOW else deliver(m)  # type: ignore[method-assign]
    cluster.tick((1,), 15)
    assert cluster[1].role is Role.FOLLOWER
    assert cluster[1].status().step_down_reason == "this member has left the configuration"
    assert configurations(cluster) == [Configuration((2, 3))] * 3, "the others heard of the commit as it went"
    with pytest.raises(ProposalDropped, match="not the leader"):
        cluster[1].propose([b"b"])


def test_thesis_4_2_2_a_leader_without_a_vote_counts_only_others() -> None:
    cluster = remove_the_leader()
    cluster.isolate(3)
    cluster.deliver()
    assert cluster[1].configuration == Configuration((2, 3), (1, 2, 3))
    assert cluster[1].commit_index == 3
    cluster.tick((1,), 12)
    assert cluster[1].configuration.outgoing, "node 2 alone is no majority of 2 and 3"


@pytest.mark.parametrize(("voters", "transferee"), [((1, 2), 0), ((1, 3), 3)])
def test_a_transfer_goes_on_when_voters_change_if_its_target_is_still_one(
    voters: tuple[int, ...], transferee: int
) -> None:
    node = leader_with_commit()
    node.raft.propose_configuration(encode_change(voters))
    node.pump()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=2))
    node.pump()
    node.raft.transfer_leadership(3)
    assert node.raft.status().transferee == 3
    for peer in voters[1:]:
        node.raft.step(Message(K.APPEND_RESPONSE, peer, 1, 1, index=3))
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=3))
    node.pump()
    assert node.raft.configuration == Configuration(voters)
    assert node.raft.status().transferee == transferee


def test_a_refused_vote_tells_what_is_committed_lest_one_waits_for_members_that_left() -> None:
    """Node 2 holds the end of the change that leaves 1 out, and does not know that it is committed."""
    disk = Disk(Configuration((2,), (1,)))
    disk.log = {1: Entry(1, 1, 0, b"a"), 2: Entry(2, 1, CHANGE, b"")}
    disk.hard_state = HardState(1, 0, 1)
    node = make_node(2, disk=disk)
    node.pump()
    node.raft.campaign()
    node.pump()
    gone = make_node(1, disk=fill(Disk(Configuration((2,))), [1, 1, 1], 1, commit=2))
    gone.raft.step(Message(K.PREVOTE, 2, 1, 2, index=2, log_term=1))
    (refusal,) = gone.pump()
    assert (refusal.reject, refusal.index, refusal.log_term) == (True, 2, 1)
    node.raft.step(refusal)
    node.pump()
    assert (node.raft.role, node.raft.configuration) == (Role.FOLLOWER, Configuration((2,)))
    for _ in range(20):
        node.raft.tick()
        node.pump()
    assert node.raft.role is Role.LEADER


# -- thesis, 4.2.3: removed members do not disturb


def test_thesis_4_2_3_a_removed_member_that_does_not_know_it_disturbs_nobody() -> None:
    cluster = make_cluster(3)
    cluster.elect(1)
    cluster.isolate(3)
    cluster.change(1, (1, 2))
    cluster.cut.clear()
    term = cluster[1].term
    for _ in range(60):
        cluster[3].tick()
        cluster[1].tick()
        cluster.deliver()
    assert (cluster[1].role, cluster[1].term) == (Role.LEADER, term)
    assert cluster[3].configuration == Configuration((1, 2, 3))


def test_who_has_a_committed_change_to_apply_does_not_stand() -> None:
    disk = Disk(Configuration((1, 2, 3)))
    disk.log = {1: Entry(1, 1, 0, b"a"), 2: Entry(2, 1, CHANGE, encode_change((1, 2))), 3: Entry(3, 1, 0, b"c")}
    disk.hard_state = HardState(1, 0, 3)
    node = make_node(disk=disk, pre_vote=False, max_committed_bytes=1, heartbeat_ticks=1)
    node.raft.campaign()
    node.raft.step(Message(K.HEARTBEAT, 2, 1, 1))
    node.raft.step(Message(K.TIMEOUT_NOW, 2, 1, 1))
    assert node.raft.role is Role.FOLLOWER
    ready = node.raft.ready()
    assert [entry.index for entry in ready.committed] == [1]
    node.raft.campaign()
    assert node.raft.role is Role.FOLLOWER
    assert [entry.index for entry in node.raft.ready().committed] == [2]
    node.raft.apply_configuration(Configuration((1, 2), (1, 2, 3)))
    node.raft.campaign()
    assert node.raft.role is Role.CANDIDATE, "entries of other kinds are no obstacle"


def test_an_entry_that_ends_a_change_travels_with_the_commit_of_the_one_that_began_it() -> None:
    """So that nobody who holds the end of a change can stand with the old voters alone."""
    node = leader_with_commit()
    node.raft.propose_configuration(encode_change((1, 2)))
    node.pump()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=2))
    appends = [m for m in node.pump() if m.kind == K.APPEND and m.entries]
    assert appends
    assert all(m.commit == 2 for m in appends if m.entries[-1].data == b"")


def test_reads_that_fewer_voters_confirm_are_answered_when_the_others_go() -> None:
    node = leader_with_commit(voters=(1, 2))
    node.raft.propose_configuration(encode_change((1,)))
    node.pump()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=2))
    node.pump()
    assert node.raft.configuration == Configuration((1,), (1, 2))
    node.raft.read_index(5)
    node.pump()
    assert node.reads == []
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=3))
    node.pump()
    assert node.raft.configuration == Configuration((1,))
    assert node.reads == [ReadState(5, 2)]


def test_who_is_removed_is_told_once_and_hears_no_more() -> None:
    node = leader_with_commit()
    node.raft.propose_configuration(encode_change((1, 2)))
    node.pump()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=2))
    node.pump()
    node.raft.step(Message(K.APPEND_RESPONSE, 2, 1, 1, index=3))
    farewell = [m for m in node.pump() if m.to == 3]
    assert [(m.kind, m.index, m.commit) for m in farewell] == [(K.APPEND, 3, 3)]
    node.raft.propose([b"a"])
    assert [m.to for m in node.pump()] == [2]
