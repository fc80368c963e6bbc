"""The header that every answer carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.wire.etcd.rpc_pb2 import ResponseHeader


class Stamp:
    """Fills in headers: whose answer it is, and in which term it was given."""

    __slots__ = ("_cluster_id", "_member_id", "_term")

    def __init__(self, cluster_id: int, member_id: int, term: Callable[[], int]) -> None:
        self._cluster_id = cluster_id
        self._member_id = member_id
        self._term = term

    def on(self, header: ResponseHeader, revision: int = 0) -> None:
        """Fill ``header``; ``revision`` 0 is left out, as etcd does where the store has no part in the answer."""
        header.cluster_id = self._cluster_id
        header.member_id = self._member_id
        header.raft_term = self._term()
        if revision:
            header.revision = revision
