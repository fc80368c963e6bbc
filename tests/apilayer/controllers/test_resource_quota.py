"""What quotas say is used, beside objects that come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.client.interface import Ref
from apilayer.controllers.resource_quota import ResourceQuotaController

if TYPE_CHECKING:
    from apilayer.client.interface import Cluster

    from .conftest import World

Object = dict[str, Any]
QUOTA = Ref("resourcequotas", "default", "q")


def at_once(cluster: Cluster) -> ResourceQuotaController:
    """Believes at once that less is used."""
    return ResourceQuotaController(cluster, settle_seconds=0)


def secret(name: str) -> Object:
    return {"metadata": {"name": name}}


def uses(**used: str) -> Any:
    return lambda obj: obj is not None and (obj.get("status") or {}).get("used") == used


async def charge(world: World, secrets: str) -> None:
    """As the server that lets requests through does."""

    def change(old: Object) -> Object:
        return {**old, "status": {**old["status"], "used": {"secrets": secrets}}}

    await world.change(QUOTA, change, "status")


async def test_a_quota_says_what_is_used(world: World) -> None:
    await world.create("secrets", secret("a"))
    await world.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"secrets": "5", "pods": "1"}}})
    await world.start(at_once)
    shown = await world.until(QUOTA, uses(secrets="1", pods="0"))
    assert shown is not None
    assert shown["status"]["hard"] == {"pods": "1", "secrets": "5"}
    await world.change(QUOTA, lambda old: {**old, "spec": {"hard": {"secrets": "7"}}})
    shown = await world.until(QUOTA, uses(secrets="1"))
    assert shown is not None
    assert shown["status"]["hard"] == {"secrets": "7"}


async def test_what_is_gone_is_used_no_more(world: World) -> None:
    await world.create("secrets", secret("a"))
    await world.create("secrets", secret("b"))
    await world.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"secrets": "5"}}})
    await world.start(at_once)
    await world.until(QUOTA, uses(secrets="2"))
    await world.delete(Ref("secrets", "default", "a"))
    await world.until(QUOTA, uses(secrets="1"))


async def test_what_may_be_on_its_way_stays_charged(world: World) -> None:
    """A charge whose object is not there is given time."""
    await world.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"secrets": "5"}}})
    await world.create("secrets", secret("a"))
    (patient,) = await world.start(lambda cluster: ResourceQuotaController(cluster, settle_seconds=3600))
    await world.until(QUOTA, uses(secrets="1"))
    await charge(world, "3")
    await world.delete(Ref("secrets", "default", "a"))
    await world.idle(patient)
    assert uses(secrets="3")(await world.get(QUOTA))


async def test_a_charge_for_nothing_is_taken_back(world: World) -> None:
    await world.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"secrets": "5"}}})
    await world.create("secrets", secret("a"))
    await world.start(at_once)
    await world.until(QUOTA, uses(secrets="1"))
    await charge(world, "3")
    await world.delete(Ref("secrets", "default", "a"))
    await world.until(QUOTA, uses(secrets="0"))


async def test_a_pod_that_has_ended_is_no_longer_charged(world: World) -> None:
    resources = {"requests": {"cpu": "1"}}
    spec = {"containers": [{"name": "c", "image": "i", "resources": resources}]}
    await world.create("pods", {"metadata": {"name": "p"}, "spec": spec})
    hard = {"requests.cpu": "4", "count/pods": "4"}
    await world.create("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    await world.start(at_once)
    await world.until(QUOTA, uses(**{"count/pods": "1", "requests.cpu": "1"}))
    ended = {"phase": "Succeeded"}
    await world.change(Ref("pods", "default", "p"), lambda old: {**old, "status": {**old["status"], **ended}}, "status")
    await world.until(QUOTA, uses(**{"count/pods": "1", "requests.cpu": "0"}))
