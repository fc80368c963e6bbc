"""Values as Go prints them."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.api.patch.gotext import go_value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "<nil>"),
        (True, "true"),
        (3, "3"),
        (1.5, "1.5"),
        (2.0, "2"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-07"),
        (0.0001, "0.0001"),
        (0.0, "0"),
        ("a b", "a b"),
        ([1, "x", None], "[1 x <nil>]"),
        ({"b": [], "a": {"c": False}}, "map[a:map[c:false] b:[]]"),
    ],
)
def test_go_value(value: Any, text: str) -> None:
    assert go_value(value) == text
