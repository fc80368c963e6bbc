"""Fair queuing in simulated time: who goes first, who waits, who is refused; nothing is lost or counted twice."""

from __future__ import annotations

from heapq import heappop, heappush

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.pipeline.fairness.queues import CONCURRENCY_LIMIT, QUEUE_FULL, QueueSet, Queuing, Rejected, Ticket
from apilayer.pipeline.fairness.shuffle import flow_hash, hand
from apilayer.pipeline.fairness.work import ONE_SEAT, SEATS, Work

QUEUING = Queuing(64, 6, 50)
LABEL = ("schema", "flow")


class Simulation:
    """Requests that take so long, over one level; what started when is kept by flow."""

    def __init__(self, queues: QueueSet) -> None:
        self.queues = queues
        self.now = 0.0
        self.started: dict[str, list[float]] = {}
        self.refused: list[str] = []
        self._ends: list[tuple[float, int, Ticket]] = []

    def send(self, flow: str, seconds: float, work: Work = ONE_SEAT) -> None:
        try:
            queuing = self.queues.queuing
            dealt = hand(flow_hash("schema", flow), queuing.queues, queuing.hand_size) if queuing else ()
            ticket = self.queues.enter(work, dealt, LABEL, self.now)
        except Rejected as rejected:
            self.refused.append(rejected.reason)
            return
        if ticket.started is not None:
            self._begin(ticket, flow, seconds)
        else:
            ticket.wake = lambda: self._begin(ticket, flow, seconds)

    def _begin(self, ticket: Ticket, flow: str, seconds: float) -> None:
        assert ticket.started is not None
        self.started.setdefault(flow, []).append(ticket.started)
        heappush(self._ends, (ticket.started + seconds, len(self._ends) + id(ticket), ticket))

    def run(self, until: float) -> None:
        while True:
            release = self.queues.next_release
            end = self._ends[0][0] if self._ends else until
            at = min(release, end)
            if at > until or (at == until and not self._ends):
                break
            self.now = at
            if release < end:
                self.queues.tick(at)
            else:
                self.queues.finish(heappop(self._ends)[2], at)
        self.now = until
        self.queues.tick(until)


def test_an_elephant_leaves_a_mouse_its_share() -> None:
    simulation = Simulation(QueueSet(QUEUING, 10, 0.0))
    for _ in range(300):
        simulation.send("elephant", 0.1)
    waits = []
    for number in range(1, 9):
        simulation.run(number * 0.3)
        simulation.send("mouse", 0.1)
        sent = simulation.now
        simulation.run(sent + 0.299)
        waits.append(simulation.started["mouse"][-1] - sent)
    # First come, first served, the first would have waited for 2.7 seconds.
    assert max(waits) < 0.25, waits
    assert not simulation.refused
    assert len(simulation.started["elephant"]) > 200


def test_two_elephants_get_equal_parts() -> None:
    simulation = Simulation(QueueSet(Queuing(8, 1, 1000), 4, 0.0))
    flows = [name for name in map(str, range(20)) if hand(flow_hash("schema", name), 8, 1) != (0,)]
    first = flows[0]
    second = next(
        name for name in flows if hand(flow_hash("schema", name), 8, 1) != hand(flow_hash("schema", first), 8, 1)
    )
    for _ in range(400):
        simulation.send(first, 0.01)
    for _ in range(400):
        simulation.send(second, 0.04)
    simulation.run(2.0)
    # Equal seat-seconds: four times as many of those that take a quarter of the time.
    assert 3.2 < len(simulation.started[first]) / len(simulation.started[second]) < 4.8


def test_what_is_wide_pays_for_it() -> None:
    simulation = Simulation(QueueSet(Queuing(8, 1, 1000), 10, 0.0))
    flows = {hand(flow_hash("schema", name), 8, 1): name for name in map(str, range(20))}
    wide, narrow = list(flows.values())[:2]
    for _ in range(200):
        simulation.send(wide, 0.05, SEATS[5])
        simulation.send(narrow, 0.05)
    simulation.run(2.0)
    assert 4 < len(simulation.started[narrow]) / len(simulation.started[wide]) < 6


