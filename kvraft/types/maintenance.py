"""One member's condition, and the operations that keep it well."""

from __future__ import annotations

import enum

import msgspec


class AlarmType(enum.IntEnum):
    NONE = 0
    """In a request: every type."""
    NOSPACE = 1
    CORRUPT = 2


class AlarmAction(enum.IntEnum):
    GET = 0
    ACTIVATE = 1
    DEACTIVATE = 2


class AlarmMember(msgspec.Struct, frozen=True, array_like=True, gc=False):
    member_id: int
    alarm: int


class StatusRequest(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """Asks this member for its ``Status``."""


class AlarmRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=20):
    """``member_id`` 0: every member."""

    action: int
    member_id: int = 0
    alarm: int = 0


class DefragmentRequest(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Give free space of this member's state file back, while it goes on serving."""


class HashRequest(msgspec.Struct, frozen=True, array_like=True, tag=22):
    """A hash over this member's whole state."""


class HashKVRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=23):
    """A hash over the keys up to ``revision`` (0: the latest), equal on all members at the same compaction."""

    revision: int = 0


class MoveLeaderRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=24):
    """Hand leadership to ``target_id``; only the leader takes it."""

    target_id: int


class DowngradeAction(enum.IntEnum):
    VALIDATE = 0
    ENABLE = 1
    CANCEL = 2


class DowngradeRequest(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=25):
    action: int
    version: str = ""


class SnapshotRequest(msgspec.Struct, frozen=True, array_like=True, tag=26):
    """Asks this member for its whole state, as a stream of ``SnapshotChunk`` under the request's id."""


class Status(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """One member's view of itself. Ids are 64-bit; sizes are bytes; ``leader`` is 0 when there is none."""

    version: str
    cluster_id: int
    member_id: int
    name: str
    leader: int
    term: int
    raft_index: int
    applied_index: int
    revision: int
    db_size: int
    db_size_in_use: int
    is_learner: bool = False
    errors: list[str] = []
    """What is wrong: "etcdserver: no leader", and active alarms as etcd's Status gives them."""
    storage_version: str = ""
    quota_bytes: int = 0


class AlarmResponse(msgspec.Struct, frozen=True, array_like=True, tag=20):
    revision: int
    alarms: list[AlarmMember]


class DefragmentResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=21):
    revision: int


class HashResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=22):
    revision: int
    hash: int


class HashKVResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=23):
    revision: int
    hash: int
    compact_revision: int
    hash_revision: int
    """The revision that was hashed up to."""


class MoveLeaderResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=24):
    revision: int


class SnapshotChunk(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=26):
    """A piece of the state, or with empty ``data`` its end. ``remaining_bytes`` is an estimate."""

    revision: int
    remaining_bytes: int
    data: bytes


class DowngradeResponse(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=25):
    revision: int
    version: str
