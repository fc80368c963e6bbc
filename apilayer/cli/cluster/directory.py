"""The data directory as a whole: where it is by default, who may run a cluster in it, how much room it has.

The lock is a POSIX record lock held by the supervisor for its whole life. The kernel releases it however the
supervisor ends, and tells anyone who asks the holder's pid without disturbing it. Such a lock is lost when its
process closes any descriptor of the file, so ``Lock`` alone opens it there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.cluster.failure import ClusterError, explained

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

MIN_FREE_BYTES = 32 * 1024 * 1024
"""Less than this free on the data directory's file system and the cluster does not start."""

_FLOCK = "hhqqi0q"  # struct flock on 64-bit Linux: type, whence, start, len, pid


def default_data_dir() -> Path:
    """``$XDG_DATA_HOME/apilayer``, which is ``~/.local/share/apilayer`` when the variable is not set."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "share") / "apilayer"


class Lock:
    """The right to run the cluster of one data directory, until ``release`` or the end of the process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock. Raises ``ClusterError`` naming the process that has it, ``OSError`` on a bad path."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _holder(descriptor)
            os.close(descriptor)
            directory = self._path.parent
            raise ClusterError(
                f"a cluster already runs in {directory} (pid {pid}); "
                f"stop it with `apilayer down --data-dir {directory}`"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_path(data_dir: Path) -> Path:
    return data_dir / "cluster.lock"


def holder(data_dir: Path) -> int | None:
    """The pid of the supervisor that runs a cluster in this directory, None when there is none."""
    try:
        descriptor = os.open(lock_path(data_dir), os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return _holder(descriptor)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> int | None:
    question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    answer = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    return None if answer[0] == fcntl.F_UNLCK else int(answer[4])


def check_space(data_dir: Path) -> None:
    """Raise ``ClusterError`` when the file system of the data directory is (nearly) full."""
    usage = os.statvfs(data_dir)
    free = usage.f_bavail * usage.f_frsize
    if free < MIN_FREE_BYTES:
        raise ClusterError(
            f"the disk of {data_dir} is full: {free // 1024} KiB free, at least {MIN_FREE_BYTES // 1024} KiB needed"
        )


class Tenure:
    """An opened data directory. It is removed at the end when ``remove`` is set by then."""

    def __init__(self, *, remove: bool) -> None:
        self.remove = remove


@contextlib.contextmanager
def opened(data_dir: Path, *, ephemeral: bool) -> Iterator[Tenure]:
    """Make the directory if need be and hold its lock.

    An ephemeral one is removed at the end; so is one that was made here, until the caller clears ``remove``: a start
    that fails early leaves nothing behind. Raises ``ClusterError`` when it cannot be used, when a cluster already
    runs there, or when an ephemeral one is not empty.
    """
    with explained("use the data directory", data_dir):
        fresh = not data_dir.exists()
        if ephemeral and not fresh and any(data_dir.iterdir()):
            raise ClusterError(f"--ephemeral removes its data directory at the end, but {data_dir} is not empty")
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = Lock(lock_path(data_dir))
        lock.acquire()
    tenure = Tenure(remove=fresh or ephemeral)
    try:
        yield tenure
    finally:
        if tenure.remove:
            with explained("remove", data_dir):
                shutil.rmtree(data_dir)
        lock.release()
