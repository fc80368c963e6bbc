"""The ranges of keys that arguments and the flags ``--prefix`` and ``--from-key`` stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.failures import bad_arguments
from kvraft.types import prefix_end

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERYTHING_AFTER = b"\0"


def key_range(arguments: Sequence[bytes], prefix: bool, from_key: bool) -> tuple[bytes, bytes]:
    """``(key, range_end)`` of a key and perhaps an end. Raises ``CommandError``."""
    if prefix and from_key:
        raise bad_arguments("`--prefix` and `--from-key` cannot be set at the same time, choose one")
    if len(arguments) > 1:
        if prefix or from_key:
            raise bad_arguments("too many arguments, only accept one argument when `--prefix` or `--from-key` is set")
        return arguments[0], arguments[1]
    key = arguments[0]
    if (prefix or from_key) and not key:
        return b"\0", EVERYTHING_AFTER
    if prefix:
        return key, prefix_end(key)
    return key, EVERYTHING_AFTER if from_key else b""


def permission_range(key: bytes, end: bytes | None, prefix: bool, from_key: bool) -> tuple[bytes, bytes]:
    """The same for permissions, which has other words for what is wrong. Raises ``CommandError``."""
    if prefix and from_key:
        raise bad_arguments("--from-key and --prefix flags are mutually exclusive")
    if end is not None:
        if prefix:
            raise bad_arguments("unexpected endkey argument with --prefix flag")
        if from_key:
            raise bad_arguments("unexpected endkey argument with --from-key flag")
        return key, end
    if (prefix or from_key) and not key:
        return b"\0", EVERYTHING_AFTER
    if prefix:
        return key, prefix_end(key)
    return key, EVERYTHING_AFTER if from_key else b""
