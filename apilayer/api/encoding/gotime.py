"""Times as Kubernetes reads and writes them: RFC 3339 in UTC, whole seconds (Time) or microseconds (MicroTime).

Errors carry the text of Go's ``time.Parse``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from apilayer.api.gotext import quote

RFC3339 = "2006-01-02T15:04:05Z07:00"
RFC3339_MICRO = "2006-01-02T15:04:05.000000Z07:00"
_ELEMENTS = ("2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05")
_DIGITS = {"2006": 4, "01": 2, "02": 2, "15": 2, "04": 2, "05": 2}
_UTC_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_FULL = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:Z|([+-])(\d\d):(\d\d))", re.ASCII)
_RANGES = (("month", 1, 1, 12), ("hour", 3, 0, 23), ("minute", 4, 0, 59), ("second", 5, 0, 59))
_ZERO = datetime(1, 1, 1, tzinfo=UTC)


class TimeError(ValueError):
    """The text is no time; the message is that of Go's ``time.Parse``."""


def canonical_time(text: str) -> str | None:
    """`text` in UTC with whole seconds; None for Go's zero time, TimeError when it is no RFC 3339 time."""
    if _UTC_SECONDS.fullmatch(text):
        try:
            datetime.fromisoformat(text[:-1])
        except ValueError:
            pass  # a field out of range: the full parse names it
        else:
            return None if text == "0001-01-01T00:00:00Z" else text
    moment = _parse(text, RFC3339)
    return None if moment == _ZERO else moment.strftime("%Y-%m-%dT%H:%M:%SZ").rjust(20, "0")


def canonical_micro_time(text: str) -> str | None:
    """`text` in UTC with six digits of fraction, which it must have; None for the zero time."""
    moment = _parse(text, RFC3339_MICRO)
    return None if moment == _ZERO else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def from_unix(seconds: int, nanos: int, *, micro: bool) -> str | None:
    """The time `seconds` and `nanos` after 1970 (UTC) in JSON form; TimeError when out of range."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError as error:
        raise TimeError(f"time {seconds} is out of range") from error
    if moment == _ZERO:
        return None
    form = "%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ"
    return moment.strftime(form).rjust(27 if micro else 20, "0")


def _parse(text: str, layout: str) -> datetime:
    micro = layout == RFC3339_MICRO
    match = _FULL.fullmatch(text)
    if match is None or (micro and len(match[7] or "") != 6):
        raise TimeError(_describe(text, layout, micro=micro))
    parts = [int(part) for part in match.groups()[:6]]
    for name, index, low, high in _RANGES:
        if not low <= parts[index] <= high:
            raise TimeError(f"parsing time {quote(text)}: {name} out of range")
    fraction = int(f"{match[7] or '':0<6}"[:6])
    try:
        moment = datetime(*parts, fraction, tzinfo=UTC)  # type: ignore[misc,arg-type]
    except ValueError as error:
        raise TimeError(f"parsing time {quote(text)}: day out of range") from error
    if match[8]:
        offset = timedelta(hours=int(match[9]), minutes=int(match[10]))
        try:
            moment = moment - offset if match[8] == "+" else moment + offset
        except OverflowError as error:
            raise TimeError(f"parsing time {quote(text)}: year out of range") from error
    return moment


def _describe(text: str, layout: str, *, micro: bool) -> str:
    """Name the first element of `layout` at which `text` stops matching, as Go does."""
    head = f"parsing time {quote(text)} as {quote(layout)}: cannot parse"
    rest = text
    for element in _ELEMENTS:
        width = _DIGITS.get(element, 1)
        part = rest[:width]
        matches = part == element if width == 1 else len(part) == width and part.isascii() and part.isdigit()
        if not matches:
            return f"{head} {quote(rest)} as {quote(element)}"
        rest = rest[width:]
    fraction = re.match(r"\.\d{6}(?!\d)" if micro else r"(?:\.\d+)?", rest, re.ASCII)
    if fraction is None:
        return f'{head} {quote(rest)} as ".000000"'
    rest = rest[fraction.end() :]
    zone = re.match(r"Z|[+-]\d\d:\d\d", rest, re.ASCII)
    if zone is None:
        return f'{head} {quote(rest)} as "Z07:00"'
    return f"parsing time {quote(text)}: extra text: {quote(rest[zone.end() :])}"
