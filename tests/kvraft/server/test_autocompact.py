"""Auto-compaction: what is decided when, with a clock of the test's own; and the flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kvraft.client import open_client
from kvraft.embed import open_member
from kvraft.server.autocompact import PeriodicCompaction, RevisionCompaction, parse_retention
from kvraft.server.config import ConfigError
from tests.kvraft.members import open_members, until

if TYPE_CHECKING:
    from pathlib import Path


def simulate(compaction: PeriodicCompaction, hours: float, leads=lambda now: True) -> list[tuple[float, int]]:
    """A store that gains one revision a second; when what is compacted, in seconds."""
    seen = []
    now = 0.0
    while now <= hours * 3600:
        target = compaction.look(now, 1 + round(now), leads=leads(now))
        if target is not None:
            seen.append((now, target))
            compaction.done(now, target)
        now += compaction.pause_seconds
    return seen


def test_short_retentions_are_their_own_interval() -> None:
    """Five minutes are noted every 30 s, compacted first after five minutes, then every five."""
    compaction = PeriodicCompaction(300)
    assert compaction.pause_seconds == 30
    seen = simulate(compaction, 0.5)
    assert [now for now, _ in seen] == [300, 600, 900, 1200, 1500, 1800]
    assert [target for _, target in seen] == [1, 271, 571, 871, 1171, 1471], "never less than the retention is kept"


def test_long_retentions_are_compacted_every_hour() -> None:
    compaction = PeriodicCompaction(10 * 3600)
    assert compaction.pause_seconds == 360
    seen = simulate(compaction, 13)
    assert [now for now, _ in seen] == [10 * 3600, 11 * 3600, 12 * 3600, 13 * 3600]
    assert [target for _, target in seen] == [1, 3241, 6841, 10441]


def test_only_the_leader_compacts_but_everybody_notes() -> None:
    compaction = PeriodicCompaction(600)
    assert simulate(compaction, 1, leads=lambda now: now >= 1800)[0] == (1800.0, 1141)


def test_nothing_new_is_nothing_to_compact() -> None:
    compaction = PeriodicCompaction(60)
    assert [compaction.look(now, 5, leads=True) for now in range(0, 60, 6)] == [None] * 10
    assert compaction.look(60, 5, leads=True) == 5
    assert compaction.look(66, 5, leads=True) == 5, "it was not done: again"
    compaction.done(66, 5)
    assert [compaction.look(now, 5, leads=True) for now in range(72, 300, 6)] == [None] * 38


def test_by_revision_the_last_ones_stay() -> None:
    compaction = RevisionCompaction(100)
    assert compaction.pause_seconds == 300
    assert compaction.look(0, 100, leads=True) is None
    assert compaction.look(300, 150, leads=False) is None
    assert compaction.look(300, 150, leads=True) == 50
    compaction.done(300, 50)
    assert compaction.look(600, 150, leads=True) is None
    assert compaction.look(600, 151, leads=True) == 51


@pytest.mark.parametrize(
    ("mode", "retention", "pause_seconds"),
    [("periodic", "1", 360), ("periodic", "1h", 360), ("periodic", "30m", 180), ("periodic", "72h30m", 360),
     ("periodic", "1.5s", 0.15), ("revision", "1000", 300)],
)  # fmt: skip
def test_retentions(mode: str, retention: str, pause_seconds: float) -> None:
    compaction = parse_retention(mode, retention)
    assert compaction is not None
    assert compaction.pause_seconds == pytest.approx(pause_seconds)


@pytest.mark.parametrize("mode", ["periodic", "revision"])
def test_zero_is_off(mode: str) -> None:
    assert parse_retention(mode, "0") is None


@pytest.mark.parametrize(
    ("mode", "retention", "text"),
    [
        ("monthly", "1", 'unknown auto-compaction-mode "monthly"'),
        ("periodic", "1 hour", "error parsing CompactionRetention"),
        ("periodic", "-1h", "negative"),
        ("revision", "1h", "is not a number of revisions"),
        ("revision", "-5", "is not a number of revisions"),
    ],
)
async def test_bad_retentions_are_refused(tmp_path: Path, mode: str, retention: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        parse_retention(mode, retention)
    with pytest.raises(ConfigError, match=text):
        async with open_member(tmp_path, auto_compaction_mode=mode, auto_compaction_retention=retention):
            pass


async def test_members_compact_by_themselves(tmp_path: Path) -> None:
    async with (
        open_members(tmp_path, auto_compaction_retention="500ms") as members,
        open_client(members.urls) as client,
    ):
        for number in range(20):
            await client.put(b"k", b"%d" % number)
        await until(lambda: all(m.machine.compacted_revision == 21 for m in members.running.values()))
        await members.crash(await members.leader())
        await members.leader()
        async with open_client(members.urls) as another:
            revision = (await another.put(b"k", b"later")).revision
        await until(lambda: all(m.machine.compacted_revision == revision for m in members.running.values()))
