"""A file that is written past the page cache now and then: whole blocks alone go that way (``O_DIRECT``; open(2))."""

from __future__ import annotations

import os

BLOCK_BYTES = 4096
"""Such a write begins at a multiple of this and has a multiple of it: blocks of disks and file systems divide it."""


class DirectFile:
    """The file under way. ``tail``: what its last block holds up to the end, which is written again with that block."""

    __slots__ = ("_descriptor", "_path", "tail")

    def __init__(self) -> None:
        self.tail = b""
        self._descriptor = -1
        self._path = ""

    def load(self, descriptor: int, end: int) -> None:
        """Go on with a file that has ``end`` bytes. Raises ``OSError``."""
        size = end % BLOCK_BYTES
        self.tail = os.pread(descriptor, size, end - size)

    def grew(self, data: bytes, end: int) -> None:
        """``data`` is what comes up to ``end`` now; if it is written in any other way, that is done."""
        size = end % BLOCK_BYTES
        self.tail = self.tail + data if size > len(data) else data[len(data) - size :]

    def open(self, path: str) -> int:
        """A descriptor of the file at ``path``; -1 where the system, or the file system, has nothing of the kind."""
        if path != self._path:
            self.close()
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
            except (OSError, AttributeError):
                return -1
            self._path = path
        return self._descriptor

    def close(self) -> None:
        """Until it is opened again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._path = -1, ""
