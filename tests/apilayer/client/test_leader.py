"""Leader election: what a Lease calls for, and two candidates over a real store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trio

from apilayer.client.interface import Ref
from apilayer.client.leader import LEASE_SECONDS, LEASES, LeaderElection, Observer, Step, held
from apilayer.registry.bootstrap import bootstrap
from apilayer.registry.registry import Registry
from apilayer.server.controller_api import LocalCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from apilayer.storage.kvraft_backend import KvraftStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def spec(holder: str, renewed: str = "1") -> dict[str, Any]:
    return {"holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": renewed}


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ([(spec("me"), 0)], Step.RENEW),
        ([({}, 0)], Step.TAKE),
        ([(spec(""), 0)], Step.TAKE),
        ([(spec("other"), 0)], Step.WAIT),
        ([(spec("other"), 0), (spec("other"), LEASE_SECONDS - 1)], Step.WAIT),
        ([(spec("other"), 0), (spec("other"), LEASE_SECONDS)], Step.TAKE),
        ([(spec("other"), 0), (spec("other", "2"), 14), (spec("other", "2"), 28)], Step.WAIT),
        ([(spec("other"), 0), (spec("other", "2"), 14), (spec("other", "2"), 29)], Step.TAKE),
    ],
)
def test_steps(seen: list[tuple[dict[str, Any], float]], expected: Step) -> None:
    """Clocks of others do not count: a Lease is over when it has not changed here for its duration."""
    observer = Observer("me")
    steps = [observer.step(found, now) for found, now in seen]
    assert steps[-1] is expected


def test_what_is_written() -> None:
    first = held({}, "me", NOW)
    assert first["holderIdentity"] == "me"
    assert first["leaseTransitions"] == 1
    assert first["acquireTime"] == first["renewTime"] == "2026-01-01T00:00:00.000000Z"
    later = held(first, "me", NOW.replace(hour=1))
    assert later["acquireTime"] == first["acquireTime"]
    assert later["renewTime"] == "2026-01-01T01:00:00.000000Z"
    assert held(later, "other", NOW)["leaseTransitions"] == 2
    assert held(later, "", NOW)["holderIdentity"] == ""


@pytest.fixture
async def cluster(store: KvraftStore, nursery: trio.Nursery) -> AsyncIterator[LocalCluster]:
    registry = Registry(store)
    nursery.start_soon(registry.cache.run)
    await registry.cache.loaded.wait()
    await bootstrap(registry)
    yield LocalCluster(registry)
    nursery.cancel_scope.cancel()


async def test_one_leads_and_the_other_follows_when_it_stops(cluster: LocalCluster, nursery: trio.Nursery) -> None:
    leading: list[str] = []
    started = {name: trio.Event() for name in ("one", "two")}

    async def candidate(name: str, scope: trio.CancelScope) -> None:
        async def lead() -> None:
            leading.append(name)
            started[name].set()
            try:
                await trio.sleep_forever()
            finally:
                leading.remove(name)

        with scope:
            await LeaderElection(cluster, "kube-system", "test", name).run(lead)

    scopes = {name: trio.CancelScope() for name in ("one", "two")}
    nursery.start_soon(candidate, "one", scopes["one"])
    with trio.fail_after(10):
        await started["one"].wait()
        nursery.start_soon(candidate, "two", scopes["two"])
        assert leading == ["one"]
        scopes["one"].cancel()
        await started["two"].wait()
    assert leading == ["two"]
    lease = await cluster.get(Ref(LEASES, "kube-system", "test"))
    assert lease["spec"]["holderIdentity"] == "two"
    assert lease["spec"]["leaseTransitions"] == 2
