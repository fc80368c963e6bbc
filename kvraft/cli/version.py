"""``kvraft version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.version import VERSION

if TYPE_CHECKING:
    from kvraft.cli.call import Call

API_VERSION = "3.6"
"""Of etcd's interface, whose semantics these are."""


def version(call: Call) -> None:
    """The program's version, and that of the interface."""
    call.say(f"kvraft version: {VERSION}", f"API version: {API_VERSION}")
