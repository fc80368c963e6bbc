"""``kvraft version``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.version import ETCD_VERSION, VERSION

if TYPE_CHECKING:
    from kvraft.cli.call import Call


def version(call: Call) -> None:
    """The program's version, and that of etcd's interface."""
    call.say(f"kvraft version: {VERSION}", f"API version: {ETCD_VERSION.rpartition('.')[0]}")
