"""Files in store for the log's next ones: a block that has been written before is written again for less.

Space that is only reserved becomes part of a file when it is written, which is a change of the file system's own
records, and each sync waits for that as well.
"""

from __future__ import annotations

import contextlib
import os
import secrets

from kvraft.storage.files import sync_directory

SUFFIX = ".spare"
LIMIT = 2
"""So many are kept: what is forgotten at a time is a file or two."""
_PIECE_BYTES = 1 << 20
"""Zeros are synced in pieces of this size: the log's own syncs have to get between them."""


class Spares:
    """Those in ``directory``, each of ``size`` bytes. The methods may be called from different threads."""

    def __init__(self, directory: str, size: int) -> None:
        """Takes over what is there. Raises ``OSError``."""
        self._directory = directory
        self._size = size
        self._gave_up = False
        self._paths: list[str] = []
        for name in os.listdir(directory):
            path = os.path.join(directory, name)
            if name.endswith(SUFFIX) and self._has_place(path):
                self._paths.append(path)
            elif name.endswith((SUFFIX, SUFFIX + ".new")):
                os.unlink(path)

    def __len__(self) -> int:
        return len(self._paths)

    def _has_place(self, path: str) -> bool:
        return len(self._paths) < LIMIT and os.stat(path).st_size == self._size

    def _new_path(self) -> str:
        return os.path.join(self._directory, secrets.token_hex(8) + SUFFIX)

    def keep(self, path: str) -> bool:
        """Take a file that is not needed any more. False: there are enough, or it is no good. Raises ``OSError``."""
        if not self._has_place(path):
            return False
        kept = self._new_path()
        os.rename(path, kept)
        self._paths.append(kept)
        return True

    def take(self) -> str | None:
        """One to be written to from its beginning on and then renamed. Raises ``OSError``."""
        if not self._paths:
            return None
        # After a loss of power what it will hold must not be found under the name that it had before.
        sync_directory(self._directory)
        return self._paths.pop()

    def make(self) -> None:
        """Make one of zeros. If that fails there is none, and who writes will see why: it is not tried again."""
        path = self._new_path()
        descriptor = -1
        try:
            descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            zeros = bytes(_PIECE_BYTES)
            for offset in range(0, self._size, _PIECE_BYTES):
                os.pwrite(descriptor, zeros[: self._size - offset], offset)
                os.fsync(descriptor)
            os.rename(path + ".new", path)
        except OSError:
            self._gave_up = True
            with contextlib.suppress(OSError):
                os.unlink(path + ".new")
        else:
            self._paths.append(path)
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    @property
    def wanted(self) -> bool:
        """Whether there is none, and making one is worth a try."""
        return not self._paths and not self._gave_up
