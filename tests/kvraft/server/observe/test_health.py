"""``/health``, ``/livez``, ``/readyz`` and ``/version`` of members that are well, alone, and without a majority."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from kvraft.client import open_client
from kvraft.server.observe.routes import ROUTES
from kvraft.version import ETCD_VERSION
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from kvraft.server.member import Member

ALL_WELL = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n"


async def _get(member: Member, url: str) -> tuple[int, str]:
    parts = urlsplit(url)
    query = parse_qs(parts.query, keep_blank_values=True)
    status, _, body = await ROUTES[parts.path](parts.path, query, member)
    return status, body.decode()


async def _health(member: Member, query: str = "") -> tuple[int, Any]:
    status, body = await _get(member, f"/health{query}")
    return status, json.loads(body)


def _with_alarms(monkeypatch: pytest.MonkeyPatch, member: Member, *alarms: str) -> None:
    """As Status tells of them."""
    status = member.status()
    told = msgspec.structs.replace(status, errors=[f"memberID:{status.member_id} alarm:{alarm} " for alarm in alarms])
    monkeypatch.setattr(member, "status", lambda: told)


async def test_a_member_that_is_well_says_so_in_etcds_words(tmp_path: Path) -> None:
    async with open_members(tmp_path, 3) as members:
        for member in members.running.values():
            assert await _get(member, "/health") == (200, '{"health":"true","reason":""}')
            assert await _get(member, "/livez") == (200, "ok\n")
            assert await _get(member, "/readyz") == (200, "ok\n")
            assert await _get(member, "/livez?verbose") == (200, "[+]serializable_read ok\nok\n")
            assert await _get(member, "/readyz?verbose") == (200, ALL_WELL)
            assert await _get(member, "/readyz?verbose&exclude=linearizable_read&exclude=odd") == (
                200,
                "[+]data_corruption ok\n[+]serializable_read ok\n[+]non_learner ok\nok\n",
            )
            assert await _get(member, "/readyz/non_learner?verbose") == (200, "[+]non_learner ok\nok\n")
            status, body = await _get(member, "/version")
            assert (status, json.loads(body)["etcdserver"]) == (200, ETCD_VERSION)


async def test_without_a_majority_a_member_lives_but_is_not_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_members(tmp_path, 3) as members:
        left, *others = list(members.running)
        for name in others:
            await members.crash(name)
        member = members.running[left]
        await until(lambda: member.driver.raft.leader == 0)
        monkeypatch.setattr(member, "request_seconds", 0.1)
        assert await _health(member) == (503, {"health": "false", "reason": "RAFT NO LEADER"})
        assert await _health(member, "?serializable=true") == (200, {"health": "true", "reason": ""})
        assert await _get(member, "/livez") == (200, "ok\n")
        status, body = await _get(member, "/readyz")
        assert status == 503
        assert "[+]serializable_read ok\n[-]linearizable_read failed: " in body
        assert (member.counters.health_successes, member.counters.health_failures) == (1, 1)
        for name in others:
            members.start(name)


async def test_alarms_are_told_and_can_be_excluded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_members(tmp_path, 1) as members:
        (member,) = members.running.values()
        _with_alarms(monkeypatch, member, "NOSPACE")
        assert await _health(member) == (503, {"health": "false", "reason": "ALARM NOSPACE"})
        assert await _health(member, "?exclude=NOSPACE") == (200, {"health": "true", "reason": ""})
        assert await _get(member, "/readyz") == (200, "ok\n"), "it can be read, and deleted from"
        _with_alarms(monkeypatch, member, "NOSPACE", "CORRUPT")
        assert await _health(member, "?exclude=NOSPACE") == (503, {"health": "false", "reason": "ALARM CORRUPT"})
        status, body = await _get(member, "/readyz")
        assert (status, body.splitlines()[0]) == (503, "[-]data_corruption failed: alarm activated: CORRUPT")
        assert await _get(member, "/livez") == (200, "ok\n")


async def test_a_health_check_waits_for_the_cluster_no_longer_than_a_request(tmp_path: Path) -> None:
    """The check is a linearizable read: it goes through while writes do."""
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        (member,) = members.running.values()
        await client.put(b"k", b"v")
        before = member.driver.raft.last_index
        assert (await _health(member))[0] == 200
        assert member.driver.raft.last_index == before, "nothing is written for it"
