"""The log of the first format, one LMDB file: to be read once and taken over into files of today's."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import lmdb
import msgspec

from kvraft.raft.messages import Entry
from kvraft.storage.errors import storage_error
from kvraft.storage.files import FORMAT_KEY, check_format, open_environment, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FORMAT = 1
NAME = "log.mdb"
MAP_BYTES = 64 << 30
PART_ENTRIES = 1000


def exists(directory: str) -> bool:
    """Whether there is such a log. Until it is removed, it is the truth."""
    return os.path.exists(os.path.join(directory, NAME))


@contextlib.contextmanager
def opened(directory: str) -> Iterator[tuple[bytes | None, Iterator[Sequence[Entry]]]]:
    """Its encoded meta data (None: nobody has used it) and its entries, in parts. Raises :class:`StorageError`."""
    path = os.path.join(directory, NAME)
    environment = open_environment(path, map_bytes=MAP_BYTES, sync=True, metasync=True, max_dbs=2)
    try:
        entries, meta = environment.open_db(b"entries"), environment.open_db(b"meta")
        with environment.begin() as txn:
            check_format(path, txn.get(FORMAT_KEY, db=meta), FORMAT)
            yield txn.get(b"meta", db=meta), _parts(txn.cursor(entries))
    except (lmdb.Error, msgspec.MsgspecError) as error:
        raise storage_error(path, error) from error
    finally:
        environment.close()


def _parts(cursor: lmdb.Cursor) -> Iterator[Sequence[Entry]]:
    decode = msgspec.msgpack.Decoder(Entry).decode
    part: list[Entry] = []
    for raw in cursor.iternext(keys=False, values=True):
        part.append(decode(raw))
        if len(part) == PART_ENTRIES:
            yield part
            part = []
    if part:
        yield part


def remove(directory: str) -> None:
    """Forget it. Raises ``OSError``."""
    for name in (NAME + "-lock", NAME + ".owner", NAME):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, name))
    sync_directory(directory)
