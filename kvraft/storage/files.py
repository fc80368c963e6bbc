"""Opening LMDB files: locks against a second process, format versions, directory syncs, errors in plain words."""

from __future__ import annotations

import fcntl
import os

import lmdb
import msgspec

from kvraft.storage.errors import FormatTooNew, InUse, StorageError, storage_error

FORMAT_KEY = b"format"


def sync_directory(path: str) -> None:
    """Make the names in directory ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: str | os.PathLike[str]) -> str:
    """The absolute form of directory ``path``, which is made, durably, where it is missing."""
    absolute = os.path.abspath(path)
    try:
        if not os.path.isdir(absolute):
            os.makedirs(absolute, mode=0o700)
            sync_directory(os.path.dirname(absolute))
    except OSError as error:
        raise storage_error(absolute, error) from error
    return absolute


def lock_file(path: str) -> int:
    """Lock ``path`` for this process until the returned descriptor is closed. Raises :class:`InUse`."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InUse(f"{path}: in use by another process") from error
    return descriptor


def open_environment(path: str, *, map_bytes: int, sync: bool, metasync: bool, max_dbs: int) -> lmdb.Environment:
    """Open or create the LMDB file ``path``; a new name is durable on return. Raises :class:`StorageError`.

    ``map_bytes`` is address space and the file's limit, not its size: the file is sparse and grows as it is used.
    """
    created = not os.path.exists(path)
    try:
        environment = lmdb.open(
            path,
            map_size=map_bytes,
            subdir=False,
            sync=sync,
            metasync=metasync,
            max_dbs=max_dbs,
            max_spare_txns=4,
            mode=0o600,
        )
        if created and sync:
            sync_directory(os.path.dirname(path))
    except (lmdb.Error, OSError) as error:
        raise storage_error(path, error) from error
    return environment


def check_format(path: str, raw: bytes | None, supported: int) -> None:
    """Raise unless ``raw``, the stored format version (None: a new file), is one that this code reads."""
    if raw is None:
        return
    try:
        version = msgspec.msgpack.decode(raw, type=int)
    except msgspec.MsgspecError as error:
        raise StorageError(f"{path}: its format version is unreadable") from error
    if version > supported:
        raise FormatTooNew(f"{path}: format {version} was written by a later version; this one reads up to {supported}")
