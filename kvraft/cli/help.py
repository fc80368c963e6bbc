"""What ``--help`` prints and the reference page says: made from the rows of the commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.commands import NOUNS, ROWS
from kvraft.cli.flags import BOOL, HELP
from kvraft.cli.options import GLOBAL_FLAGS, PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.cli.command import Command
    from kvraft.cli.flags import Flag

PROGRAM = "kvraft"
SUMMARY = "A raft-backed key-value store with etcd v3 semantics."
OTHERS = (("serve", "Runs a member"),)
"""Commands that read their flags themselves."""

_INTRODUCTION = f"""# The kvraft command

{SUMMARY} [`kvraft serve`](serve-flags.md) runs a member; the other commands talk to members and have
the arguments, flags, output and exit codes of etcdctl. What differs, and why, stands in [differences from
etcd](differences-from-etcd.md).

Flags and arguments may stand in any order; what stands after `--` is an argument. Each global flag can be given as an
environment variable too: `{PREFIX}` and its name in capitals, with underscores. A flag that is given wins.

Exit codes: 0 done; 1 an error; 2 no connection to be had, a wrong password among the reasons; 3 what was typed in
cannot be read; 4 a flag has a value that there is not; 5 the store ended a watch; 128 the arguments are not right.
"""


def _heading(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    default = flag.kind.show(flag.default)
    return f"  {short}--{flag.name}{f'[={default}]' if flag.kind is BOOL else f'={default}'}"


def _flag_lines(flags: Iterable[Flag]) -> list[str]:
    flags = sorted(flags, key=lambda flag: flag.name)
    width = max(len(_heading(flag)) for flag in flags) + 2
    return [f"{_heading(flag):<{width}}{flag.help}" for flag in flags]


def _row_lines(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(name) for name, _ in rows) + 2
    return [f"  {name:<{width}}{summary}" for name, summary in rows]


def overview() -> str:
    """Every command."""
    rows = [*((row.name, row.summary) for row in ROWS), *OTHERS]
    return "\n".join(
        [
            *("NAME:", f"  {PROGRAM} - {SUMMARY}", "", "USAGE:", f"  {PROGRAM} COMMAND [flags]", ""),
            *("COMMANDS:", *_row_lines(sorted(rows)), "", "OPTIONS:", *_flag_lines((*GLOBAL_FLAGS, HELP))),
        ]
    )


def noun_help(noun: str) -> str:
    """What can be done with ``noun``."""
    assert noun in NOUNS
    rows = [(row.name.partition(" ")[2], row.summary) for row in ROWS if row.name.startswith(f"{noun} ")]
    return "\n".join(
        [
            *("NAME:", f"  {noun} - {' | '.join(verb for verb, _ in rows)}", ""),
            *("USAGE:", f"  {PROGRAM} {noun} <subcommand> [flags]", "", "COMMANDS:", *_row_lines(rows)),
        ]
    )


def command_help(command: Command) -> str:
    """One command with its flags."""
    lines = ["NAME:", f"  {command.name} - {command.summary}", "", "USAGE:", f"  {_usage(command)}", ""]
    if command.description:
        lines += ["DESCRIPTION:", *(f"  {line}".rstrip() for line in command.description.split("\n")), ""]
    own = _flag_lines((*command.flags, HELP))
    return "\n".join([*lines, "OPTIONS:", *own, "", "GLOBAL OPTIONS:", *_flag_lines(GLOBAL_FLAGS)])


def _usage(command: Command) -> str:
    return " ".join(filter(None, (PROGRAM, command.name, command.usage, "[flags]")))


def _flag_table(flags: Iterable[Flag]) -> list[str]:
    lines = ["| flag | default | meaning |", "| --- | --- | --- |"]
    for flag in sorted(flags, key=lambda flag: flag.name):
        spelling = f"`-{flag.short}`, `--{flag.name}`" if flag.short else f"`--{flag.name}`"
        lines.append(f"| {spelling} | `{flag.kind.show(flag.default)}` | {flag.help} |")
    return lines


def reference_page() -> str:
    """Every command, as a page of the documentation."""
    lines = [_INTRODUCTION, "## Global flags", "", *_flag_table(GLOBAL_FLAGS), ""]
    for row in ROWS:
        formats = ", ".join(f"`{name}`" for name in sorted(row.formats))
        lines += [f"## {row.name}", "", f"{row.summary}.".replace("..", "."), "", "```text", _usage(row), "```", ""]
        if row.description:
            lines += ["```text", row.description, "```", ""]
        if row.flags:
            lines += [*_flag_table(row.flags), ""]
        lines += [f"Output formats: {formats}.", ""]
    return "\n".join(lines).rstrip() + "\n"
