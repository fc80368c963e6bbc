"""Files that a log leaves behind: how they are called, and which of them have to go. Pure.

Names are those that kube-apiserver's log rotation gives: ``audit-2006-01-02T15-04-05.000.log``, perhaps ``.gz``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

COMPRESSED = ".gz"
MEGABYTE = 1024 * 1024
DEFAULT_MEGABYTES = 100
"""The size of a log whose flag says 0."""
DAY_SECONDS = 24 * 3600
_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}\.\d{3}"


@attrs.frozen
class Retention:
    """How much is kept: days and number (0: no bound); and whether former files are compressed."""

    max_age_days: int = 0
    max_backups: int = 0
    compress: bool = False


@attrs.frozen
class Backup:
    """A former log."""

    name: str
    seconds: float
    """When it was put aside, since 1970."""
    compressed: bool


def backup_name(name: str, seconds: float) -> str:
    """What a log of this name is called once it is put aside."""
    stem, suffix = _split(name)
    when = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3]
    return f"{stem}-{when}{suffix}"


def backups_of(name: str, found: Iterable[str]) -> list[Backup]:
    """Those of `found` that are former logs of this name, the newest first."""
    stem, suffix = _split(name)
    pattern = re.compile(rf"{re.escape(stem)}-({_TIME}){re.escape(suffix)}(\.gz)?")
    backups = []
    for candidate in found:
        match = pattern.fullmatch(candidate)
        if match is None:
            continue
        try:
            when = datetime.strptime(match[1], "%Y-%m-%dT%H-%M-%S.%f").replace(tzinfo=UTC)
        except ValueError:
            continue
        backups.append(Backup(candidate, when.timestamp(), match[2] is not None))
    return sorted(backups, key=lambda backup: (backup.seconds, backup.compressed), reverse=True)


def due(backups: list[Backup], kept: Retention, now: float) -> tuple[list[str], list[str]]:
    """Names of the files that are to be removed, and of those that are to be compressed."""
    remove: list[str] = []
    stay: list[Backup] = []
    seen: set[float] = set()
    for backup in backups:
        seen.add(backup.seconds)
        too_many = kept.max_backups and len(seen) > kept.max_backups
        too_old = kept.max_age_days and backup.seconds < now - kept.max_age_days * DAY_SECONDS
        if too_many or too_old:
            remove.append(backup.name)
        else:
            stay.append(backup)
    return remove, [backup.name for backup in stay if kept.compress and not backup.compressed]


def _split(name: str) -> tuple[str, str]:
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if dot else (name, "")
