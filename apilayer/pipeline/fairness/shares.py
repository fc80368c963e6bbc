"""How the server's seats are shared among the priority levels, at first and as they borrow from each other. Pure."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

import attrs

from apilayer.pipeline.fairness.work import MAX_LIST_SEATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from apilayer.pipeline.fairness.rules import Level

MIN_TARGET = 0.001
MAX_SEATS_PART = 0.15


@attrs.frozen
class Limits:
    """Seats of one level: its share, what it keeps however much others want, and how many it may have at most."""

    nominal: int
    least: int
    most: int

    @property
    def first(self) -> int:
        """Until demand is known: half of what may be lent is lent."""
        return self.nominal - (self.nominal - self.least) // 2


@attrs.frozen
class Wish:
    """What a level wants of the seats: `target`, and bounds of what it gets."""

    least: float
    target: float
    most: float


def limits(levels: Iterable[Level], total: int) -> dict[str, Limits]:
    """The limits of each level by name, of `total` seats."""
    levels = list(levels)
    shares = sum(level.shares for level in levels)
    found = {}
    for level in levels:
        nominal = ceil(total * level.shares / shares) if shares else 0
        lendable = _percent(nominal, level.lendable_percent)
        borrowing = total if level.borrowing_percent is None else _percent(nominal, level.borrowing_percent)
        found[level.name] = Limits(nominal, nominal - lendable, nominal + borrowing)
    return found


def most_seats(level: Level, nominal: int) -> int:
    """How many seats one request of the level may take, so that the queues of one flow cannot fill it all."""
    if level.queuing is None:
        return MAX_LIST_SEATS
    return max(1, min(ceil(nominal * MAX_SEATS_PART), nominal // level.queuing.hand_size))


def wish(bounds: Limits, high: int, smoothed: float) -> Wish:
    """Of a limited level that had up to `high` seats in demand lately: it gets those back that are its own."""
    least = max(bounds.least, min(bounds.nominal, high))
    return Wish(least, max(least, smoothed), bounds.most)


def borrowed(total: int, wishes: Mapping[str, Wish], limits_of: Mapping[str, Limits]) -> dict[str, int]:
    """The seats of each limited level, of `total` that the exempt ones leave."""
    least = sum(limits_of[name].least for name in wishes)
    wanted = sum(item.least for item in wishes.values())
    if total <= least:
        return {name: limits_of[name].least for name in wishes}
    if total <= wanted:
        part = (total - least) / (wanted - least)
        return {
            name: limits_of[name].least + round((item.least - limits_of[name].least) * part)
            for name, item in wishes.items()
        }
    shared = allocate(total, list(wishes.values()))
    return {name: round(seats) for name, seats in zip(wishes, shared, strict=True)}


def allocate(total: float, wishes: Sequence[Wish]) -> list[float]:
    """Shares in one proportion of the targets, except where a bound says otherwise; together `total` if bounds allow.

    The proportion is found between the two neighbours, of all at which some bound is met, that enclose it.
    """
    targets = [max(item.target, MIN_TARGET) for item in wishes]

    def shared(proportion: float) -> list[float]:
        return [
            max(item.least, min(item.most, proportion * target)) for item, target in zip(wishes, targets, strict=True)
        ]

    low = 0.0
    for high in sorted(
        bound / target for item, target in zip(wishes, targets, strict=True) for bound in (item.least, item.most)
    ):
        if sum(shared(high)) >= total:
            below, above = sum(shared(low)), sum(shared(high))
            part = (total - below) / (above - below) if above > below else 1.0
            return shared(low + part * (high - low))
        low = high
    return shared(low)


def _percent(seats: int, percent: int) -> int:
    return int(seats * percent / 100 + 0.5)
