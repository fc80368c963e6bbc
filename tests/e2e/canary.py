"""A Secret that every cluster of these tests has, and the search for it in all that a cluster leaves behind."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

CANARY = "c4n4ry-0f-the-c0al-mine"
SEEN = "w0rm-0f-the-garden"
"""In a ConfigMap, which is not sealed: whoever does not find it does not look."""


def traces(canary: str) -> list[bytes]:
    """How a text may show: as it is, and in base64, wherever it stands in what was encoded."""
    found = [canary.encode()]
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + canary.encode()).rstrip(b"=")
        found.append(encoded[2 + shift : -2])  # what neighbours have no part in
    return found


def left_behind(folder: Path) -> dict[Path, bytes]:
    """Every file of a cluster that has ended: store, logs, audit, keys; kubectl's own are not among them."""
    files = [path for path in folder.rglob("*") if path.is_file() and "home" not in path.parts]
    return {path: path.read_bytes() for path in files}


def check_nothing_shows(content: dict[Path, bytes], canaries: Iterable[str] = (CANARY,)) -> None:
    """Fails when one of them is in a file, or when nobody has looked."""
    unwanted = [trace for canary in canaries for trace in traces(canary)]
    for path, data in content.items():
        found = [trace for trace in unwanted if trace in data]
        assert not found, f"{found} in {path}"
    assert any(path.suffix == ".mdb" and SEEN.encode() in data for path, data in content.items())
