"""What a state machine says of its state, as of the last applied entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kvraft.raft.messages import Configuration
    from kvraft.storage.state import StateEnvironment
    from kvraft.types import MemberInfo


class Described:
    """The part of :class:`~kvraft.apply.machine.StateMachine` that only looks."""

    _environment: StateEnvironment

    @property
    def applied_index(self) -> int:
        return self._environment.meta.applied_index

    @property
    def applied_term(self) -> int:
        return self._environment.meta.applied_term

    @property
    def configuration(self) -> Configuration | None:
        """Who takes part as of the applied index; None until :meth:`initialise`, or a joining member's first snapshot.

        The same object until it changes, as :attr:`members` is.
        """
        return self._environment.meta.configuration

    @property
    def members(self) -> tuple[MemberInfo, ...]:
        """Everybody who takes part, in the order of their ids."""
        return self._environment.meta.members

    @property
    def removed(self) -> tuple[int, ...]:
        """Ids of members that have been removed."""
        return self._environment.meta.removed

    @property
    def cluster_id(self) -> int:
        return self._environment.meta.cluster_id

    @property
    def member_id(self) -> int:
        return self._environment.meta.member_id

    @property
    def revision(self) -> int:
        return self._environment.meta.revision

    @property
    def compacted_revision(self) -> int:
        return self._environment.meta.compacted_revision

    @property
    def committed_index(self) -> int:
        """The applied index that the end of the process cannot take back."""
        return self._environment.committed_index

    @property
    def db_size(self) -> int:
        """Bytes of the file."""
        return self._environment.sizes()[0]

    @property
    def db_size_in_use(self) -> int:
        """Bytes of it that hold data."""
        return self._environment.sizes()[1]
