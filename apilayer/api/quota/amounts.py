"""Amounts by resource name, and what is computed with them. Pure.

Source: Kubernetes' ``ResourceList`` and its rules for the family that a sum is written with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.quantity import ZERO, Quantity, QuantityError, parse

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Amounts = dict[str, Quantity]


def amounts(texts: Mapping[str, Any] | None) -> Amounts:
    """The amounts that an object writes; unreadable ones, which validation refuses, are left out."""
    found: Amounts = {}
    for name, text in (texts or {}).items():
        try:
            found[name] = parse(str(text))
        except QuantityError:
            continue
    return found


def texts(of: Amounts) -> dict[str, str]:
    """The amounts as objects write them, by name."""
    return {name: str(of[name]) for name in sorted(of)}


def count(number: int) -> Quantity:
    """A plain number."""
    return Quantity(ZERO.amount + number, "decimal")


def plus(one: Amounts, other: Amounts) -> Amounts:
    """The sum of both, by name. A sum is written like its first part, unless that is nothing."""
    result = dict(one)
    for name, amount in other.items():
        present = result.get(name)
        result[name] = amount if present is None else _sum(present, amount)
    return result


def _sum(one: Quantity, other: Quantity) -> Quantity:
    return Quantity(one.amount + other.amount, one.family if one.amount else other.family)


def above(one: Amounts, other: Amounts) -> Amounts:
    """By how much `one` is more than `other`: names that are not more are left out."""
    result: Amounts = {}
    for name, amount in one.items():
        rest = amount.amount - other.get(name, ZERO).amount
        if rest > 0:
            result[name] = Quantity(rest, amount.family)
    return result


def largest(one: Amounts, other: Amounts) -> Amounts:
    """The larger amount of both, by name."""
    result = dict(one)
    for name, amount in other.items():
        if name not in result or amount.amount > result[name].amount:
            result[name] = amount
    return result


def only(of: Amounts, names: Collection[str]) -> Amounts:
    """The amounts of these names."""
    return {name: amount for name, amount in of.items() if name in names}


def same(one: Amounts, other: Amounts) -> bool:
    """Whether both say the same, however it is written."""
    return one.keys() == other.keys() and all(amount.amount == other[name].amount for name, amount in one.items())


def shown(of: Amounts) -> str:
    """As messages show amounts: ``cpu=1,pods=2``."""
    return ",".join(f"{name}={text}" for name, text in texts(of).items())
