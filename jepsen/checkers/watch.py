"""Did a watch deliver what it promises? Events ordered by revision, each once, none missing, none invented."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_PROBLEMS = 20
"""Problems reported of one watch; the rest is counted."""


class WatchEvent(msgspec.Struct, frozen=True):
    """One change of one key; ``value`` None is a deletion."""

    revision: int
    key: str
    value: str | None


def check_watch(
    seen: Sequence[WatchEvent],
    truth: Sequence[WatchEvent],
    *,
    from_revision: int | None = None,
    matches: Callable[[str], bool] = lambda _key: True,
) -> list[str]:
    """What is wrong with the events ``seen`` by one watch, through all of its resumptions; empty when nothing is.

    ``truth`` is what was applied, by revision. ``matches`` says which keys the watch covers. Completeness is demanded
    between ``from_revision`` (default: the first revision seen) and the last revision seen.
    """
    problems: list[str] = []
    expected = {(event.revision, event.key): event for event in truth if matches(event.key)}
    delivered: set[tuple[int, str]] = set()
    last = 0
    for event in seen:
        place = (event.revision, event.key)
        if event.revision < last:
            problems.append(f"out of order: revision {event.revision} ({event.key}) after {last}")
        last = max(last, event.revision)
        if place in delivered:
            problems.append(f"duplicate: revision {event.revision} ({event.key})")
        delivered.add(place)
        if not matches(event.key):
            problems.append(f"not asked for: revision {event.revision} ({event.key})")
        elif place not in expected:
            problems.append(f"invented: revision {event.revision} ({event.key}) was never applied")
        elif expected[place] != event:
            problems.append(
                f"wrong value: revision {event.revision} ({event.key}): "
                f"{event.value!r} instead of {expected[place].value!r}"
            )
    if seen:
        first = min(event.revision for event in seen) if from_revision is None else from_revision
        problems += [
            f"missing: revision {revision} ({key})"
            for revision, key in sorted(expected)
            if first <= revision <= last and (revision, key) not in delivered
        ]
    if len(problems) > MAX_PROBLEMS:
        problems[MAX_PROBLEMS:] = [f"and {len(problems) - MAX_PROBLEMS} more"]
    return problems
