"""``kvraft completion``: commands and flags, completed by the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.cli.commands import NOUNS, ROWS
from kvraft.cli.failures import BAD_FEATURE, CommandError, bad_arguments
from kvraft.cli.flags import BOOL, HELP
from kvraft.cli.help import OTHERS
from kvraft.cli.options import GLOBAL_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kvraft.cli.call import Call
    from kvraft.cli.flags import Flag

_BASH = """# bash completion for kvraft
_kvraft() {{
    local word words=() previous="" current="${{COMP_WORDS[COMP_CWORD]}}"
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case "$previous" in {values}) ;; *) [[ "$word" == -* ]] || words+=("$word") ;; esac
        previous="$word"
    done
    local choices=""
    case "${{words[*]:0:2}}" in
{cases}
    *)
        case "${{words[0]}}" in
{nouns}
        "") choices="{first}" ;;
        esac ;;
    esac
    [[ "$current" == -* ]] && choices+=" {global_flags}"
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
}}
complete -o default -F _kvraft kvraft
"""


def completion(call: Call) -> None:
    """The script of a shell."""
    if len(call.arguments) != 1:
        raise bad_arguments("completion command needs the name of a shell as its argument")
    if call.arguments[0] != "bash":
        raise CommandError(f"unknown shell {call.arguments[0]}: there is bash", BAD_FEATURE)
    call.say(bash().rstrip("\n"))


def _spellings(flags: Iterable[Flag]) -> str:
    return " ".join(f"--{flag.name}{'' if flag.kind is BOOL else '='}" for flag in flags)


def bash() -> str:
    """The script for bash."""
    values = "|".join(
        spelling
        for flag in GLOBAL_FLAGS
        if flag.kind is not BOOL
        for spelling in (f"--{flag.name}", *((f"-{flag.short}",) if flag.short else ()))
    )
    cases = []
    for row in ROWS:
        pattern = f'"{row.name}"' if " " in row.name else f'"{row.name}"|"{row.name} "*'
        cases.append(f'    {pattern}) choices="{_spellings(row.flags)}" ;;')
    nouns = []
    for noun in sorted(NOUNS):
        verbs = " ".join(row.name.partition(" ")[2] for row in ROWS if row.name.startswith(f"{noun} "))
        nouns.append(f'        {noun}) choices="{verbs}" ;;')
    first = sorted({row.name.partition(" ")[0] for row in ROWS} | {name for name, _ in OTHERS})
    return _BASH.format(
        values=values,
        cases="\n".join(cases),
        nouns="\n".join(nouns),
        first=" ".join(first),
        global_flags=_spellings((*GLOBAL_FLAGS, HELP)),
    )
