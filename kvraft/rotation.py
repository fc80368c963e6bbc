"""A log file that is put aside when it has grown, as etcd's ``--enable-log-rotation`` does it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sys
import threading
import time
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import logging

MIB = 1 << 20
DEFAULT_MIB = 100
DAY_SECONDS = 24 * 3600
KEYS: dict[str, type] = {"maxsize": int, "maxage": int, "maxbackups": int, "localtime": bool, "compress": bool}


@attrs.frozen
class Rotation:
    """When a file is put aside, and what becomes of those that were."""

    max_bytes: int = DEFAULT_MIB * MIB
    max_age_days: int = 0
    """Older ones are removed; 0: never."""
    max_backups: int = 0
    """So many are kept; 0: all."""
    local_time: bool = False
    """Whether their names have the local time instead of UTC."""
    compress: bool = False


def parse_rotation(text: str) -> Rotation:
    """Read ``--log-rotation-config-json``. Raises ``ValueError`` with what is wrong."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"improperly formatted log rotation config: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("improperly formatted log rotation config: an object is due")
    for key, kind in KEYS.items():
        value = found.setdefault(key, kind())
        fits = type(value) is kind
        if not fits or value < 0:
            raise ValueError(f"invalid log rotation config: {key}: {kind.__name__} is due, not {json.dumps(value)}")
    return Rotation(
        (found["maxsize"] or DEFAULT_MIB) * MIB,
        found["maxage"],
        found["maxbackups"],
        found["localtime"],
        found["compress"],
    )


class RotatingFile(WatchedFileHandler):
    """Writes records to a file; see the module. One that cannot be put aside grows on until it has doubled."""

    def __init__(self, path: str, rotation: Rotation) -> None:
        super().__init__(path, encoding="utf-8")
        self._rotation = rotation
        self._full_at = rotation.max_bytes
        self._tidying = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, and put the file aside if it was the last that it had room for."""
        super().emit(record)
        if self.stream is not None and self.stream.tell() >= self._full_at:
            try:
                self._put_aside()
            except OSError as error:
                self._full_at *= 2
                sys.stderr.write(f"kvraft: cannot put {self.baseFilename} aside: {error}\n")

    def _put_aside(self) -> None:
        path = Path(self.baseFilename)
        now = datetime.now(None if self._rotation.local_time else UTC)
        stamp = now.strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]
        aside = path.with_name(f"{path.stem}-{stamp}{path.suffix}")
        if aside.exists():  # two within a millisecond
            return
        os.rename(path, aside)
        self.reopenIfNeeded()
        self._full_at = self._rotation.max_bytes
        threading.Thread(target=self._tidy, name="kvraft-log-rotation", daemon=True).start()

    def _tidy(self) -> None:
        """What takes long, or may fail without harm: in a thread."""
        with self._tidying:
            for path in self._those_put_aside():
                if self._rotation.compress and path.suffix != ".gz":
                    _compress(path)
            kept = sorted(self._those_put_aside(), reverse=True)  # the newest first: their names say when
            oldest = time.time() - self._rotation.max_age_days * DAY_SECONDS
            for place, path in enumerate(kept):
                too_many = 0 < self._rotation.max_backups <= place
                if too_many or (self._rotation.max_age_days and path.stat().st_mtime < oldest):
                    path.unlink(missing_ok=True)

    def _those_put_aside(self) -> list[Path]:
        path = Path(self.baseFilename)
        begins, found = f"{path.stem}-", list(path.parent.iterdir())
        return [
            each
            for each in found
            if each.name.startswith(begins) and each.name.removesuffix(".gz").endswith(path.suffix)
            if _is_stamp(each.name.removesuffix(".gz").removeprefix(begins).removesuffix(path.suffix))
        ]


def _is_stamp(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m-%dT%H-%M-%S.%f")
    except ValueError:
        return False
    return True


def _compress(path: Path) -> None:
    beside = path.with_name(f"{path.name}.gz")
    try:
        with path.open("rb") as plain, gzip.open(beside, "wb") as packed:
            shutil.copyfileobj(plain, packed)
        shutil.copystat(path, beside)
        path.unlink()
    except OSError:
        beside.unlink(missing_ok=True)  # a full disk: it stays as it is
