"""Requests that run, wait and are refused as the configuration says, in a clock that the test moves."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import AUTHENTICATED, User
from apilayer.pipeline.fairness.control import Fairness
from apilayer.pipeline.fairness.shares import Limits
from apilayer.pipeline.request_info import parse
from apilayer.registry.flow_control import default_objects
from tests.apilayer.pipeline.places import held

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from apilayer.pipeline.request_info import RequestInfo

Object = dict[str, Any]

EVE, BOB = (User(name, groups=(AUTHENTICATED,)) for name in ("eve", "bob"))
ADMIN = User("admin", groups=("system:masters", AUTHENTICATED))
GET = parse("GET", "/api/v1/namespaces/team/pods/x")
LIST = parse("GET", "/api/v1/namespaces/team/pods")
UPDATE = parse("PUT", "/api/v1/namespaces/team/pods/x")


class Cluster:
    """`Source` with what the test puts in."""

    def __init__(self) -> None:
        self.of_schemas: list[Object] = []
        self.of_levels: list[Object] = []
        self.objects = (0, 0)
        self.watching = 0
        self._version = 0

    def put(self, schemas: list[Object], levels: list[Object]) -> None:
        self.of_schemas, self.of_levels = schemas, levels
        self._version += 1

    def version(self) -> Hashable:
        return self._version

    def schemas(self) -> Sequence[Object]:
        return self.of_schemas

    def levels(self) -> Sequence[Object]:
        return self.of_levels

    def size(self, group: str, resource: str) -> tuple[int, int]:
        return self.objects

    def watchers(self, info: RequestInfo) -> int:
        return self.watching


@pytest.fixture
def clock() -> MockClock:
    return MockClock()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def fairness(cluster: Cluster, nursery: trio.Nursery) -> Fairness:
    """Over 49 seats, of which the level of most users has 3 at first and 4 of its own."""
    made = Fairness(cluster, 49, default_objects())
    nursery.start_soon(made.run)
    await wait_all_tasks_blocked()
    return made


class Load:
    """Requests that end when they are told to."""

    def __init__(self, fairness: Fairness, nursery: trio.Nursery) -> None:
        self._fairness = fairness
        self._nursery = nursery
        self.running: list[str] = []
        self.refused: list[tuple[str, StatusError]] = []
        self._ends: dict[str, trio.Event] = {}
        self._scopes: dict[str, trio.CancelScope] = {}

    async def send(self, name: str, user: User = EVE, info: RequestInfo = GET, seconds: float = 60.0) -> None:
        self._ends[name] = trio.Event()
        self._nursery.start_soon(self._run, name, user, info, seconds)
        await wait_all_tasks_blocked()

    async def _run(self, name: str, user: User, info: RequestInfo, seconds: float) -> None:
        try:
            with trio.move_on_after(seconds) as self._scopes[name]:
                async with held(self._fairness, user, info):
                    self.running.append(name)
                    await self._ends[name].wait()
        except StatusError as error:
            self.refused.append((name, error))

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await wait_all_tasks_blocked()

    async def cancel(self, name: str) -> None:
        self._scopes[name].cancel()
        await wait_all_tasks_blocked()


@pytest.fixture
def load(fairness: Fairness, nursery: trio.Nursery) -> Load:
    return Load(fairness, nursery)


def level(name: str, **limited: Any) -> Object:
    part = {"nominalConcurrencyShares": 10, "limitResponse": {"type": "Reject"}, **limited}
    return {"metadata": {"name": name, "uid": f"level-{name}"}, "spec": {"type": "Limited", "limited": part}}


def schema(name: str, level: str, **spec: Any) -> Object:
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "*"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}],
    }
    whole = {"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": 10, "rules": [rule], **spec}
    return {"metadata": {"name": name, "uid": f"schema-{name}"}, "spec": whole}


async def test_requests_wait_for_seats_and_then_run(fairness: Fairness, load: Load) -> None:
    for name in "abcde":
        await load.send(name)
    assert load.running == ["a", "b", "c"]
    await load.end("b")
    assert load.running == ["a", "b", "c", "d"]
    counts = fairness.counts["global-default", "global-default"]
    assert (counts.executing, counts.waiting, counts.dispatched, counts.seats) == (3, 1, 4, 3)
    assert fairness.running == [3, 0]


async def test_somebody_elses_request_goes_before_the_rest_of_a_flood(clock: MockClock, load: Load) -> None:
    for number in range(40):
        await load.send(f"eve-{number}")
    await load.send("bob", BOB)
    ended = 0
    assert trio.current_time() == 0.0  # of `clock`
    while "bob" not in load.running:
        await load.end(load.running[ended])
        ended += 1
    assert ended <= 7  # one for each queue that the flood waits in, and its own
    await load.send("admin", ADMIN)
    assert load.running[-1] == "admin"


@pytest.mark.parametrize(("seconds", "waited"), [(60.0, 15.0), (8.0, 2.0), (1000.0, 15.0)])
async def test_a_quarter_of_a_requests_time_is_spent_waiting(
    clock: MockClock, fairness: Fairness, load: Load, seconds: float, waited: float
) -> None:
    for name in "abc":
        await load.send(name, seconds=10_000)
    await load.send("d", seconds=seconds)
    levels = fairness.levels["global-default"]
    levels.limits = Limits(3, 3, 3)  # nobody lends
    for step in (waited - 0.01, 0.02):
        assert not load.refused
        clock.jump(step)
        await wait_all_tasks_blocked()
    [(name, error)] = load.refused
    assert (name, error.code, error.status["message"]) == ("d", 429, "Too many requests, please try again later.")
    assert dict(error.headers)["Retry-After"] == "1"
    counts = fairness.counts["global-default", "global-default"]
    assert counts.rejected == {"time-out": 1}
    assert fairness.levels["global-default"].queues.waiting == 0


async def test_who_is_cancelled_while_waiting_leaves_the_queue(fairness: Fairness, load: Load) -> None:
    for name in "abcd":
        await load.send(name)
    await load.cancel("d")
    queues = fairness.levels["global-default"].queues
    assert (queues.waiting, load.refused) == (0, [])
    assert fairness.counts["global-default", "global-default"].rejected == {"cancelled": 1}
    for name in "abc":
        await load.cancel(name)
    assert queues.idle
    assert fairness.running == [0, 0]


async def test_cancelled_in_the_moment_of_its_turn(fairness: Fairness, load: Load) -> None:
    for name in "abcd":
        await load.send(name)
    load._scopes["d"].cancel()
    await load.end("a")
    await load.end("b")
    await load.end("c")
    assert fairness.levels["global-default"].queues.idle


async def test_changes_take_effect_with_the_next_request(cluster: Cluster, fairness: Fairness, load: Load) -> None:
    cluster.put([schema("s", "mine")], [level("mine")])
    for name in "abcd":
        await load.send(name)
    assert load.running == ["a", "b", "c", "d"]
    assert fairness.levels["mine"].limits.nominal == 33
    queued = {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 1}}
    few = level("mine", limitResponse=queued, nominalConcurrencyShares=1)
    cluster.put([schema("s", "mine")], [few, level("catch-all", nominalConcurrencyShares=97)])
    for name in "ef":
        await load.send(name)
    assert [(name, error.code) for name, error in load.refused] == [("f", 429)]
    headers = dict(load.refused[0][1].headers)
    assert headers["X-Kubernetes-Pf-Flowschema-Uid"] == "schema-s"
    assert headers["X-Kubernetes-Pf-Prioritylevel-Uid"] == "level-mine"
    assert fairness.counts["mine", "s"].rejected == {"queue-full": 1}
    # The level goes while somebody waits in it.
    cluster.put([schema("s", "mine")], [])
    await load.send("g")
    assert set(load.running) == set("abcdeg")
    assert fairness.counts["catch-all", "catch-all"].executing == 1


async def test_a_level_that_refuses(cluster: Cluster, fairness: Fairness, load: Load) -> None:
    cluster.put([schema("s", "mine")], [level("mine", nominalConcurrencyShares=1), level("catch-all")])
    for number in range(6):
        await load.send(str(number))
    assert len(load.running) == 5
    assert fairness.counts["mine", "s"].rejected == {"concurrency-limit": 1}


async def test_what_cannot_be_read_is_left_out(cluster: Cluster, fairness: Fairness, load: Load) -> None:
    cluster.put([{"metadata": {"name": "x"}, "spec": {}}, schema("s", "mine")], [{"metadata": {}}, level("mine")])
    await load.send("a")
    assert fairness.counts["mine", "s"].executing == 1


async def test_the_mandatory_ones_are_there_whatever_the_cluster_says(cluster: Cluster, fairness: Fairness) -> None:
    cluster.put([], [level("mine")])
    for user, expected in ((ADMIN, "exempt"), (EVE, "catch-all"), (User("nobody"), "catch-all")):
        async with held(fairness, user, GET):
            assert fairness.counts[expected, expected].executing == 1


async def test_watchers_of_a_write_keep_seats_for_a_while(
    clock: MockClock, cluster: Cluster, fairness: Fairness, load: Load
) -> None:
    cluster.watching = 1000
    await load.send("write", info=UPDATE)
    await load.send("get", BOB)
    assert load.running == ["write", "get"]
    assert fairness.levels["global-default"].queues.seats_in_use == 2  # no request gets more than the hand leaves
    cluster.watching = 0
    for name in "ab":
        await load.send(name)
    assert load.running == ["write", "get", "a"]
    await load.end("write")
    assert load.running == ["write", "get", "a"]
    clock.jump(0.6)
    await wait_all_tasks_blocked()
    assert load.running == ["write", "get", "a", "b"]


async def test_seats_that_nobody_wants_are_lent(clock: MockClock, fairness: Fairness, load: Load) -> None:
    for number in range(30):
        await load.send(str(number), seconds=10_000)
    assert len(load.running) == 3
    clock.jump(10.1)
    await wait_all_tasks_blocked()
    # All but what others keep for themselves, whatever is wanted.
    kept = sum(state.limits.least for name, state in fairness.levels.items() if name != "global-default")
    assert len(load.running) == 30
    assert 49 - kept <= fairness.levels["global-default"].queues.limit <= 56 - kept


async def test_a_wide_list_takes_seats(cluster: Cluster, fairness: Fairness, load: Load) -> None:
    cluster.objects = (10_000, 10**7)
    cluster.put([schema("s", "mine")], [level("mine"), level("catch-all")])
    for number in range(4):
        await load.send(f"list-{number}", info=LIST)
    assert fairness.levels["mine"].queues.seats_in_use == 20
    assert len(load.refused) == 2


async def test_what_lasts_takes_no_seat(fairness: Fairness) -> None:
    async with held(fairness, EVE, parse("GET", "/api/v1/namespaces/a/pods/x/log")) as place:
        assert place.headers == ()
        assert fairness.running == [0, 0]


async def test_flows_that_are_remembered_are_bounded(fairness: Fairness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apilayer.pipeline.fairness.control.MAX_REMEMBERED_FLOWS", 10)
    for number in range(100):
        async with held(fairness, User(f"user-{number}", groups=(AUTHENTICATED,)), GET):
            pass
    assert len(fairness._flows) <= 10


async def test_a_request_is_counted_under_the_level_as_it_was(cluster: Cluster, fairness: Fairness) -> None:
    objects = deepcopy(default_objects())
    async with held(fairness, EVE, GET):
        cluster.put(list(objects[0]), list(objects[1]))
        async with held(fairness, BOB, GET):
            assert fairness.counts["global-default", "global-default"].executing == 2
    assert fairness.counts["global-default", "global-default"].executing == 0
