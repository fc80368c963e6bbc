"""Logs as etcd writes them: one JSON object a line with level, ts, caller, msg and fields; or lines for people."""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.rotation import Rotation

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "panic": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}
STDOUT = "stdout"
STDERR = ("default", "stderr", "systemd/journal")
"""Outputs that are standard error: under systemd that is the journal."""


def _members(record: logging.LogRecord) -> dict[str, Any]:
    """What etcd puts first in each line."""
    return {
        "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "caller": f"{PurePath(record.pathname).parent.name}/{record.filename}:{record.lineno}",
        "msg": record.getMessage(),
    }


class JsonFormatter(logging.Formatter):
    """Formats a record; ``extra={"fields": {...}}`` adds its members to the object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {**_members(record), **getattr(record, "fields", {})}
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class ConsoleFormatter(logging.Formatter):
    """The same for people, as zap's console encoder has it: tabs between, and the fields as JSON at the end."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a stack trace below it where there is one."""
        members = _members(record)
        words = [members["ts"], members["level"], members["caller"], members["msg"].replace("\n", " ")]
        values = getattr(record, "fields", None)
        if values:
            words.append(json.dumps(values, default=str))
        line = "\t".join(words)
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


FORMATS: dict[str, Callable[[], logging.Formatter]] = {"json": JsonFormatter, "console": ConsoleFormatter}


@attrs.frozen
class LogConfig:
    """What is logged, how, and where to: names of :data:`STDERR`, ``stdout``, or paths of files."""

    level: str = "info"
    format: str = "json"
    outputs: tuple[str, ...] = ("default",)
    rotation: Rotation | None = None
    """How files are put aside when they have grown; None: not at all."""

    @property
    def files(self) -> list[str]:
        """The outputs that are files."""
        return [output for output in self.outputs if output not in (*STDERR, STDOUT)]


def configure(config: LogConfig | None = None) -> None:
    """Log everything of ``kvraft``. Raises ``OSError`` for a file that cannot be written.

    A file that is renamed is opened anew, so that it can be rotated from outside.
    """
    config = config or LogConfig()
    handlers: list[logging.Handler] = []
    try:
        for output in config.outputs:
            if output in STDERR:
                handlers.append(logging.StreamHandler(sys.stderr))
            elif output == STDOUT:
                handlers.append(logging.StreamHandler(sys.stdout))
            elif config.rotation is not None:
                from kvraft.rotation import RotatingFile

                handlers.append(RotatingFile(output, config.rotation))
            else:
                from logging.handlers import WatchedFileHandler  # which loads much that most members do not need

                handlers.append(WatchedFileHandler(output, encoding="utf-8"))
    except OSError:
        for handler in handlers:
            handler.close()
        raise
    for handler in handlers:
        handler.setFormatter(FORMATS[config.format]())
    logger = logging.getLogger("kvraft")
    for old in logger.handlers:
        old.close()
    logger.handlers = handlers
    logger.setLevel(LEVELS[config.level])
    logger.propagate = False


class Throttle:
    """For warnings that could come thousands of times a second: one in ``seconds``, which says how many there were."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next = -math.inf
        self._skipped = 0

    def skipped_since_last(self) -> int | None:
        """How many were left out since the last line; None when this one is to be left out, too."""
        now = self._clock()
        if now < self._next:
            self._skipped += 1
            return None
        self._next = now + self._seconds
        skipped, self._skipped = self._skipped, 0
        return skipped


def fields(**values: object) -> dict[str, dict[str, object]]:
    """The ``extra`` of a log call: ``log.info("...", extra=fields(peer=...))``."""
    return {"fields": values}
