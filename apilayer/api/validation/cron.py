"""Schedules of CronJobs: five fields, or a descriptor such as "@daily", judged with the messages clients know.

Source: the documentation of Go's robfig/cron, ``ParseStandard``.
"""

from __future__ import annotations

import re

_DESCRIPTORS = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_NUMBERS = {name: number for number, name in enumerate(_MONTHS, start=1)}
_DAY_NUMBERS = {name: number for number, name in enumerate(_DAYS)}
# Minute, hour, day of the month, month, day of the week: least, greatest, and numbers that have names.
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, _MONTH_NUMBERS),
    (0, 6, _DAY_NUMBERS),
)
_UNIT = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h)"
_DURATION = re.compile(rf"[+-]?(?:{_UNIT})+|[+-]?0")
_ZONE = re.compile(r"(?:CRON_TZ|TZ)=\S* ")


class _WrongScheduleError(ValueError):
    pass


def schedule_errors(schedule: str) -> list[str]:
    """What is wrong with a schedule."""
    try:
        _parse(schedule)
    except _WrongScheduleError as error:
        return [str(error)]
    return []


def _parse(schedule: str) -> None:
    if not schedule:
        raise _WrongScheduleError("empty spec string")
    zone = _ZONE.match(schedule)
    rest = schedule[zone.end() :].strip() if zone else schedule
    if rest.startswith("@"):
        _parse_descriptor(rest)
        return
    fields = rest.split()
    if len(fields) != len(_FIELDS):
        shown = " ".join(fields)
        raise _WrongScheduleError(f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: [{shown}]")
    for text, (low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in text.split(","):
            if part:
                _parse_range(part, low, high, names)


def _parse_descriptor(text: str) -> None:
    if text in _DESCRIPTORS:
        return
    every, space, duration = text.partition(" ")
    if every != "@every" or not space:
        raise _WrongScheduleError(f"unrecognized descriptor: {text}")
    if not _DURATION.fullmatch(duration):
        raise _WrongScheduleError(f'failed to parse duration {text}: time: invalid duration "{duration}"')


def _parse_range(text: str, low: int, high: int, names: dict[str, int]) -> None:
    span, *steps = text.split("/")
    ends = span.split("-")
    if len(ends) > 2:
        raise _WrongScheduleError(f"too many hyphens: {text}")
    if ends[0] in ("*", "?"):
        start, end = low, high
    else:
        start = _number(ends[0], names)
        end = _number(ends[1], names) if len(ends) == 2 else start
    if len(steps) > 1:
        raise _WrongScheduleError(f"too many slashes: {text}")
    step = 1
    if steps:
        step = _number(steps[0], {})
        end = high if len(ends) == 1 else end
    if start < low:
        raise _WrongScheduleError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise _WrongScheduleError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise _WrongScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise _WrongScheduleError(f"step of range should be a positive number: {text}")


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise _WrongScheduleError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    number = int(text)
    if number < 0:
        raise _WrongScheduleError(f"negative number ({number}) not allowed: {text}")
    return number