@pytest.mark.parametrize(
    ("queuing", "running", "reason"),
    [(Queuing(1, 1, 2), 3, QUEUE_FULL), (None, 1, CONCURRENCY_LIMIT)],
)
def test_refusals(queuing: Queuing | None, running: int, reason: str) -> None:
    simulation = Simulation(QueueSet(queuing, 1, 0.0))
    for _ in range(running + 1):
        simulation.send("flow", 1.0)
    assert simulation.refused == [reason]
    simulation.run(10.0)
    assert len(simulation.started["flow"]) == running
    assert simulation.queues.idle


def test_an_exempt_level_runs_everything() -> None:
    simulation = Simulation(QueueSet(None, None, 0.0))
    for _ in range(1000):
        simulation.send("flow", 1.0, SEATS[10])
    assert len(simulation.started["flow"]) == 1000
    assert simulation.queues.seats_in_use == 10_000


def test_a_request_wider_than_its_level_runs_alone() -> None:
    simulation = Simulation(QueueSet(QUEUING, 4, 0.0))
    simulation.send("a", 1.0)
    simulation.send("b", 1.0, SEATS[10])
    simulation.send("c", 1.0)
    assert simulation.started == {"a": [0.0]} or simulation.started == {"a": [0.0], "c": [0.0]}
    simulation.run(10.0)
    assert simulation.started["b"] == [1.0]


def test_the_narrow_may_pass_the_wide_for_a_moment() -> None:
    simulation = Simulation(QueueSet(QUEUING, 10, 0.0))
    for _ in range(2):
        simulation.send("wide", 1.0, SEATS[8])
    simulation.run(0.05)
    simulation.send("narrow", 10.0)
    assert simulation.started["narrow"] == [0.05]
    simulation.run(0.2)
    simulation.send("narrow", 1.0)  # a seat is free, but it is wanted
    assert len(simulation.started["narrow"]) == 1
    simulation.run(1.5)
    assert simulation.started["wide"] == [0.0, 1.0]
    assert simulation.started["narrow"] == [0.05, 1.0]


def test_the_wide_are_not_starved_by_the_narrow() -> None:
    simulation = Simulation(QueueSet(QUEUING, 10, 0.0))
    for number in range(40):
        simulation.send(f"narrow-{number}", 0.1 + number / 1000)
    simulation.send("wide", 1.0, SEATS[10])
    for number in range(40, 200):
        simulation.run(number / 100 - 0.39)
        simulation.send(f"narrow-{number}", 0.1)
    simulation.run(10.0)
    assert simulation.started["wide"][0] < 1.5


def test_a_level_without_seats_runs_nothing() -> None:
    queues = QueueSet(QUEUING, 0, 0.0)
    simulation = Simulation(queues)
    simulation.send("a", 1.0)
    assert simulation.started == {}
    queues.configure(QUEUING, 1, 5.0)
    assert simulation.started == {"a": [5.0]}


def test_watchers_keep_seats_after_a_write() -> None:
    simulation = Simulation(QueueSet(QUEUING, 3, 0.0))
    simulation.send("a", 1.0, Work(1, 3, 0.5))
    simulation.send("b", 1.0)
    simulation.run(1.4)
    assert "b" not in simulation.started
    simulation.run(3.0)
    assert simulation.started["b"] == [1.5]


def test_any_number_of_seats_may_be_kept_until_the_same_moment() -> None:
    queues = QueueSet(None, None, 0.0)
    kept = [queues.enter(Work(1, 2, 0.5), (), LABEL, 0.0) for _ in range(5_000)]
    for ticket in kept:
        queues.finish(ticket, 1.0)
    assert queues.seats_in_use > 0
    queues.tick(2.0)
    assert queues.seats_in_use == 0


def test_waiting_requests_outlive_their_queue() -> None:
    queues = QueueSet(QUEUING, 1, 0.0)
    simulation = Simulation(queues)
    for flow in "abcdef":
        simulation.send(flow, 1.0)
    queues.configure(None, 1, 0.0)
    assert queues.waiting == 5
    simulation.run(10.0)
    assert sorted(simulation.started) == list("abcdef")
    assert queues.idle


