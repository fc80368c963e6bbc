"""Durations as Go writes them: ``300ms``, ``1h30m``, ``2.5s``. etcd's flags and logs have them, so ours do."""

from __future__ import annotations

import re

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
MAX_NANOSECONDS = (1 << 63) - 1


def parse_duration(text: str) -> float:
    """Seconds. Raises ``ValueError`` for what Go's ``time.ParseDuration`` refuses."""
    unsigned = text[1:] if text[:1] in ("+", "-") else text
    sign = -1 if text.startswith("-") else 1
    if unsigned == "0":
        return 0.0
    parts = _PART.findall(unsigned)
    if not parts or "".join(number + unit for number, unit in parts) != unsigned:
        raise ValueError(f'invalid duration "{text}"')
    nanoseconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if nanoseconds > MAX_NANOSECONDS:
        raise ValueError(f'invalid duration "{text}"')
    return sign * nanoseconds / 1e9


def format_duration(seconds: float) -> str:
    """As Go's ``Duration.String``: the largest unit below one second, else hours, minutes and seconds."""
    nanoseconds = round(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 and nanoseconds else ""
    if nanoseconds == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < 1000 * size:
            return f"{sign}{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, _UNITS["m"])
    text = f"{_decimal(rest, _UNITS['s'])}s"
    if minutes:
        hours, minutes = divmod(minutes, 60)
        text = f"{hours}h{minutes}m{text}" if hours else f"{minutes}m{text}"
    return sign + text


def _decimal(number: int, size: int) -> str:
    """``number / size`` without rounding and without trailing zeros."""
    whole, rest = divmod(number, size)
    if not rest:
        return str(whole)
    digits = len(str(size)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
