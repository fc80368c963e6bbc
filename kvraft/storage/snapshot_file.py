"""Snapshots in files: what ``kvraft snapshot save`` and etcd's clients write, and a copy of a state's own file.

The first are the stream of ``snapshot``. etcd's clients have zeros behind it, up to a multiple of 512 bytes, and the
SHA-256 of all that, as it is sent to them. The last has no checksum, and is only read when none is asked for. The first
may be sealed: see ``sealed_file``.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import msgspec

from kvraft.storage.errors import SnapshotError, storage_error
from kvraft.storage.files import open_environment
from kvraft.storage.sealed_file import SealedReader, is_sealed
from kvraft.storage.snapshot import END, HEADER, LENGTH_BYTES, MAX_FRAME_BYTES, SnapshotReader
from kvraft.storage.tables import MAX_TABLES, STREAM_FORMAT, TABLES, Databases, StateMeta

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

SHA256_BYTES = 32
PADDED_TO = 512
LMDB_MAGIC = (0xBEEFC0DE).to_bytes(4, "little")
LMDB_MAGIC_AT = 16
COPY_MAP_BYTES = 1 << 40

_decode = msgspec.msgpack.Decoder(list).decode


class Description(msgspec.Struct, frozen=True):
    """What a snapshot holds. ``total_keys`` counts as etcd does: every revision of a key that is kept."""

    hash: int
    """The first 32 bits of the checksum."""
    revision: int
    compacted_revision: int
    total_keys: int
    total_bytes: int
    cluster_id: int
    applied_index: int


def frames(path: str, *, verify: bool = True, key: bytes | None = None) -> Iterator[bytes]:
    """The frames of the snapshot in ``path``, to be given to a :class:`~kvraft.storage.snapshot.SnapshotWriter`.

    Raises :class:`SnapshotError` when it is damaged, :class:`~kvraft.storage.errors.StorageError` when it cannot be
    read. ``verify=False`` takes a wrong checksum, and a copy of a state's file, which has none. ``key`` opens a sealed
    file, and only such a one.
    """
    try:
        with open(path, "rb") as file:
            start = file.read(LMDB_MAGIC_AT + len(LMDB_MAGIC))
            file.seek(0)
            if is_sealed(start) or key is not None:
                yield from _frames_of_stream(path, _opened(path, file, start, key), verify)
                return
            if start[LMDB_MAGIC_AT:] != LMDB_MAGIC:
                yield from _frames_of_stream(path, file, verify)
                return
    except OSError as error:
        raise storage_error(path, error) from error
    if verify:
        raise SnapshotError(f"{path}: snapshot missing hash but --skip-hash-check=false")
    yield from _frames_of_copy(path)


def _opened(path: str, file: BinaryIO, start: bytes, key: bytes | None) -> BinaryIO:
    if key is None:
        raise SnapshotError(f"{path}: the snapshot is encrypted: its key is needed (--key-file)")
    if not is_sealed(start):
        raise SnapshotError(f"{path}: the snapshot is not encrypted: leave out --key-file")
    return io.BufferedReader(SealedReader(path, file, key))


def _frames_of_stream(path: str, file: BinaryIO, verify: bool) -> Iterator[bytes]:
    whole, stream = hashlib.sha256(), hashlib.sha256()
    while True:
        head = file.read(LENGTH_BYTES)
        length = int.from_bytes(head)
        if len(head) < LENGTH_BYTES or length > MAX_FRAME_BYTES:
            raise SnapshotError(f"{path}: damaged snapshot: {'a frame is too long' if head else 'it was cut off'}")
        body = file.read(length)
        if len(body) < length:
            raise SnapshotError(f"{path}: damaged snapshot: it was cut off")
        whole.update(head + body)
        number = _number(path, body)
        if number != END:
            stream.update(head + body)
        elif verify and _decode(body)[1:] != [stream.digest()]:
            raise SnapshotError(f"{path}: damaged snapshot: the checksum does not match")
        yield head + body
        if number == END:
            break
    padding = bytes(-file.tell() % PADDED_TO)
    rest = file.read(PADDED_TO + SHA256_BYTES)
    whole.update(padding)
    if rest and (verify or len(rest) != len(padding) + SHA256_BYTES) and rest != padding + whole.digest():
        raise SnapshotError(f"{path}: expected sha256 {whole.hexdigest()}, got {rest[-SHA256_BYTES:].hex()}")


def _number(path: str, body: bytes) -> int:
    """Which kind of frame it is: the first element, which is all that is decoded of it."""
    if len(body) > 1 and body[0] & 0xF0 == 0x90:
        if body[1] < 0x80:
            return body[1]
        if body[1] == 0xCC and len(body) > 2:
            return body[2]
    raise SnapshotError(f"{path}: damaged snapshot: it does not consist of frames")


def _frames_of_copy(path: str) -> Iterator[bytes]:
    """The state in an LMDB file, which is not touched: only a copy can be opened without a lock beside it."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(path)), prefix=".snapshot-") as directory:
        copy = os.path.join(directory, "state.mdb")
        try:
            shutil.copyfile(path, copy)
        except OSError as error:
            raise storage_error(path, error) from error
        environment = open_environment(copy, map_bytes=COPY_MAP_BYTES, sync=False, metasync=False, max_dbs=MAX_TABLES)
        try:
            databases = Databases(environment)
            reader = SnapshotReader(path, environment.begin(), databases)
            try:
                yield from reader.frames()
            finally:
                reader.close()
        finally:
            environment.close()


def describe(path: str, *, verify: bool = True, key: bytes | None = None) -> Description:
    """Read all of the snapshot in ``path``; raises as :func:`frames` does."""
    state: StateMeta | None = None
    total_keys = 0
    digest = b""
    try:
        for frame in frames(path, verify=verify, key=key):
            number, *rest = _decode(frame[LENGTH_BYTES:])
            if number == HEADER:
                if rest[0] > STREAM_FORMAT:
                    raise SnapshotError(
                        f"{path}: format {rest[0]} was written by a later version, not up to {STREAM_FORMAT}"
                    )
                state = msgspec.convert(rest[1], StateMeta)
            elif number == END:
                digest = rest[0]
            elif TABLES[number - 1] == b"rev":
                total_keys += len(rest[0]) // 2
    except (msgspec.MsgspecError, IndexError, TypeError) as error:
        raise SnapshotError(f"{path}: damaged snapshot: a frame is not what it should be") from error
    if state is None:
        raise SnapshotError(f"{path}: damaged snapshot: it has no header")
    return Description(
        int.from_bytes(digest[:4]),
        state.revision,
        state.compacted_revision,
        total_keys,
        os.path.getsize(path),
        state.cluster_id,
        state.applied_index,
    )
