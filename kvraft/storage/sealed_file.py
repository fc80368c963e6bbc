"""Files that only who has the key can read: written and read as streams, in pieces that are each authenticated.

A head of the format's name, a salt and a check of the key; then pieces under AES-256-GCM with a key of the file's own
(HKDF-SHA256 of the key and the salt). A piece's nonce is its number and whether it is the last one: pieces that were
changed, moved, left out or cut off are noticed, whatever was read before is as it was written.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import io
import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kvraft.storage.errors import SnapshotError, storage_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

MAGIC = b"kvraft sealed 1\n"
KEY_BYTES = 32
SALT_BYTES = 32
CHECK_BYTES = 16
TAG_BYTES = 16
PIECE_BYTES = 64 * 1024
COUNTER_BYTES = 11
_MAX_KEY_FILE_BYTES = 4096
_PURPOSE = b"kvraft snapshot"


def read_key(path: str) -> bytes:
    """The key in a file: 32 bytes, as they are or in base64. Raises SnapshotError, StorageError; neither shows it."""
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise storage_error(path, error) from error
    if len(data) == KEY_BYTES:
        return data
    try:
        key = base64.b64decode(data.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise SnapshotError(f"{path}: not a key: it must hold {KEY_BYTES} bytes, as they are or in base64")
    return key


def is_sealed(start: bytes) -> bool:
    """Whether a file that starts like this is one of these."""
    return start.startswith(MAGIC)


def _cipher(key: bytes, salt: bytes) -> tuple[AESGCM, bytes]:
    """The file's cipher, and what shows that the key is the right one."""
    made = HKDF(hashes.SHA256(), KEY_BYTES + CHECK_BYTES, salt, _PURPOSE).derive(key)
    return AESGCM(made[:KEY_BYTES]), made[KEY_BYTES:]


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(COUNTER_BYTES) + bytes((last,))


class SealedWriter:
    """Takes the content in parts; `finish` writes the last piece, without which the file is not whole."""

    def __init__(self, write: Callable[[bytes], None], key: bytes) -> None:
        """`write` takes everything that it is given."""
        salt = os.urandom(SALT_BYTES)
        self._cipher, check = _cipher(key, salt)
        self._write = write
        self._number = 0
        self._held = bytearray()
        write(MAGIC + salt + check)

    def write(self, data: bytes) -> None:
        """More of the content."""
        self._held += data
        while len(self._held) > PIECE_BYTES:  # the last piece must not be found to be the last too late
            self._seal(bytes(self._held[:PIECE_BYTES]), last=False)
            del self._held[:PIECE_BYTES]

    def finish(self) -> None:
        """That was all."""
        self._seal(bytes(self._held), last=True)
        self._held.clear()

    def _seal(self, piece: bytes, *, last: bool) -> None:
        self._write(self._cipher.encrypt(_nonce(self._number, last=last), piece, None))
        self._number += 1


class SealedReader(io.RawIOBase):
    """The content of a sealed file, from its start; to be wrapped in ``io.BufferedReader``.

    Raises SnapshotError for a wrong key when it is made, for damage when it gets there.
    """

    def __init__(self, path: str, file: BinaryIO, key: bytes) -> None:
        """`file` is behind nothing yet; it stays its owner's to close."""
        super().__init__()
        self._path = path
        self._file = file
        head = file.read(len(MAGIC) + SALT_BYTES + CHECK_BYTES)
        salt = head[len(MAGIC) : len(MAGIC) + SALT_BYTES]
        self._cipher, check = _cipher(key, salt)
        if not hmac.compare_digest(check, head[len(MAGIC) + SALT_BYTES :]):
            raise SnapshotError(f"{path}: the key does not fit: it was encrypted with another one, or is damaged")
        self._start = file.tell()
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(self._start)
        self._next = self._file.read(PIECE_BYTES + TAG_BYTES)
        self._number = self._position = 0
        self._plain = memoryview(b"")
        self._over = False

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """To the start, and nowhere else."""
        return True

    def tell(self) -> int:
        """Bytes of the content read so far."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Begin anew. Raises ``io.UnsupportedOperation`` for every other place."""
        if (offset, whence) != (0, os.SEEK_SET):
            raise io.UnsupportedOperation("a sealed file is read from its start")
        self._rewind()
        return 0

    def readinto(self, buffer: object) -> int:
        """See ``io.RawIOBase``."""
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._plain and not self._over:
            self._open()
        size = min(len(target), len(self._plain))
        target[:size] = self._plain[:size]
        self._plain = self._plain[size:]
        self._position += size
        return size

    def _open(self) -> None:
        """The next piece; the last one is followed by nothing."""
        piece = self._next
        self._next = self._file.read(PIECE_BYTES + TAG_BYTES)
        last = not self._next
        try:
            self._plain = memoryview(self._cipher.decrypt(_nonce(self._number, last=last), piece, None))
        except (InvalidTag, ValueError) as error:
            what = "it was cut off, or changed at its end" if last else "it was changed"
            raise SnapshotError(f"{self._path}: damaged encrypted snapshot: {what}") from error
        self._number += 1
        self._over = last
