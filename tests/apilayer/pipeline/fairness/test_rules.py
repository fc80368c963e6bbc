"""Which schema a request falls under, by those that every cluster has; and how seats are shared."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apilayer.pipeline.authentication import ANONYMOUS, AUTHENTICATED, User
from apilayer.pipeline.fairness.refusals import RetryAfter
from apilayer.pipeline.fairness.rules import in_order, read_level, read_schema
from apilayer.pipeline.fairness.shares import Limits, Wish, allocate, borrowed, limits, most_seats, wish
from apilayer.pipeline.fairness.work import list_work, write_work
from apilayer.pipeline.request_info import parse
from apilayer.registry.flow_control import default_objects
from apilayer.registry.options import parse_query

SCHEMAS = in_order(map(read_schema, default_objects()[0]))
LEVELS = [read_level(obj) for obj in default_objects()[1]]


def user(name: str, *groups: str) -> User:
    return User(name, groups=(*groups, AUTHENTICATED))


def account(namespace: str, name: str) -> User:
    return user(f"system:serviceaccount:{namespace}:{name}", "system:serviceaccounts")


LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/x"
PODS = "/api/v1/namespaces/team/pods"


@pytest.mark.parametrize(
    ("who", "method", "path", "schema", "flow"),
    [
        (user("admin", "system:masters"), "GET", PODS, "exempt", ""),
        (ANONYMOUS, "GET", "/healthz", "probes", ""),
        (ANONYMOUS, "GET", "/healthz/etcd", "catch-all-or-default", "system:anonymous"),
        (ANONYMOUS, "POST", "/healthz", "catch-all-or-default", "system:anonymous"),
        (user("system:kube-scheduler"), "PUT", LEASE, "system-leader-election", "system:kube-scheduler"),
        (user("system:kube-scheduler"), "PATCH", LEASE, "kube-scheduler", "kube-system"),
        (user("system:kube-scheduler"), "GET", PODS, "kube-scheduler", "team"),
        (account("kube-system", "x"), "GET", LEASE, "system-leader-election", "system:serviceaccount:kube-system:x"),
        (account("kube-system", "x"), "GET", PODS, "kube-system-service-accounts", "team"),
        (account("kube-system-b", "x"), "GET", PODS, "service-accounts", "system:serviceaccount:kube-system-b:x"),
        (user("system:node:n", "system:nodes"), "PATCH", "/api/v1/nodes/n/status", "system-node-high", "system:node:n"),
        (user("system:node:n", "system:nodes"), "GET", "/api/v1/nodes/n/proxy", "system-nodes", "system:node:n"),
        (user("system:node:n", "system:nodes"), "PUT", LEASE, "system-node-high", "system:node:n"),
        (user("eve"), "GET", PODS, "catch-all-or-default", "eve"),
        (user("eve"), "GET", "/version", "catch-all-or-default", "eve"),
    ],
)
def test_matching(who: User, method: str, path: str, schema: str, flow: str) -> None:
    info = parse(method, path)
    found = next(item for item in SCHEMAS if item.matches(who, info))
    expected = "global-default" if schema == "catch-all-or-default" else schema
    assert (found.name, found.flow(who, info)) == (expected, flow)


@pytest.mark.parametrize(
    ("rule", "path", "matches"),
    [
        ({"namespaces": ["team"]}, PODS, True),
        ({"namespaces": ["other"]}, PODS, False),
        ({"namespaces": ["*"]}, "/api/v1/pods", False),
        ({"clusterScope": True}, "/api/v1/pods", True),
        ({"clusterScope": True}, PODS, False),
        ({"namespaces": ["*"], "resources": ["pods/log"]}, PODS + "/x/log", True),
        ({"namespaces": ["*"], "resources": ["pods"]}, PODS + "/x/log", False),
        ({"namespaces": ["*"], "apiGroups": ["apps"]}, PODS, False),
        ({"namespaces": ["*"], "verbs": ["create"]}, PODS, False),
    ],
)
def test_resource_rules(rule: dict[str, object], path: str, matches: bool) -> None:
    whole = {"verbs": ["*"], "apiGroups": [""], "resources": ["*"], **rule}
    rules = [{"subjects": [{"kind": "User", "user": {"name": "*"}}], "resourceRules": [whole]}]
    spec = {"priorityLevelConfiguration": {"name": "x"}, "rules": rules}
    schema = read_schema({"metadata": {"name": "x"}, "spec": spec})
    assert schema.matches(user("eve"), parse("GET", path)) is matches


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [("*", "/x", True), ("/x", "/x", True), ("/x", "/x/y", False), ("/x/*", "/x/y", True), ("/x/*", "/x", False)],
)
def test_path_rules(pattern: str, path: str, matches: bool) -> None:
    rule = {
        "subjects": [{"kind": "Group", "group": {"name": "*"}}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": [pattern]}],
    }
    spec = {"priorityLevelConfiguration": {"name": "x"}, "rules": [rule]}
    schema = read_schema({"metadata": {"name": "x"}, "spec": spec})
    assert schema.matches(user("eve"), parse("GET", path)) is matches


def test_shares_of_the_default_levels() -> None:
    """As kube-apiserver reports them with its default flags."""
    found = limits(LEVELS, 600)
    assert {name: item.nominal for name, item in found.items()} == {
        "catch-all": 13, "exempt": 0, "global-default": 49, "leader-election": 25, "node-high": 98, "system": 74,
        "workload-high": 98, "workload-low": 245,
    }  # fmt: skip
    assert (found["workload-low"].least, found["workload-low"].most) == (24, 845)
    assert most_seats(LEVELS[7], 245) == 37
    assert [most_seats(level, 3) for level in LEVELS if level.queuing] == [1] * 6


def test_borrowing_takes_from_those_that_do_not_want() -> None:
    of = {"a": Limits(100, 10, 200), "b": Limits(100, 50, 200)}
    idle = wish(of["b"], 0, 0.0)
    assert borrowed(200, {"a": wish(of["a"], 300, 250.0), "b": idle}, of) == {"a": 150, "b": 50}
    assert borrowed(200, {"a": wish(of["a"], 300, 250.0), "b": wish(of["b"], 300, 250.0)}, of) == {"a": 100, "b": 100}
    assert borrowed(60, {"a": wish(of["a"], 300, 250.0), "b": idle}, of) == {"a": 10, "b": 50}
    assert borrowed(105, {"a": wish(of["a"], 300, 250.0), "b": idle}, of) == {"a": 55, "b": 50}


WISH = st.tuples(st.integers(0, 50), st.floats(0, 100), st.integers(0, 100)).map(
    lambda item: Wish(item[0], item[0] + item[1], item[0] + item[2])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(WISH, min_size=1, max_size=6), st.floats(0, 1))
def test_allocation_is_proportional_within_bounds(wishes: list[Wish], part: float) -> None:
    low, high = sum(item.least for item in wishes), sum(item.most for item in wishes)
    total = low + part * (high - low)
    found = allocate(total, wishes)
    assert sum(found) == pytest.approx(total, abs=1e-6)
    free = []
    for item, seats in zip(wishes, found, strict=True):
        assert item.least - 1e-9 <= seats <= item.most + 1e-9
        if item.least + 1e-6 < seats < item.most - 1e-6:
            free.append(seats / max(item.target, 0.001))
    assert not free or max(free) == pytest.approx(min(free), rel=1e-6)


@pytest.mark.parametrize(
    ("path", "query", "objects", "size", "seats"),
    [
        (PODS, "", 0, 0, 1),
        (PODS, "", 100, 100_000, 1),
        (PODS, "", 250, 250_000, 3),
        (PODS, "resourceVersion=0", 1_000_000, 10**9, 10),
        (PODS, "limit=100", 1_000_000, 10**9, 1),
        (PODS, "fieldSelector=metadata.name%3Dx", 1_000_000, 10**9, 1),
        (PODS, "resourceVersion=5&resourceVersionMatch=Exact", 1_000_000, 10**9, 37),
        (PODS, "limit=10&continue=x&labelSelector=a", 100_000, 10**8, 37),
        (PODS, "watch=1", 1_000_000, 10**9, 1),
        (PODS, "watch=1&sendInitialEvents=true", 1_000_000, 10**9, 10),
    ],
)
def test_how_wide_a_list_is(path: str, query: str, objects: int, size: int, seats: int) -> None:
    info = parse("GET", path if "watch" not in query else path.replace("/v1/", "/v1/watch/"))
    assert list_work(info, parse_query(query), objects, size, 37).max_seats == seats


@pytest.mark.parametrize(
    ("watchers", "most", "seats", "extra"),
    [(9, 37, 1, 0.0), (10, 37, 1, 0.005), (95, 37, 10, 0.005), (1000, 37, 10, 0.05)],
)
def test_how_wide_a_write_is(watchers: int, most: int, seats: int, extra: float) -> None:
    work = write_work(watchers, most)
    assert (work.seats, work.max_seats, work.extra_seconds) == (1, seats, pytest.approx(extra))


def test_clients_are_told_to_wait_longer_while_many_are_refused() -> None:
    told = RetryAfter()
    seen = []
    for second in range(100, 120):
        for _ in range(100):
            told.refused(second)
        seen.append(told.seconds)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (1, 16)
    for second in range(200, 260, 20):
        told.refused(second)
    assert told.seconds == 13
