"""The layers that ask who proposed a command, and whether they may; they stand in the stack while authentication is on.

``opened`` is the outermost: it takes a command out of its envelope, so that those between see the command itself.
``authorized`` is the innermost, as in etcd: what is refused for everybody is refused first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvraft.apply.command import Authorized
from kvraft.auth.access import INTERNAL
from kvraft.auth.identity import NOBODY, Identity

if TYPE_CHECKING:
    from kvraft.apply.layers import Layer
    from kvraft.auth.access import Access
    from kvraft.types import Command, Response


class Envelopes:
    """Makes both layers: what the outer one reads, the inner one checks."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._identity = NOBODY

    def opened(self, below: Layer) -> Layer:
        """Outermost. A command without an envelope is nobody's."""

        def execute(command: Command | Authorized) -> Response:
            if type(command) is Authorized:
                self._identity = Identity(command.user, command.auth_revision)
                return below(command.command)
            self._identity = NOBODY
            return below(command)  # type: ignore[arg-type]

        return execute

    def authorized(self, below: Layer) -> Layer:
        """Raises what keeps them from it, the same on every member."""

        def execute(command: Command) -> Response:
            if type(command) not in INTERNAL:
                self._access.check(self._identity, command)
            return below(command)

        return execute
