"""Whether what a request adds fits into a quota, and the quota once it has been charged. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.quota.amounts import Amounts, above, amounts, only, plus, shown, texts
from apilayer.api.quota.evaluators import ConstraintError
from apilayer.api.quota.scopes import requirements

if TYPE_CHECKING:
    from datetime import datetime

    from apilayer.api.quota.evaluators import Evaluator

Object = dict[str, Any]


class QuotaError(Exception):
    """The request is not to be let through; the message is Kubernetes' own."""


def concerns(quota: Object, evaluator: Evaluator, obj: Object) -> bool:
    """Whether the object counts against the quota.

    Raises QuotaError when it does and does not say what has to be known of it, or nobody has yet counted what is
    there.
    """
    status = quota.get("status") or {}
    names = evaluator.matching(status.get("hard") or ())
    if not names or not all(evaluator.fits(requirement, obj) for requirement in requirements(quota)):
        return False
    name = quota["metadata"]["name"]
    try:
        evaluator.require(names, obj)
    except ConstraintError as error:
        raise QuotaError(f"failed quota: {name}: {error}") from error
    if not names <= (status.get("used") or {}).keys():
        raise QuotaError(f"status unknown for quota: {name}, resources: {','.join(sorted(names))}")
    return True


def cost_of(evaluator: Evaluator, obj: Object, old: Object | None, now: datetime) -> Amounts:
    """What the request adds: the object's cost, less that of what it replaces. Raises QuotaError."""
    cost = evaluator.usage(obj, now)
    negative = sorted(name for name, amount in cost.items() if amount.amount < 0)
    if negative:
        raise QuotaError(f"quota usage is negative for resource(s): {','.join(negative)}")
    return above(cost, evaluator.usage(old, now) if old is not None else {})


def charged(quota: Object, cost: Amounts) -> Object:
    """The quota with the cost added to what is used, or itself when nothing of that counts.

    Raises QuotaError when it does not fit.
    """
    status = quota.get("status") or {}
    hard, used = amounts(status.get("hard")), amounts(status.get("used"))
    asked = only(cost, hard)
    if not asked:
        return quota
    new = plus(used, asked)
    exceeded = {name for name in asked if new[name].amount > hard[name].amount}
    if exceeded:
        raise QuotaError(
            f"exceeded quota: {quota['metadata']['name']}, requested: {shown(only(asked, exceeded))}, "
            f"used: {shown(only(used, exceeded))}, limited: {shown(only(hard, exceeded))}"
        )
    return {**quota, "status": {**status, "used": texts(new)}}
