"""A file that is written past the page cache (``O_DIRECT``; open(2)), in whole blocks, and durably in one call.

There is nothing to copy, and the kernel has nothing to look for in its cache when it makes that durable.
"""

from __future__ import annotations

import errno
import logging
import mmap
import os

from kvraft.logs import fields

log = logging.getLogger(__name__)

BLOCK_BYTES = 4096
"""Such a write begins at a multiple of this and has a multiple of it: blocks of disks and file systems divide it."""
ROOM_BYTES = (1 << 20) + (64 << 10)
"""The most that is written at once."""
_DIRECT = getattr(os, "O_DIRECT", 0)
_DURABLE = getattr(os, "RWF_DSYNC", 0)


class DirectFile:
    """The file under way; whoever has written to it, in this way or another, says so with :meth:`grew`."""

    __slots__ = ("_descriptor", "_path", "_tail", "_usable", "buffer")

    def __init__(self) -> None:
        self._tail = b""  # what the last block holds up to the end: it is written again with that block
        self._descriptor = -1
        self._path = ""
        self._usable = bool(_DIRECT and _DURABLE)
        self.buffer = mmap.mmap(-1, ROOM_BYTES)
        """What is to be written, at an address that such writes allow."""

    def load(self, descriptor: int, end: int) -> None:
        """Go on with a file that has ``end`` bytes. Raises ``OSError``."""
        size = end % BLOCK_BYTES
        self._tail = os.pread(descriptor, size, end - size)

    def attempt(self, path: str, end: int) -> None:
        """Find out, by writing the last block again, whether the file system allows it."""
        try:
            self._usable = self.write(path, b"", end)
        except OSError as error:
            self._usable = False
            log.info("the log goes through the page cache", extra=fields(path=path, error=str(error)))

    def fill(self, path: str, data: bytes, end: int) -> tuple[int, int, int] | None:
        """Have in ``buffer`` what makes ``data`` part of the file, up to ``end``: with what is there, and zeros behind.

        A descriptor for it, at which offset it belongs, and how many bytes it is. None: it has to be written otherwise.
        """
        tail = self._tail
        size = len(tail) + len(data)
        if not self._usable or size > ROOM_BYTES:
            return None
        if path != self._path:
            self.close()
            try:
                self._descriptor = os.open(path, os.O_WRONLY | _DIRECT | os.O_CLOEXEC)
            except OSError:  # the file system has nothing of the kind, or this process has no more descriptors
                return None
            self._path = path
        whole = -(-size // BLOCK_BYTES) * BLOCK_BYTES or BLOCK_BYTES
        buffer = self.buffer
        buffer[: len(tail)] = tail
        buffer[len(tail) : size] = data
        buffer[size:whole] = bytes(whole - size)
        return self._descriptor, end - size, whole

    def write(self, path: str, data: bytes, end: int) -> bool:
        """Write ``data`` to the file at ``path``, up to ``end``, durably. False: it has to be written otherwise.

        Raises ``OSError``.
        """
        place = self.fill(path, data, end)
        if place is None:
            return False
        descriptor, offset, size = place
        with memoryview(self.buffer) as view:
            check_whole(os.pwritev(descriptor, [view[:size]], offset, _DURABLE), size)
        return True

    def grew(self, data: bytes, end: int) -> None:
        """``data`` is part of the file now, which ends at ``end``."""
        size = end % BLOCK_BYTES
        self._tail = self._tail + data if size > len(data) else data[len(data) - size :]

    def close(self) -> None:
        """Until something is written again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._path = -1, ""


def check_whole(written: int, size: int) -> None:
    """Raises ``OSError`` if something is missing."""
    if written != size:
        raise OSError(errno.EIO, f"{written} of {size} bytes were written")
