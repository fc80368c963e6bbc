"""What goes wrong with a disk. Most of these stop a node; none has a number on the wire, none is an answer."""

from __future__ import annotations

import errno

import lmdb

from kvraft.errors import KvraftError


class StorageError(KvraftError):
    """The data on disk cannot be used or written. The text names the file and the reason."""

    definite = False
    code = "Internal"
    text = "storage failed"


class FormatTooNew(StorageError):
    """A later version wrote this file."""


class InUse(StorageError):
    """Another process has these files open."""


class OutOfSpace(StorageError):
    """The device or the file's own limit is full."""


class SnapshotError(StorageError):
    """A snapshot stream is damaged, not for this cluster, or was cut off."""


class SnapshotClosed(StorageError):
    """The snapshot being read is gone: the state was replaced or closed."""


def storage_error(path: str, exception: Exception) -> StorageError:
    """``exception`` as a :class:`StorageError` that names the file; chain it with ``from exception``."""
    if isinstance(exception, StorageError):
        return exception
    if isinstance(exception, lmdb.MapFullError):
        return OutOfSpace(f"{path}: the file has reached its size limit")
    code = exception.errno if isinstance(exception, OSError) else getattr(exception, "code", 0)
    if code == errno.ENOSPC:
        return OutOfSpace(f"{path}: no space left on the device")
    return StorageError(f"{path}: {exception}")
