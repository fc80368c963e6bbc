"""Asks for passwords: on the terminal without showing them, or as a line on standard input."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

from kvraft.cli.failures import bad_arguments
from kvraft.cli.quoting import decode

if TYPE_CHECKING:
    from kvraft.cli.call import Call


def ask_password(call: Call, prompt: str) -> str:
    """One password."""
    if call.stdin.isatty():
        return getpass.getpass(prompt)
    call.stdout.write(prompt.encode("utf-8", "surrogateescape"))
    call.stdout.flush()
    line = read_password(call)
    call.say("")
    return line


def ask_new_password(call: Call, user: str) -> str:
    """A password twice. Raises ``CommandError`` when it is empty, or not the same both times."""
    password = ask_password(call, f"Password of {user}: ")
    if not password:
        raise bad_arguments("empty password")
    if ask_password(call, f"Type password of {user} again for confirmation: ") != password:
        raise bad_arguments("given passwords are different")
    return password


def read_password(call: Call) -> str:
    """A line of standard input, up to the first space."""
    words = decode(call.stdin.readline()).split()
    return words[0] if words else ""
