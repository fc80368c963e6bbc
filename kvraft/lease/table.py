"""The replicated state of leases: what they were granted for, what is left of them, and which keys hang on them.

``lease``: lease id -> granted TTL in seconds, and when it ends on the leases' clock, in milliseconds (0: not written
down). The clock is part of the state's meta record.
``leased``: lease id + key -> nothing; the store keeps it with every put and delete.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Protocol

from kvraft.errors import LeaseExists, LeaseNotFound, LeaseTtlTooLarge
from kvraft.mvcc.records import LEASE_ID, keys_of_lease, lease_key
from kvraft.types import (
    LeaseCheckpointRequest,
    LeaseCheckpointResponse,
    LeaseGrantRequest,
    LeaseGrantResponse,
    LeaseRevokeRequest,
    LeaseRevokeResponse,
)

if TYPE_CHECKING:
    from kvraft.mvcc.bounds import Work
    from kvraft.mvcc.store import Store
    from kvraft.storage.state import StateEnvironment
    from kvraft.types import LeaseCommand

LEASE_COMMANDS = frozenset({LeaseGrantRequest, LeaseRevokeRequest, LeaseCheckpointRequest})
MAX_TTL_SECONDS = 9_000_000_000
RECORD = struct.Struct(">qq")
"""Granted TTL in seconds, end in milliseconds."""


class Observer(Protocol):
    """Hears of what has been applied; see :class:`~kvraft.lease.lessor.Lessor`."""

    def granted(self, lease_id: int, ttl: int) -> None: ...

    def revoked(self, lease_id: int) -> None: ...


def check_lease_command(command: LeaseCommand) -> None:
    """Raise what is wrong with ``command`` by itself: LeaseTtlTooLarge; LeaseNotFound for the id 0."""
    if isinstance(command, LeaseGrantRequest):
        if not command.lease_id:
            raise LeaseNotFound
        if command.ttl > MAX_TTL_SECONDS:
            raise LeaseTtlTooLarge
    elif isinstance(command, LeaseRevokeRequest) and not command.lease_id:
        raise LeaseNotFound


class LeaseTable:
    """Lease commands and questions over the open transaction of ``environment``. ``observer`` may be set."""

    def __init__(self, environment: StateEnvironment, store: Store) -> None:
        self._environment = environment
        self._store = store
        self.observer: Observer | None = None

    # ------------------------------------------------------------------ commands

    def execute(
        self, command: LeaseCommand, term: int
    ) -> LeaseGrantResponse | LeaseRevokeResponse | LeaseCheckpointResponse:
        """Do ``command``, from an entry of ``term``. Raises a KvraftError, the same on every member.

        For ``Store.execute_in_pieces`` a revoke is checked and begun; its answer is the rest of it.
        """
        check_lease_command(command)
        if isinstance(command, LeaseGrantRequest):
            return self._grant(command)
        if isinstance(command, LeaseRevokeRequest):
            return self._revoke(command, term)
        return self._checkpoint(command)

    def _grant(self, request: LeaseGrantRequest) -> LeaseGrantResponse:
        ttl = max(request.ttl, 1)  # the smallest is the matter of whoever proposes: members may differ in it
        key, record = lease_key(request.lease_id), RECORD.pack(ttl, 0)
        if not self._environment.tables.lease.put(key, record, overwrite=False):
            raise LeaseExists
        if self.observer is not None:
            self.observer.granted(request.lease_id, ttl)
        return LeaseGrantResponse(self._store.revision, request.lease_id, ttl)

    def _revoke(self, request: LeaseRevokeRequest, term: int) -> LeaseRevokeResponse:
        tables, lease_id = self._environment.tables, request.lease_id
        if request.term and request.term != term:
            raise LeaseNotFound(f"{LeaseNotFound.text}: expired in term {request.term}, which is over")
        if tables.lease.pop(lease_key(lease_id)) is None:
            raise LeaseNotFound
        return self._store.in_this_piece(self._end(lease_id, self._store.delete_leased(lease_id)))

    def _end(self, lease_id: int, deletion: Work[None]) -> Work[LeaseRevokeResponse]:
        yield from deletion
        if self.observer is not None:
            self.observer.revoked(lease_id)
        return LeaseRevokeResponse(self._store.revision)

    def _checkpoint(self, request: LeaseCheckpointRequest) -> LeaseCheckpointResponse:
        lease, meta = self._environment.tables.lease, self._environment.meta
        meta.lease_clock_ms = max(meta.lease_clock_ms, request.clock_ms)
        for lease_id, left_ms in request.left_ms:
            found = self.get(lease_id)
            if found is not None:
                end_ms = meta.lease_clock_ms + min(left_ms, found[0] * 1000) if left_ms > 0 else 0
                lease.put(lease_key(lease_id), RECORD.pack(found[0], end_ms))
        return LeaseCheckpointResponse(self._store.revision)

    # ------------------------------------------------------------------ questions

    @property
    def clock_ms(self) -> int:
        """How late it was on the leases' clock when that was last written down."""
        return self._environment.meta.lease_clock_ms

    def get(self, lease_id: int) -> tuple[int, int] | None:
        """What it was granted for, in seconds, and what is left of it at ``clock_ms``, in ms; 0: not written down."""
        raw = self._environment.tables.lease.get(lease_key(lease_id))
        return None if raw is None else self._decode(raw)

    def _decode(self, raw: bytes) -> tuple[int, int]:
        ttl, end_ms = RECORD.unpack(raw)
        return ttl, max(end_ms - self.clock_ms, 1) if end_ms else 0

    def walk(self, after: int | None, limit: int) -> list[tuple[int, int, int]]:
        """Up to ``limit`` leases behind ``after`` (None: from the first): id, and what :meth:`get` gives."""
        cursor = self._environment.tables.lease
        found: list[tuple[int, int, int]] = []
        more = cursor.first() if after is None else cursor.set_range(lease_key(after))
        if more and after is not None and cursor.key() == lease_key(after):
            more = cursor.next()
        while more and len(found) < limit:
            found.append((LEASE_ID.unpack(cursor.key())[0], *self._decode(cursor.value())))
            more = cursor.next()
        return found

    def ids(self) -> list[int]:
        """Every lease."""
        cursor = self._environment.tables.lease
        cursor.first()
        return [LEASE_ID.unpack(key)[0] for key in cursor.iternext(keys=True, values=False)]

    def keys(self, lease_id: int) -> list[bytes]:
        """The keys that hang on it, in order."""
        walk = self._environment.tables.leased.walk(*keys_of_lease(lease_id))
        return [leased[LEASE_ID.size :] for leased, _ in walk]
