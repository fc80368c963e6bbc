"""Events into a file that is put aside when it is full, or to standard output.

A regular file takes a line at once: the line goes to the system's memory, which costs less than a thread would. What
may take long, putting a file aside, compressing and removing old ones, happens in a thread while lines go on to the
file that is being put aside; so it may grow a little beyond its size.
"""

from __future__ import annotations

import gzip
import logging
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from apilayer.audit.delivery import WriteError
from apilayer.audit.rotation import COMPRESSED, Retention, backup_name, backups_of, due

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

log = logging.getLogger("apilayer.audit")


class LogFile:
    """`Writer` of a file."""

    name = "log"
    parallel = False

    def __init__(self, path: Path, max_bytes: int, kept: Retention) -> None:
        """Opens the file, which is made with mode 0600 (its directories with 0700). Raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._file = _opened(path)
        self._size = os.fstat(self._file).st_size
        self._full = trio.Event()
        self._writing = trio.Lock()

    def write_now(self, parts: Sequence[bytes]) -> bool:
        """See `Writer.write_now`."""
        _write(self._file, self._counted(parts))
        return True

    async def write(self, parts: Sequence[bytes]) -> None:
        """See `Writer.write`."""
        data = self._counted(parts)
        async with self._writing:
            await trio.to_thread.run_sync(_write, self._file, data)

    def _counted(self, parts: Sequence[bytes]) -> bytes:
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if len(data) > self._max_bytes:
            raise WriteError(f"write length {len(data)} exceeds maximum file size {self._max_bytes}")
        self._size += len(data)
        if self._size > self._max_bytes:
            self._full.set()
        return data

    async def run(self) -> None:
        """Puts the file aside whenever it is full."""
        await self._tidy()
        while True:
            await self._full.wait()
            self._full = trio.Event()
            self._size = 0  # when it cannot be put aside, the next attempt is as many bytes away
            try:
                following = await trio.to_thread.run_sync(self._put_aside)
            except OSError as error:
                log.error("the audit log %s cannot be put aside: %s", self._path, error.strerror)
                continue
            async with self._writing:
                former, self._file = self._file, following
                self._size = 0
                os.close(former)
            await self._tidy()

    async def aclose(self) -> None:
        """See `Writer.aclose`."""
        os.close(self._file)
        self._file = -1

    def _put_aside(self) -> int:
        """Renames the file; answers the one that follows. In a thread."""
        now = time.time()
        while (aside := self._path.with_name(backup_name(self._path.name, now))).exists():
            now += 0.001
        with suppress(FileNotFoundError):  # somebody else has put it aside
            self._path.rename(aside)
        return _opened(self._path)

    async def _tidy(self) -> None:
        try:
            await trio.to_thread.run_sync(tidy, self._path, self._kept)
        except OSError as error:
            log.error("former audit logs beside %s cannot be tidied: %s", self._path, error.strerror)


class Descriptor:
    """`Writer` of a descriptor that may make us wait, such as standard output: a pipe, a terminal."""

    name = "log"
    parallel = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._writing = trio.Lock()

    def write_now(self, parts: Sequence[bytes]) -> bool:
        """See `Writer.write_now`: never."""
        del parts
        return False

    async def write(self, parts: Sequence[bytes]) -> None:
        """See `Writer.write`."""
        async with self._writing:
            await trio.to_thread.run_sync(_write, self._descriptor, b"".join(parts), abandon_on_cancel=True)

    async def run(self) -> None:
        """See `Writer.run`."""

    async def aclose(self) -> None:
        """See `Writer.aclose`: it is not ours."""


def tidy(path: Path, kept: Retention) -> None:
    """Removes and compresses former logs as `kept` says. Raises OSError."""
    remove, compress = due(backups_of(path.name, os.listdir(path.parent)), kept, time.time())
    for name in remove:
        (path.parent / name).unlink(missing_ok=True)
    for name in compress:
        _compress(path.parent / name)


def _compress(path: Path) -> None:
    """Replaces a file by its compressed form, which appears under its name once it is whole."""
    whole = path.with_name(path.name + COMPRESSED)
    partial = whole.with_name(whole.name + ".tmp")
    with (
        path.open("rb") as source,
        open(os.open(partial, _NEW, 0o600), "wb") as target,
        gzip.GzipFile(fileobj=target, mode="wb") as packed,
    ):
        shutil.copyfileobj(source, packed)
    partial.rename(whole)
    path.unlink()


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def _write(descriptor: int, data: bytes) -> None:
    """All of it, or (in a file) none. Raises WriteError."""
    written = 0
    try:
        while written < len(data):
            written += os.write(descriptor, data[written:] if written else data)
    except OSError as error:
        if written:
            with suppress(OSError):  # a pipe takes nothing back
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise WriteError(error.strerror or str(error)) from error
