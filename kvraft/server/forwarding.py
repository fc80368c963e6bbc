"""What one member asks another, and what it does for those who ask it; no trio, no I/O.

A write that arrives at a follower goes to the leader as a *question*. The leader proposes it and answers at once with
the place of its entry in the log; the follower answers its client when it has applied that entry itself, so a client
that stays with one member reads its own writes there. What the leader certainly did not take is kept until there is
one that takes it. What was lost on the way has an unknown outcome and is never asked again.

Other requests (a lease's renewal, a hash of somebody else's keys) go the same way and are answered as a whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvraft.errors import (
    KvraftError,
    NoLeader,
    NotLeader,
    OutcomeUnknown,
    ProtocolError,
    Stopped,
    TimeoutLeaderFailure,
    TooManyRequests,
    Unavailable,
)
from kvraft.wire import native
from kvraft.wire.peer import Answered, Ask, PeerAnswer, Propose, Proposed, Question

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kvraft.raft.messages import Entry
    from kvraft.server.contracts import Answer, Transport, Waiter

MAX_REMEMBERED = 16_384
"""Entries applied while a leader's answer is due, in case it tells of one of them."""
MAX_SERVED = 8192
"""Questions of other members under way here, proposals aside; past it: TooManyRequests."""
CONNECTION_LOST = "etcdserver: request timed out, possibly due to connection lost"


class Forwarded:
    """A request that others may have to take. As a waiter, it goes on when it was certainly not taken."""

    __slots__ = ("_owner", "data", "deadline", "is_proposal", "peer", "repeatable", "seen_index", "waiter")

    def __init__(self, owner: Forwarder, data: bytes, waiter: Waiter, deadline: int, *, is_proposal: bool) -> None:
        self._owner = owner
        self.data = data
        self.waiter = waiter
        self.deadline = deadline
        self.is_proposal = is_proposal
        self.repeatable = False
        """Whether asking twice does no harm."""
        self.peer = 0
        """Whom it was asked of last."""
        self.seen_index = 0
        """What was applied here when it was asked: its own entry comes later."""

    def __call__(self, answer: Answer) -> None:
        """The end, unless nobody took it and there is still time."""
        if isinstance(answer, (NoLeader, NotLeader)):
            self._owner.refused(self)
        else:
            self.waiter(answer)


class Remote:
    """The waiter of another member's question."""

    __slots__ = ("_forwarder", "_origin", "_question_id")

    def __init__(self, forwarder: Forwarder, origin: Any, question_id: int) -> None:
        self._forwarder = forwarder
        self._origin = origin
        self._question_id = question_id

    def placed(self, index: int, term: int, place: int) -> None:
        """Its proposal has become part of an entry."""
        self._forwarder.reply(self._origin, Proposed(self._question_id, index, term, place))

    def __call__(self, answer: Answer) -> None:
        """The answer, or why it was not proposed."""
        body = native.encode_body(native.to_failure(answer) if isinstance(answer, KvraftError) else answer)  # type: ignore[arg-type]
        self._forwarder.reply(self._origin, Answered(self._question_id, body))


