"""The leader is killed again and again under load: nothing acknowledged is lost, the watch sees each change once."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.cluster import call, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.e2e.cluster import LocalCluster

pytestmark = pytest.mark.slow

KILLS = 5
WRITERS = 8
MANY = 100
"""Writes acknowledged between two kills, at least."""
BOUND_S = 30.0
"""Nobody waits longer than this for anything; the figures are printed, not asserted."""
NAMESPACE = "storm"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
ROOT_CA = "kube-root-ca.crt"
"""What every namespace has: a controller puts it there."""


class Storm:
    """Writers at full speed, and what they know: names whose create was acknowledged, and those left open."""

    def __init__(self, cluster: LocalCluster) -> None:
        self._cluster = cluster
        self._changed = threading.Condition()
        self._over = False
        self.acknowledged: dict[str, int] = {}
        """Name to resourceVersion."""
        self.unknown: dict[str, str] = {}
        self.times: list[tuple[float, float]] = []
        """Begin and end of every acknowledged write."""
        self._threads = [threading.Thread(target=self._write, args=(i,), daemon=True) for i in range(WRITERS)]

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for thread in self._threads:
            thread.join(BOUND_S)
            assert not thread.is_alive()

    def _write(self, writer: int) -> None:
        connection = self._cluster.connection(BOUND_S)
        number = 0
        while not self._over:
            number += 1
            name = f"w{writer}-{number}"
            begin = time.monotonic()
            try:
                code, answer = call(connection, "POST", PATH, {"metadata": {"name": name}, "data": {"n": str(number)}})
            except (OSError, http.client.HTTPException, ValueError) as error:
                connection.close()  # the next request opens another one
                code, answer = 0, {"message": repr(error)}
            with self._changed:
                if code == 201:
                    self.acknowledged[name] = int(answer["metadata"]["resourceVersion"])
                    self.times.append((begin, time.monotonic()))
                else:
                    self.unknown[name] = f"{code} {answer['message']}"
                self._changed.notify_all()
        connection.close()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, BOUND_S), dict(list(self.unknown.items())[-5:])

    def first_after(self, moment: float) -> float | None:
        """When the first write that began after ``moment`` was acknowledged."""
        return min((end for begin, end in self.times[-10 * MANY :] if begin > moment), default=None)


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Lines until the stream ends, orderly or not."""
    with contextlib.closing(answer), contextlib.suppress(OSError, http.client.HTTPException, ValueError):
        yield from answer


class Watch:
    """Counts what a watch sees, resuming where it was if the server ends it."""

    def __init__(self, cluster: LocalCluster, version: str) -> None:
        self._cluster = cluster
        self._version = version
        self._changed = threading.Condition()
        self._connection = cluster.connection(BOUND_S)
        self._over = False
        self.events: list[tuple[str, str, int]] = []
        """Type, name, resourceVersion."""
        self.problem: Any = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._over and self.problem is None:
            self._connection.request("GET", f"{PATH}?watch=1&resourceVersion={self._version}")
            answer = self._connection.getresponse()
            for line in _lines(answer):
                event = json.loads(line)
                with self._changed:
                    if event["type"] == "ERROR":
                        self.problem = event
                    else:
                        metadata = event["object"]["metadata"]
                        self._version = metadata["resourceVersion"]
                        self.events.append((event["type"], metadata["name"], int(self._version)))
                    self._changed.notify_all()
            self._connection.close()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, BOUND_S), (self.problem, len(self.events), self.events[-3:])

    def end(self) -> None:
        """Cut the connection under the thread's read."""
        self._over = True
        with contextlib.suppress(OSError):  # it may be gone already
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(BOUND_S)
        assert not self._thread.is_alive()


def await_leader(cluster: LocalCluster, restarts: int) -> dict[str, Any]:
    """The leader, once every member is back and answers."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        members = cluster.status()["members"]
        leaders = [member for member in members if member["leader"]]
        answering = [member for member in members if not member["error"]]
        if leaders and len(answering) == 3 and sum(member["restarts"] for member in members) == restarts:
            assert len(leaders) == 1
            leader: dict[str, Any] = leaders[0]
            return leader
    raise AssertionError(f"not whole again: {members}")


def test_five_kills_of_the_leader(three_nodes: LocalCluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster = three_nodes
    code, _ = cluster.once("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    assert code == 201
    deadline, listed = time.monotonic() + BOUND_S, {"items": []}
    while [item["metadata"]["name"] for item in listed["items"]] != [ROOT_CA]:
        assert time.monotonic() < deadline, listed
        code, listed = cluster.once("GET", PATH)
        assert code == 200
    watch = Watch(cluster, listed["metadata"]["resourceVersion"])
    resumed: list[float] = []
    begin = time.monotonic()
    with Storm(cluster) as storm:
        for kill in range(KILLS):
            leader = await_leader(cluster, restarts=kill)
            enough = len(storm.acknowledged) + MANY
            storm.wait_until(lambda enough=enough: len(storm.acknowledged) >= enough)
            os.kill(leader["pid"], signal.SIGKILL)
            moment = time.monotonic()
            storm.wait_until(lambda moment=moment: storm.first_after(moment) is not None)
            first = storm.first_after(moment)
            assert first is not None
            resumed.append(first - moment)
        await_leader(cluster, restarts=KILLS)
    seconds = time.monotonic() - begin
    assert not running(leader["pid"])

    code, listed = cluster.once("GET", PATH)
    assert code == 200
    stored = {item["metadata"]["name"]: int(item["metadata"]["resourceVersion"]) for item in listed["items"]}
    del stored[ROOT_CA]
    watch.wait_until(lambda: len(watch.events) >= len(stored) or watch.problem is not None)
    watch.end()
    with capsys.disabled():
        print(
            f"\n{KILLS} kills of the leader in {seconds:.1f} s: {len(storm.acknowledged)} writes acknowledged, "
            f"{len(storm.unknown)} failed or unknown, {len(watch.events)} watch events; writes resumed after "
            f"{', '.join(f'{each:.2f}' for each in resumed)} s (median {statistics.median(resumed):.2f} s)"
        )
    assert watch.problem is None
    lost = {name for name, version in storm.acknowledged.items() if stored.get(name) != version}
    assert not lost, "acknowledged, and not there"
    assert stored.keys() <= storm.acknowledged.keys() | storm.unknown.keys()
    versions = [version for _, _, version in watch.events]
    assert versions == sorted(set(versions)), "events in order, none twice"
    assert {kind for kind, _, _ in watch.events} == {"ADDED"}
    assert {name: version for _, name, version in watch.events} == stored, "each change once, none missed"
