"""An entry that takes long, applied in pieces: between two of them the member's loop does everything else.

Heartbeats go out and are answered, so that no election follows. Whoever reads meanwhile sees the state from before the
entry, through a read transaction of a commit that was made for it. Nothing of the entry is committed before its end,
so a crash or a snapshot in between finds it not begun.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from kvraft.apply.command import Authorized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.errors import KvraftError
    from kvraft.mvcc.bounds import Work
    from kvraft.mvcc.store import Store
    from kvraft.storage.state import StateEnvironment
    from kvraft.types import Command, Response


class Pieces:
    """One machine's entry that is being applied, if there is one."""

    def __init__(self, environment: StateEnvironment, store: Store) -> None:
        self._environment = environment
        self._store = store
        self._work: Work[list[Response | KvraftError]] | None = None

    @property
    def under_way(self) -> bool:
        """Whether an entry has been begun and not ended: then the state must be neither changed nor committed."""
        return self._work is not None

    def takes_long(self, commands: Sequence[Command | Authorized]) -> bool:
        """Whether an entry with these had better be done in pieces."""
        plain = [command.command if type(command) is Authorized else command for command in commands]
        return self._store.takes_long(plain)

    def begin(self, commands: Sequence[Command]) -> None:
        """Start with an entry. Everything before it has been committed."""
        environment = self._environment
        self._view = environment.view()
        self._view.meta = copy.copy(environment.meta)  # of the same objects: who compares them sees no change
        self._work = self._store.execute_in_pieces(commands)
        self._hidden = environment.show(self._view)

    def go_on(self) -> list[Response | KvraftError] | None:
        """Do one piece; the entry's answers when that was the last."""
        assert self._work is not None
        self._environment.unshow(self._hidden)
        try:
            next(self._work)
        except StopIteration as end:
            self._work = None
            self._view.close()
            answers: list[Response | KvraftError] = end.value
            return answers
        self._hidden = self._environment.show(self._view)
        return None

    def forget(self) -> None:
        """The state has been replaced, and the entry is to be begun anew, if at all."""
        if self._work is not None:
            self._work.close()
            self._work = None
