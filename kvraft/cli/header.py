"""Who answered, and as of when: what etcd puts before every answer, and the native protocol into none."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kvraft.client import Client


class Header(NamedTuple):
    """``revision`` is the store's; 0 for answers that have none."""

    cluster_id: int
    member_id: int
    revision: int
    raft_term: int


async def header_of(client: Client, revision: int) -> Header:
    """The header of an answer that ``client`` has just got: its member is asked who it is."""
    status = await client.status(client.answering)
    return Header(status.cluster_id, status.member_id, revision, status.term)
