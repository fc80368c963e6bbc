"""Files that flags and configurations name: read whole, within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class FileError(ValueError):
    """A file cannot be used. The text is the reason alone: who asked for the file says which one it is."""


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """A whole file of at most so many bytes. Raises FileError."""
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        raise FileError(error.strerror or str(error)) from error
    if len(data) > max_bytes:
        raise FileError(f"larger than {max_bytes} bytes")
    return data
