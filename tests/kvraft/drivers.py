"""One member's driver by itself: the test is its disk and its peers."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from kvraft.raft.core import Raft
from kvraft.raft.messages import Configuration, Entry, HardState, Message, MessageKind, RaftConfig, RaftStart, Role
from kvraft.server.driver import Driver, DriverConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.raft.messages import SnapshotMeta
    from kvraft.storage.log import LogBatch
    from kvraft.wire.peer import PeerAnswer, Question

CONFIG = DriverConfig(request_timeout_ticks=5, max_pending=10, max_batch_bytes=1)  # an entry for each proposal


class Log:
    """A log that is durable when the test says so."""

    def __init__(self) -> None:
        self.entries_by_index: dict[int, Entry] = {}
        self.submitted: list[LogBatch] = []
        self.submitted_by_leader: list[bool] = []
        self.stalled_seconds = 0.0
        self.first_kept = 0

    def submit(self, batch: LogBatch, *, leads: bool) -> bool:
        self.submitted.append(batch)
        self.submitted_by_leader.append(leads)
        for entry in batch.entries:
            self.entries_by_index[entry.index] = entry
        return False

    def oldest_pending_seconds(self) -> float:
        return self.stalled_seconds

    def first_of_last(self, size_bytes: int) -> int:
        return self.first_kept

    def term(self, index: int) -> int:
        return self.entries_by_index[index].term

    def entries(self, low: int, high: int, max_bytes: int) -> list[Entry]:
        return [self.entries_by_index[index] for index in range(low, high)]


class Machine:
    """A state machine whose answer to a proposal is its data."""

    def __init__(self) -> None:
        self.applied_index = self.applied_term = 0
        self.durable_index = 0
        self.uncommitted = 0
        self.awaited = True
        self.configuration: Configuration | None = None
        self.pieces: dict[int, int] = {}
        """How many calls an entry takes, by its index."""
        self.foresees = False
        self.commits: list[bool] = []
        """Whether each was whole."""

    @staticmethod
    def join(proposals: Sequence[bytes]) -> bytes:
        return b",".join(proposals)

    def foresee(self, entries: Sequence[Entry]) -> list[list[bytes]] | None:
        if not self.foresees:
            return None
        return [entry.data.split(b",") for entry in entries]

    def apply(self, entries: Sequence[Entry], *, answered: bool) -> list[list[bytes]]:
        for place, entry in enumerate(entries):
            if self.pieces.get(entry.index, 1) > 1:
                self.pieces[entry.index] -= 1
                entries = entries[:place]
                break
        if entries:
            self.applied_index, self.applied_term = entries[-1].index, entries[-1].term
        return [entry.data.split(b",") if entry.data and answered else [] for entry in entries]

    def commit(self, *, whole: bool = True) -> None:
        self.commits.append(whole)
        self.durable_index = self.applied_index

    def install(self, writer: SnapshotMeta) -> None:
        self.applied_index = writer.index


class Transport:
    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.reachable = True
        self.asked: list[tuple[int, Question]] = []
        self.replied: list[tuple[Any, PeerAnswer]] = []

    def send(self, messages: Sequence[Message]) -> None:
        self.sent += messages

    def send_snapshot(self, message: Message) -> None:
        self.sent.append(message)

    def ask(self, peer: int, questions: Sequence[Question]) -> bool:
        if self.reachable:
            self.asked += [(peer, question) for question in questions]
        return self.reachable

    def answer(self, origin: Any, answers: Sequence[PeerAnswer]) -> None:
        self.replied += [(origin, answer) for answer in answers]


class Node:
    """Member 1 of 1, 2 and 3 (or of ``voters``), whose peers are the test."""

    def __init__(self, voters: tuple[int, ...] = (1, 2, 3), flush: Callable[[], None] | None = None) -> None:
        self.log, self.machine, self.transport = Log(), Machine(), Transport()
        raft = Raft(
            RaftConfig(node_id=1),
            RaftStart(HardState(), Configuration(voters)),
            self.log,
            random.Random(1),
        )
        self.driver = Driver(
            raft, self.machine, self.log, self.transport, CONFIG, lambda member: f"http://m{member}", flush
        )
        self.answers: dict[str, object] = {}

    def turn(self) -> None:
        """Take turns and write what they give to the disk until nothing is left."""
        while self.driver.has_work or self.log.submitted:
            self.driver.turn()
            batches, self.log.submitted = self.log.submitted, []
            for batch in batches:
                self.driver.durable(batch.seq)

    def lead(self) -> None:
        """Win an election with member 2's votes; the no-op of the term is not committed."""
        self.driver.raft.campaign()
        self.turn()
        term = self.driver.raft.term + 1
        self.receive(Message(MessageKind.PREVOTE_RESPONSE, 2, 1, term))
        self.receive(Message(MessageKind.VOTE_RESPONSE, 2, 1, term))
        assert self.driver.raft.role is Role.LEADER

    def receive(self, message: Message) -> None:
        self.driver.receive(message)
        self.turn()

    def acknowledge(self, index: int) -> None:
        """Member 2 has the log up to ``index``."""
        self.receive(Message(MessageKind.APPEND_RESPONSE, 2, 1, self.driver.raft.term, index=index))

    def follow(self, leader: int, term: int = 1) -> None:
        """Hear from a leader."""
        self.receive(Message(MessageKind.HEARTBEAT, leader, 1, term))

    def append(self, leader: int, term: int, *entries: Entry, commit: int = 0, before: int = 0) -> None:
        """The leader sends entries, which follow one of term ``before``."""
        first = entries[0].index
        self.receive(
            Message(
                MessageKind.APPEND, leader, 1, term, index=first - 1, log_term=before, commit=commit, entries=entries
            )
        )

    def propose(self, name: str, *, forwards: bool = False) -> None:
        self.driver.propose(name.encode(), lambda answer: self._answered(name, answer), forwards=forwards)

    def propose_together(self, *names: str) -> bool:
        """What one connection asks in one go; each name gets its own answer."""

        def answered(answers: Sequence[object]) -> None:
            for name, answer in zip(names, answers, strict=True):
                self._answered(name, answer)

        return self.driver.propose_together([name.encode() for name in names], answered)

    def read(self, name: str, *, waits: bool = False) -> None:
        self.driver.read(lambda error: self._answered(name, error), waits=waits)

    def _answered(self, name: str, answer: object) -> None:
        assert name not in self.answers, "answered twice"
        self.answers[name] = answer

    def tick(self, times: int) -> None:
        for _ in range(times):
            self.driver.tick()
        self.turn()


def kinds(node: Node) -> dict[str, type]:
    return {name: type(answer) for name, answer in node.answers.items()}
