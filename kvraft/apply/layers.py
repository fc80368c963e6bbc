"""What stands around the store when a command is applied: the outermost layer that refuses decides.

From the outside: corrupt, capped, then whatever decides who may do what, then the store. A layer is a function from
a command to its answer, made around the one below it; what does not apply at present is not in the stack, so that
the usual command passes through none. Each looks at replicated state alone: every member comes to the same answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.errors import Corrupt, NoSpace
from kvraft.mvcc.txn import writes_data
from kvraft.types import AlarmRequest, LeaseGrantRequest

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.types import Command, Response

    Layer = Callable[[Command], Response]
    """Raises the command's error, and then has changed nothing."""


def takes_space(command: object) -> bool:
    """What a member without space refuses; reads, deletes and compactions go on."""
    return type(command) is LeaseGrantRequest or writes_data(command)


def capped(below: Layer) -> Layer:
    """While NOSPACE is active."""

    def execute(command: Command) -> Response:
        if takes_space(command):
            raise NoSpace
        return below(command)

    return execute


def corrupt(below: Layer) -> Layer:
    """While CORRUPT is active: only alarms can still be dealt with."""

    def execute(command: Command) -> Response:
        if type(command) is not AlarmRequest:
            raise Corrupt
        return below(command)

    return execute
