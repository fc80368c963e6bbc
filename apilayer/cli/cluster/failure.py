"""The one error that the cluster commands show to their user, and how system errors become one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class ClusterError(Exception):
    """What stands in the way, as one line for a person. The command prints it on stderr and exits non-zero."""


@contextlib.contextmanager
def explained(what: str, path: Path) -> Iterator[None]:
    """Turn an ``OSError`` inside the block (rights, a full disk, a file in the way) into a ``ClusterError``.

    The line reads ``cannot <what> <path>: <reason>``, with the path that the system complained about when it is
    another one.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # not of a file: whoever read our output is gone
    except OSError as error:
        where = error.filename
        detail = f" ({where})" if where and str(where) != str(path) else ""
        raise ClusterError(f"cannot {what} {path}: {error.strerror or error}{detail}") from error
