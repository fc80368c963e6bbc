"""The reference page of plugins says what there is."""

from __future__ import annotations

import re
from pathlib import Path

from apilayer.admission.choice import DEFAULT_ON, ORDER

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "admission.md").read_text(encoding="utf-8")


def test_the_page_lists_every_plugin_in_its_order() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (on|off) \|", PAGE, re.MULTILINE)
    assert rows == [(name, "on" if name in DEFAULT_ON else "off") for name, kind in ORDER.items() if kind is not None]


def test_the_page_says_which_plugins_are_missing() -> None:
    missing = PAGE.partition("Not part of this server:")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", missing)) == {name for name, kind in ORDER.items() if kind is None}
