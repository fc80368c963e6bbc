"""Every command by its name, and which of them a command line means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.flags import BOOL, HELP
from kvraft.cli.options import GLOBAL_FLAGS
from kvraft.cli.rows_cluster import ROWS as CLUSTER_ROWS
from kvraft.cli.rows_store import ROWS as STORE_ROWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.cli.command import Command
    from kvraft.cli.flags import Flag

ROWS = tuple(sorted((*STORE_ROWS, *CLUSTER_ROWS), key=lambda row: row.name))
COMMANDS = {row.name: row for row in ROWS}
NOUNS = frozenset(name.partition(" ")[0] for name in COMMANDS if " " in name)
"""Words that need a verb after them."""
_TAKES_VALUE = {
    spelling
    for flag in GLOBAL_FLAGS
    if flag.kind is not BOOL
    for spelling in (f"--{flag.name}", f"-{flag.short}" if flag.short else f"--{flag.name}")
}


def find(words: Sequence[str]) -> tuple[str, Command | None, list[str]]:
    """What was typed as a command, its row if there is one, and the other words.

    Global flags may stand before it. A noun without a verb that it has comes without a row.
    """
    rest = list(words)
    noun = _take_word(rest)
    if noun not in NOUNS:
        return noun, COMMANDS.get(noun), rest
    others = list(rest)
    verb = _take_word(others)
    row = COMMANDS.get(f"{noun} {verb}")
    return (f"{noun} {verb}", row, others) if row is not None else (noun, None, rest)


def _take_word(words: list[str]) -> str:
    """Take out the first word that is no flag and no flag's value; "" without one."""
    at = 0
    while at < len(words):
        word = words[at]
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            return words.pop(at)
        at += 2 if word in _TAKES_VALUE else 1
    return ""


def flags_of(command: Command) -> tuple[Flag, ...]:
    """Its own flags, and those that every command has."""
    return (*command.flags, *GLOBAL_FLAGS, HELP)
