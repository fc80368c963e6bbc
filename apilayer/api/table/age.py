"""Durations and timestamps as ``kubectl get`` shows them: ``45s``, ``2m3s``, ``5d3h``, ``<unknown>``."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = "<unknown>"
INVALID = "<invalid>"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def _two_units(total: int, big: int, big_unit: str, small: int, small_unit: str) -> str:
    rest = total % big // small
    return f"{total // big}{big_unit}{rest}{small_unit}" if rest else f"{total // big}{big_unit}"


def human_duration(seconds: float) -> str:
    """`seconds` with one or two units, the fewer the longer it is; source: apimachinery's HumanDuration.

    Up to a second in the future counts as now (clocks differ); further ahead is ``<invalid>``.
    """
    whole = int(seconds)
    if whole < -1:
        return INVALID
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    if whole < 10 * _MINUTE:
        return _two_units(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two_units(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two_units(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    if whole < 8 * _YEAR:
        return _two_units(whole, _YEAR, "y", _DAY, "d")
    return f"{whole // _YEAR}y"


def parse_time(text: object) -> datetime | None:
    """The instant that an RFC 3339 timestamp of the API names, or None for anything else."""
    if not isinstance(text, str) or not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)


def since(text: object, now: datetime) -> str:
    """How long ago the timestamp is; ``<unknown>`` when there is none."""
    instant = parse_time(text)
    return UNKNOWN if instant is None else human_duration((now - instant).total_seconds())
