"""Time limits."""

from __future__ import annotations

import pytest

from apilayer.api.status import StatusError
from apilayer.pipeline.deadline import asked_timeout, parse_duration, time_limit


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("1s", 1), ("1m30s", 90), ("250ms", 0.25), ("1.5h", 5400), (".5s", 0.5), ("1us", 1e-6)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1s ", "-1s", "1s2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="time: invalid duration"):
        parse_duration(text)


def test_asked_timeouts() -> None:
    assert asked_timeout(None) == asked_timeout([""]) == 0
    assert asked_timeout(["10s"]) == 10
    with pytest.raises(StatusError) as caught:
        asked_timeout(["x"])
    assert caught.value.code == 400
    expected = 'invalid timeout specified in the request URL - time: invalid duration "x"'
    assert str(caught.value) == expected


def test_the_server_bounds_what_is_asked() -> None:
    assert time_limit("GET", 0, 60) == 60
    assert time_limit("GET", 10, 60) == 10
    assert time_limit("GET", 100, 60) == 60
    assert time_limit("POST", 0, 60) == 34
    assert time_limit("POST", 5, 60) == 5
