"""What the driver does with changes of the membership, and which log it keeps for followers that catch up."""

from __future__ import annotations

import msgspec

from kvraft.errors import NotLeader, OutcomeUnknown, TooManyRequests
from kvraft.raft.messages import Configuration, Entry, Message, MessageKind
from kvraft.server.driver import DriverConfig
from tests.kvraft.drivers import Node, kinds

TWO = Configuration((1, 2), (1, 2, 3))


def changing(node: Node, configuration: Configuration) -> None:
    """Let the machine come to ``configuration`` with the next entries that it applies."""
    apply = node.machine.apply

    def changed(entries: list[Entry], *, answered: bool) -> list[list[bytes]]:
        node.machine.configuration = configuration
        return apply(entries, answered=answered)

    node.machine.apply = changed  # type: ignore[method-assign, assignment]


def leader() -> Node:
    node = Node()
    node.lead()
    node.acknowledge(1)
    return node


def test_a_change_is_answered_when_it_is_applied_and_in_force_and_durable_then() -> None:
    node = leader()
    changing(node, TWO)
    node.driver.change(b"change", lambda answer: node.answers.update(a=answer))
    node.turn()
    assert node.answers == {}
    assert node.driver.raft.configuration == Configuration((1, 2, 3))
    node.acknowledge(2)
    assert node.answers == {"a": b"change"}
    assert node.driver.raft.configuration is TWO
    assert node.machine.durable_index >= 2


def test_a_change_that_cannot_be_proposed_is_answered_at_once() -> None:
    node = Node()
    node.driver.receive(Message(MessageKind.HEARTBEAT, 2, 1, 1))
    node.turn()
    node.driver.change(b"change", lambda answer: node.answers.update(a=answer))
    assert kinds(node) == {"a": NotLeader}
    node = leader()
    for name in ("a", "b"):
        node.driver.change(b"change", lambda answer, name=name: node.answers.update({name: answer}))  # type: ignore[misc]
    assert kinds(node) == {"b": TooManyRequests}, "the first one is under way"


def test_a_change_without_an_end_has_an_unknown_outcome() -> None:
    node = leader()
    node.driver.change(b"change", lambda answer: node.answers.update(a=answer))
    node.turn()
    for _ in range(node.driver.config.request_timeout_ticks):
        node.driver.tick()
    answer = node.answers["a"]
    assert isinstance(answer, OutcomeUnknown)
    assert not answer.definite


def test_the_log_is_kept_for_a_snapshot_on_its_way_and_for_who_catches_up() -> None:
    node = leader()
    node.driver.config = DriverConfig(snapshot_entries=5, keep_entries=0, max_held_entries=30, max_batch_bytes=1)
    raft, driver = node.driver.raft, node.driver

    def write(count: int) -> None:
        node.answers.clear()
        for number in range(count):
            node.propose(str(number))
        node.turn()
        node.acknowledge(raft.last_index)
        node.machine.uncommitted = 1
        driver.commit_if_due(due=True)

    def hear(peer: int, match: int) -> None:
        index = {"index": match}
        driver.receive(msgspec.structs.replace(Message(MessageKind.HEARTBEAT_RESPONSE, peer, 1, raft.term), **index))
        node.turn()

    write(10)
    assert raft.compacted_index == raft.last_index, "member 3 was never heard from: nothing is kept for it"
    begun = raft.last_index
    driver.snapshot_started(3, begun - 3)
    hear(3, 0)
    write(10)
    assert raft.compacted_index == begun, "the snapshot's receiver will need what follows it"
    driver.snapshot_sent(3, begun - 3)
    write(5)
    assert raft.compacted_index == begun
    hear(3, begun + 8)
    write(1)
    assert raft.compacted_index == begun + 8
    write(40)
    assert raft.compacted_index == raft.last_index - 30, "not for ever"
    driver.snapshot_started(3, 1)
    driver.snapshot_sent(3, 0)
    assert driver._retention.promised == {}


def test_the_log_is_cut_where_its_last_files_begin() -> None:
    """Entries that many proposals share are large: those that count as few may be much."""
    node = leader()
    raft, driver = node.driver.raft, node.driver

    def write_and_commit() -> None:
        node.propose(str(raft.last_index))
        node.turn()
        node.acknowledge(raft.last_index)
        node.machine.uncommitted = 1
        driver.commit_if_due(due=True)

    for _ in range(10):
        write_and_commit()
    assert raft.compacted_index == 0
    node.log.first_kept = 5
    write_and_commit()
    assert raft.compacted_index == 4
    driver.snapshot_started(3, 6)
    heard = Message(MessageKind.HEARTBEAT_RESPONSE, 3, 1, raft.term)
    driver.receive(heard)
    node.turn()
    node.log.first_kept = 9
    write_and_commit()
    assert raft.compacted_index == 4, "the snapshot's receiver will need what follows it"
    driver.snapshot_sent(3, 0)
    write_and_commit()
    assert raft.compacted_index == 8
    node.log.first_kept = raft.last_index + 100
    write_and_commit()
    assert raft.compacted_index <= node.machine.durable_index
