"""Durations as ``kubectl get`` shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from apilayer.api.table.age import human_duration, parse_time, since

M, H, D, Y = 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-2, "<invalid>"),
        (-1.9, "0s"),
        (-0.5, "0s"),
        (0, "0s"),
        (1.9, "1s"),
        (119, "119s"),
        (120, "2m"),
        (123, "2m3s"),
        (10 * M - 1, "9m59s"),
        (10 * M, "10m"),
        (3 * H - 1, "179m"),
        (3 * H, "3h"),
        (3 * H + 5 * M, "3h5m"),
        (8 * H - 1, "7h59m"),
        (8 * H, "8h"),
        (2 * D - 1, "47h"),
        (2 * D, "2d"),
        (5 * D + 3 * H, "5d3h"),
        (8 * D - 1, "7d23h"),
        (8 * D, "8d"),
        (2 * Y - 1, "729d"),
        (2 * Y, "2y"),
        (2 * Y + 5 * D, "2y5d"),
        (8 * Y - 1, "7y364d"),
        (8 * Y, "8y"),
        (100 * Y, "100y"),
    ],
)
def test_human_duration(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


def test_timestamps() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert since("2025-12-31T23:59:00Z", now) == "60s"
    assert since("2025-12-31T23:59:00.000000Z", now) == "60s"
    assert since("2026-01-01T01:59:50+02:00", now) == "10s"
    for absent in (None, "", 5, "yesterday"):
        assert since(absent, now) == "<unknown>"
    assert parse_time("2026-01-01T00:00:00") == now
    assert now - timedelta(0) == parse_time("2026-01-01T00:00:00Z")
