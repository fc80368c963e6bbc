"""What a command is: a row of data that names its flags and the function that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from kvraft.cli.flags import Flag

ANSWERS = ("simple", "json", "fields")
TABLES = ("simple", "json", "fields", "table")
NAMES = ("simple", "json")
FORMATS = ("fields", "json", "protobuf", "simple", "table")
"""Every output format that there is a name for."""


@attrs.frozen
class Command:
    """One command.

    ``name`` is what is typed: one word, or a noun and a verb. ``run`` is the function's module in this package and
    its name; it is loaded when it is needed, and gets the ``Call`` and, unless ``alone``, a client. ``formats`` are
    the output formats it has; one that says the same in all has ``FORMATS``.
    """

    name: str
    run: str
    usage: str
    summary: str
    flags: tuple[Flag, ...] = ()
    formats: tuple[str, ...] = ANSWERS
    description: str = ""
    alone: bool = False
