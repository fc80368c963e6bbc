"""What a quota's status is to say, from the objects that there are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.quantity import ZERO
from apilayer.api.quota.amounts import Amounts, above, amounts, largest, only, plus, same, texts
from apilayer.api.quota.scopes import requirements

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from apilayer.api.quota.evaluators import Evaluator

Object = dict[str, Any]


def observed(quota: Object, contents: Iterable[tuple[Evaluator, Iterable[Object]]], now: datetime) -> Amounts:
    """What the objects use of the quota, by each name in its spec that somebody counts.

    `contents` gives the objects of the quota's namespace; those of an evaluator that the quota does not concern are
    not looked at.
    """
    hard = (quota.get("spec") or {}).get("hard") or {}
    scopes = requirements(quota)
    used: Amounts = {}
    for evaluator, objects in contents:
        names = evaluator.matching(hard)
        if not names:
            continue
        used = plus(used, dict.fromkeys(names, ZERO))
        for obj in objects:
            if all(evaluator.fits(requirement, obj) for requirement in scopes):
                used = plus(used, only(evaluator.usage(obj, now), names))
    return used


def recounted(quota: Object, counted: Amounts, base: Amounts | None = None) -> Object | None:
    """The quota with the status that it should have; None when it has it.

    What requests have been charged with may not be stored, or not be seen, yet. So less than is charged now is
    said only with a `base`: what was charged at a time since when every request has come to its end. What has been
    charged since then is kept on top of what was counted.
    """
    spec, status = quota.get("spec") or {}, quota.get("status") or {}
    hard, used = amounts(spec.get("hard")), amounts(status.get("used"))
    known = only(counted, hard)
    if base is None:
        settled = largest(known, only(used, known))
    else:
        settled = plus(known, above(only(used, known), base))
        # More than is charged now cannot be due to what was charged.
        settled = {
            name: min((amount, largest(known, used)[name]), key=lambda item: item.amount)
            for name, amount in settled.items()
        }
    new = {**only(used, hard), **settled}
    if same(hard, amounts(status.get("hard"))) and "hard" in status and "used" in status and same(new, used):
        return None
    return {**quota, "status": {"hard": texts(hard), "used": texts(new)}}
