"""What ``kvraft serve --help`` prints and the reference page says: made from the rows of the flags."""

from __future__ import annotations

from kvraft.cli.serve_flags import CONFIG_FILE, GROUPS, PREFIX, VERSION

USAGE = f"""Usage:

  kvraft serve [flags]
    Start a member.

  kvraft --version
    Show the version.

  kvraft serve -h | --help
    Show the help information.

  kvraft serve --config-file
    {CONFIG_FILE.help}
"""

_INTRODUCTION = f"""# Flags of kvraft serve

They have etcd's names, defaults and meanings; a unit file for etcd needs only the program's name changed,
and the prefix of variables if it has some. `--f=v` and `--f v` are the same, one dash does as well as two, and of
repeats the last counts. Booleans are `--f` or `--f=false`. What the command line leaves out is taken from the
environment: `{PREFIX}_` and the flag's name in upper case with underscores; variables with etcd's prefix `ETCD_` are
warned of. With `--{CONFIG_FILE.name}` a YAML file with etcd's keys is read instead of both.
"""


def help_text() -> str:
    """Every flag with its default, by group, as etcd's help has them."""
    lines = [USAGE]
    for group, flags in GROUPS.items():
        lines.append(f"{group}:")
        for flag in flags:
            lines += [f"  --{flag.name} '{flag.kind.show(flag.default)}'", f"    {flag.help}"]
            reason = flag.ignored or flag.refused
            if reason:
                lines.append(f"    {'No effect' if flag.ignored else 'Not supported'}: {reason}.")
        lines.append("")
    return "\n".join(lines).rstrip()


def reference_page() -> str:
    """The same as a page of the documentation."""
    lines = [_INTRODUCTION]
    for group, flags in GROUPS.items():
        foreign = any(flag.ignored or flag.refused for flag in flags)
        lines += [f"## {group}", "", f"| flag | default | {'why' if foreign else 'meaning'} |", "| --- | --- | --- |"]
        for flag in flags:
            names = ", ".join(f"`--{name}`" for name in (flag.name, *flag.older))
            default = flag.kind.show(flag.default)
            text = flag.ignored or flag.refused or flag.help.replace("|", "\\|")
            lines.append(f"| {names} | {f'`{default}`' if default else ''} | {text} |")
        lines.append("")
    lines += ["## Others", "", f"`--{CONFIG_FILE.name}`: {CONFIG_FILE.help}", "", f"`--{VERSION.name}`: {VERSION.help}"]
    return "\n".join(lines) + "\n"