class Forwarder:
    """One member's questions and answers; its driver owns it and tells it what happens.

    ``await_entry(index, term, place, request)`` waits for an entry that is not applied yet.
    """

    def __init__(self, transport: Transport, await_entry: Callable[[int, int, int, Forwarded], None]) -> None:
        self._transport = transport
        self._await_entry = await_entry
        self._next_id = 1
        self.held: list[Forwarded] = []
        """For the leader, as soon as one is known; to read only."""
        self._later: list[Forwarded] = []  # the same, with the next tick: whoever was asked would not, or is not there
        self._asked: dict[int, Forwarded] = {}  # in the order of asking
        self.proposals_asked = 0
        """Where there are some a leader may yet tell of an entry that is about to be applied: then call ``applied``."""
        self._remembered: dict[int, tuple[int, Sequence[Answer]]] = {}  # applied while the answers to proposals are due
        self._replies: dict[Any, list[PeerAnswer]] = {}
        self.owes_replies = False
        """Whether ``flush`` has something to send."""
        self._serving = 0
        self.serve: Callable[[bytes, Waiter], None] = _serve_nothing
        """Answers a request in the native encoding that another member asks."""

    # ------------------------------------------------------------------ this member's questions

    @property
    def pending(self) -> int:
        """Requests that have neither been answered nor found their entry."""
        return len(self.held) + len(self._later) + len(self._asked)

    def hold(self, request: Forwarded) -> None:
        """Ask the leader, once there is one."""
        self.held.append(request)

    def refused(self, request: Forwarded) -> None:
        """Nobody took it: try again with the next tick."""
        self._later.append(request)

    def take_held(self) -> list[Forwarded]:
        """What waits for a leader; the caller knows one."""
        held, self.held = self.held, []
        return held

    def ask(self, peer: int, requests: Sequence[Forwarded], applied_index: int) -> bool:
        """Ask ``peer``. False when there is no way to it: nothing has been asked."""
        questions: list[Question] = []
        for request in requests:
            kind = Propose if request.is_proposal else Ask
            questions.append(kind(self._next_id + len(questions), request.data))
        if not self._transport.ask(peer, questions):
            return False
        for question, request in zip(questions, requests, strict=True):
            request.peer, request.seen_index = peer, applied_index
            self._asked[question.question_id] = request
            self.proposals_asked += request.is_proposal
        self._next_id += len(questions)
        return True

    def answered(self, peer: int, answers: Sequence[PeerAnswer], applied_index: int) -> None:
        """What ``peer`` says to questions of this member. An answer that nobody waits for any more is ignored."""
        for answer in answers:
            request = self._asked.get(answer.question_id)
            if request is None or request.peer != peer:
                continue
            self._forget(answer.question_id)
            if isinstance(answer, Answered):
                request(_decode(answer.body))
            elif not request.is_proposal:
                request(OutcomeUnknown())
            else:
                self._placed(request, answer, applied_index)
        self._trim()

    def _placed(self, request: Forwarded, answer: Proposed, applied_index: int) -> None:
        if answer.index > applied_index:
            self._await_entry(answer.index, answer.term, answer.place, request)
            return
        known = self._remembered.get(answer.index)
        if known is None:  # covered by a snapshot, or too long ago
            request(OutcomeUnknown())
        else:
            given = known[1]
            request(NotLeader() if known[0] != answer.term else given[min(answer.place, len(given) - 1)])

    def _forget(self, question_id: int) -> Forwarded:
        request = self._asked.pop(question_id)
        self.proposals_asked -= request.is_proposal
        return request

    def applied(self, entries: Sequence[Entry], answers: Sequence[Sequence[Answer]]) -> None:
        """Remember them: a leader's answer may be slower than what it tells of."""
        remembered = self._remembered
        for entry, given in zip(entries, answers, strict=True):
            remembered[entry.index] = (entry.term, given)
        while len(remembered) > MAX_REMEMBERED:
            del remembered[next(iter(remembered))]

    def _trim(self) -> None:
        """Nobody is told any more of entries from before the oldest question."""
        remembered = self._remembered
        if remembered and not self.proposals_asked:
            remembered.clear()
        elif remembered:
            oldest = next(request.seen_index for request in self._asked.values() if request.is_proposal)
            while remembered and (index := next(iter(remembered))) <= oldest:
                del remembered[index]

    def link_lost(self, peer: int) -> None:
        """The connection to ``peer`` is gone, and with it the answers to what was asked on it."""
        for question_id in [known for known, request in self._asked.items() if request.peer == peer]:
            request = self._forget(question_id)
            if request.repeatable:
                self.refused(request)
            else:
                request(TimeoutLeaderFailure())
        self._trim()

    def tick(self, now: int, timeout: Callable[[int], KvraftError], *, leaderless: bool) -> None:
        """Answer those whose time is over; ``timeout`` makes the error from a deadline."""
        if not (self.held or self._later or self._asked):
            return
        self.held += self._later
        self._later = []
        if self.held and any(request.deadline <= now for request in self.held):
            late = [request for request in self.held if request.deadline <= now]
            self.held = [request for request in self.held if request.deadline > now]
            for request in late:
                request.waiter(NoLeader() if leaderless else Unavailable(CONNECTION_LOST))
        for question_id in [known for known, request in self._asked.items() if request.deadline <= now]:
            request = self._forget(question_id)
            request.waiter(timeout(request.deadline))
        self._trim()

    def stop(self) -> None:
        """Answer everybody with what is certain."""
        for request in [*self.held, *self._later]:
            request.waiter(Stopped())
        for request in self._asked.values():
            request.waiter(OutcomeUnknown(Stopped.text))
        self.held, self._later = [], []
        self._asked.clear()
        self._remembered.clear()
        self.proposals_asked = 0

    # ------------------------------------------------------------------ other members' questions

    def asked(self, origin: Any, question: Ask) -> None:
        """Another member asks something; ``origin`` is where the transport takes the answer."""
        remote = Remote(self, origin, question.question_id)
        if self._serving >= MAX_SERVED:
            remote(TooManyRequests())
            return
        self._serving += 1

        def answer(found: Answer) -> None:
            self._serving -= 1
            remote(found)

        self.serve(question.data, answer)

    def reply(self, origin: Any, answer: PeerAnswer) -> None:
        """Send it with the next ``flush``."""
        self._replies.setdefault(origin, []).append(answer)
        self.owes_replies = True

    def flush(self) -> None:
        """Send the answers that have come together."""
        replies, self._replies = self._replies, {}
        self.owes_replies = False
        for origin, answers in replies.items():
            self._transport.answer(origin, answers)


def _decode(body: bytes) -> Answer:
    try:
        return native.decode_answer(body)
    except ProtocolError as error:
        return OutcomeUnknown(f"{OutcomeUnknown.text}: {error}")


def _serve_nothing(body: bytes, answer: Waiter) -> None:
    answer(Unavailable())