def test_who_gives_up_leaves_no_trace() -> None:
    queues = QueueSet(QUEUING, 1, 0.0)
    first = queues.enter(ONE_SEAT, (1, 2), LABEL, 0.0)
    second = queues.enter(SEATS[3], (2, 3), LABEL, 0.0)
    queues.abandon(second, 1.0)
    assert (queues.waiting, queues.seats_waiting) == (0, 0)
    queues.finish(first, 2.0)
    assert queues.idle
    assert queues.seats_in_use == 0


FLOWS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), FLOWS, st.integers(1, 6), st.integers(0, 4)),
        st.tuples(st.just("finish"), st.integers(0, 100)),
        st.tuples(st.just("abandon"), st.integers(0, 100)),
        st.tuples(st.just("limit"), st.integers(0, 8)),
        st.tuples(st.just("pass"), st.floats(0, 0.02)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_books_are_kept(steps: list[tuple[object, ...]]) -> None:
    queuing = Queuing(4, 2, 3)
    queues = QueueSet(queuing, 5, 0.0)
    now, tickets, lingering = 0.0, list[Ticket](), list[tuple[float, Ticket]]()
    for step in steps:
        now += 0.001
        waiting = [ticket for ticket in tickets if ticket.started is None]
        running = [ticket for ticket in tickets if ticket.started is not None]
        match step:
            case ("enter", int(flow), int(seats), int(final)):
                try:
                    work = Work(seats, final, 0.005 if final else 0.0)
                    tickets.append(queues.enter(work, hand(flow, 4, 2), LABEL, now))
                except Rejected:
                    assert queues.limit is not None
                    assert queues.seats_in_use >= queues.limit
            case ("finish", int(place)) if running:
                ticket = running[place % len(running)]
                tickets.remove(ticket)
                queues.finish(ticket, now)
                if ticket.work.extra_seconds:
                    lingering.append((now + ticket.work.extra_seconds, ticket))
            case ("abandon", int(place)) if waiting:
                ticket = waiting[place % len(waiting)]
                tickets.remove(ticket)
                queues.abandon(ticket, now)
            case ("limit", int(limit)):
                queues.configure(queuing, limit, now)
            case ("pass", float(seconds)):
                now += seconds
                queues.tick(now)
            case _:
                queues.tick(now)
        lingering = [item for item in lingering if item[0] > now]
        waiting = [ticket for ticket in tickets if ticket.started is None]
        running = [ticket for ticket in tickets if ticket.started is not None]
        held = sum(ticket.work.max_seats for ticket in running) + sum(ticket.work.max_seats for _, ticket in lingering)
        assert (queues.waiting, queues.executing, queues.seats_in_use) == (len(waiting), len(running), held)
        assert queues.seats_waiting == sum(ticket.work.max_seats for ticket in waiting)
        active = {ticket.queue for ticket in tickets}
        assert queues._active == len(active)
        for queue in queues.queues:
            mine = [ticket for ticket in waiting if ticket.queue is queue]
            assert list(queue.waiting) == mine
            assert queue.waiting_work == pytest.approx(sum(ticket.work.total for ticket in mine))
        if waiting:  # it is never idle without need: the one whose turn it is does not fit
            assert queues.limit is not None
            head = queues._next(now).waiting[0].work.max_seats
            assert queues.seats_in_use + head > queues.limit
            if queues.seats_in_use < queues.limit:
                assert not queues._narrow() or queues._blocked_since is not None
    for ticket in list(tickets):  # whatever came before, everybody who still waits is served in the end
        if ticket.started is not None:
            tickets.remove(ticket)
            queues.finish(ticket, now)
    queues.configure(queuing, 5, now)
    for _ in range(len(tickets)):
        now += 1.0
        queues.tick(now)
        ticket = next(ticket for ticket in tickets if ticket.started is not None)
        tickets.remove(ticket)
        queues.finish(ticket, now)
    assert queues.idle
    queues.tick(now + 1.0)
    assert queues.seats_in_use == 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(1, 128), st.data())
def test_a_hand_holds_different_queues(value: int, queues: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, min(queues, 10)))
    dealt = hand(value, queues, size)
    assert len(set(dealt)) == size
    assert all(0 <= index < queues for index in dealt)


def test_every_hand_is_dealt_alike() -> None:
    assert {hand(value, 4, 2) for value in range(12)} == {(a, b) for a in range(4) for b in range(4) if a != b}
