"""How long a request may take: the server's bound, or less when the client says so with ``?timeout=``. Pure."""

from __future__ import annotations

import re

from apilayer.api import status
from apilayer.api.gotext import quote

MUTATION_SECONDS = 34.0
"""Writes are given up earlier than the server's bound, so that their answer still gets through."""

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
READS = frozenset({"GET", "HEAD", "OPTIONS"})


def parse_duration(text: str) -> float:
    """Seconds of a Go duration such as ``1m30s``. Raises ValueError with Go's text."""
    if text == "0":
        return 0.0
    seconds, position = 0.0, 0
    while position < len(text):
        part = _PART.match(text, position)
        if part is None:
            break
        seconds += float(part[1]) * _UNITS[part[2]]
        position = part.end()
    if not text or position < len(text):
        raise ValueError(f"time: invalid duration {quote(text)}")
    return seconds


def asked_timeout(values: list[str] | None) -> float:
    """What ``?timeout=`` asks for in seconds, 0 when it asks for nothing. Raises StatusError 400."""
    if not values or not values[0]:
        return 0.0
    try:
        return parse_duration(values[0])
    except ValueError as error:
        raise status.bad_request(f"invalid timeout specified in the request URL - {error}") from error


def time_limit(method: str, asked: float, bound: float) -> float:
    """The seconds that a request may take."""
    if method not in READS:
        bound = min(bound, MUTATION_SECONDS)
    return min(asked, bound) if asked else bound
