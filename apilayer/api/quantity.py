"""Quantities of resources ("100m", "1Gi", "2e3"): parse, compare and canonical form.

Source: Kubernetes' ``resource.Quantity``. A value is exact; it is rounded up to nano units and capped at
2**63 - 1. The canonical form has no fraction where a smaller suffix can avoid it and keeps the family of
the suffix it was written with (binary, decimal, or decimal exponent).
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction

import attrs

FORMAT_ERROR = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX_ERROR = "unable to parse quantity's suffix"

MAX_LENGTH = 256  # characters; far above any canonical form
_MAX_EXPONENT = 1000  # beyond this the value is capped or rounds to one nano unit anyway

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_NUMBER = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(.*)", re.DOTALL)
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)")
_NANO = Fraction(1, 10**9)
_MAX = 2**63 - 1


class QuantityError(ValueError):
    """The text is no quantity; the message is Kubernetes' own."""


@attrs.frozen(order=False)
class Quantity:
    """An exact amount and the suffix family it is written with: "binary", "decimal" or "exponent"."""

    amount: Fraction
    family: str

    @property
    def value(self) -> int:
        """The amount rounded up (away from zero) to a whole number."""
        return _round_up(self.amount)

    @property
    def milli_value(self) -> int:
        """The amount in thousandths, rounded up (away from zero)."""
        return _round_up(self.amount * 1000)

    def __str__(self) -> str:
        return _canonical(self.amount, self.family)


ZERO = Quantity(Fraction(0), "decimal")


def _round_up(amount: Fraction) -> int:
    whole = -(-abs(amount.numerator) // amount.denominator)
    return whole if amount >= 0 else -whole


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Quantity:
    """The quantity that `text` writes; QuantityError with Kubernetes' message when it is none."""
    match = _NUMBER.fullmatch(text) if len(text) <= MAX_LENGTH else None
    if match is None:
        raise QuantityError(FORMAT_ERROR)
    sign, whole, fraction, bare_fraction, suffix = match.groups()
    digits = (whole or "") + (fraction or bare_fraction or "")
    places = len(fraction or bare_fraction or "")
    scale, family = _suffix(suffix)
    amount = Fraction(int(digits), 10**places) * scale
    nano = -(-amount.numerator * 10**9 // amount.denominator)  # rounded up, as the sign is still apart
    amount = min(Fraction(nano, 10**9), Fraction(_MAX))
    if family == "binary" and amount < 1:
        family = "decimal"
    return Quantity(-amount if sign == "-" else amount, family)


def _suffix(suffix: str) -> tuple[Fraction, str]:
    if suffix in _DECIMAL:
        return Fraction(10) ** _DECIMAL[suffix], "decimal"
    if suffix in _BINARY:
        return Fraction(1024) ** _BINARY[suffix], "binary"
    exponent = _EXPONENT.fullmatch(suffix)
    if exponent is not None:
        value = max(-_MAX_EXPONENT, min(_MAX_EXPONENT, int(exponent.group(1))))
        return Fraction(10) ** value, "exponent"
    if re.fullmatch(r"[eEinumkKMGTP]*[-+]?[0-9]*", suffix):
        raise QuantityError(SUFFIX_ERROR)
    raise QuantityError(FORMAT_ERROR)


def _canonical(amount: Fraction, family: str) -> str:
    if amount == 0:
        return "0"
    if family == "binary" and amount.denominator == 1:
        number, power = amount.numerator, 0
        while power < 6 and number % 1024 == 0:
            number, power = number // 1024, power + 1
        suffix = next((name for name, exponent in _BINARY.items() if exponent == power), "")
        return f"{number}{suffix}"
    # Binary amounts with a fraction are written in decimal, as "1500m".
    scaled, exponent = amount, 0
    while scaled.denominator != 1:
        scaled, exponent = scaled * 1000, exponent - 3
    number = scaled.numerator
    while number % 1000 == 0 and exponent < 18:
        number, exponent = number // 1000, exponent + 3
    if family == "exponent":
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_DECIMAL_SUFFIX[exponent]}"


@functools.lru_cache(maxsize=4096)
def canonical(text: str) -> str:
    """`text` in canonical form ("1000m" -> "1", "1024Mi" -> "1Gi"); QuantityError when it is no quantity."""
    return str(parse(text))
