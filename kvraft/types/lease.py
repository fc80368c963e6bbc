"""Leases: keys that go when nobody keeps them alive. TTLs are whole seconds."""

from __future__ import annotations

import msgspec


class LeaseGrantRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=10):
    """``lease_id`` 0: the member chooses one before it proposes."""

    ttl: int
    lease_id: int = 0


class LeaseRevokeRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=11):
    """End a lease and delete its keys, in one revision.

    ``term`` is 0 from clients; the leader that revokes what has expired sets its own, and apply ignores a revoke of a
    term that is over (etcd #15247).
    """

    lease_id: int
    term: int = 0


class LeaseKeepAliveRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=12):
    """Start the TTL afresh. The leader answers, without a log entry."""

    lease_id: int


class LeaseTimeToLiveRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=13):
    lease_id: int
    keys: bool = False


class LeaseLeasesRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=14):
    """Every lease there is."""


class LeaseCheckpointRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=15):
    """Internal: what is left of leases, so that a new leader does not renew them for free."""

    left_ms: tuple[tuple[int, int], ...]
    """(lease id, what is left of it at ``clock_ms``); 0: nothing is written down of it any more."""
    clock_ms: int = 0
    """How late it is on the leases' clock, which never goes back."""


class LeaseGrantResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=10):
    revision: int
    lease_id: int
    ttl: int


class LeaseRevokeResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=11):
    revision: int


class LeaseKeepAliveResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=12):
    """``ttl`` 0: there is no such lease."""

    revision: int
    lease_id: int
    ttl: int


class LeaseTimeToLiveResponse(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """``ttl`` is what is left, -1 when there is no such lease; ``granted_ttl`` what was asked for."""

    revision: int
    lease_id: int
    ttl: int
    granted_ttl: int = 0
    keys: list[bytes] = []


class LeaseLeasesResponse(msgspec.Struct, frozen=True, array_like=True, tag=14):
    revision: int
    lease_ids: list[int]


class LeaseCheckpointResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=15):
    revision: int
