"""Logs as etcd writes them: one JSON object a line on standard error, with level, ts, caller, msg and fields."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


class JsonFormatter(logging.Formatter):
    """Formats a record; ``extra={"fields": {...}}`` adds its members to the object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "caller": f"{PurePath(record.pathname).parent.name}/{record.filename}:{record.lineno}",
            "msg": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Log everything of ``kvraft`` from ``level`` (a key of ``LEVELS``) on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("kvraft")
    logger.handlers = [handler]
    logger.setLevel(LEVELS[level])
    logger.propagate = False


def fields(**values: object) -> dict[str, dict[str, object]]:
    """The ``extra`` of a log call: ``log.info("...", extra=fields(peer=...))``."""
    return {"fields": values}
