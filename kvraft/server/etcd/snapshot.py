"""Snapshot: one commit of this member's state as a stream, read in a thread, as fast as the client takes it.

The blob is our own format, not a bbolt file: the stream of ``kvraft.storage.snapshot``, zeros up to a multiple of 512
bytes, and the SHA-256 of all that, by whose place etcdctl tells a whole file.
"""

from __future__ import annotations

import hashlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from kvraft.channel import WakeUp
from kvraft.errors import KvraftError, TooManyRequests, Unavailable
from kvraft.logs import fields
from kvraft.version import ETCD_VERSION
from kvraft.wire.etcd import rpc_pb2 as pb

if TYPE_CHECKING:
    from kvraft.server.etcd.call import Call
    from kvraft.server.etcd.services import EtcdServices
    from kvraft.storage.snapshot import SnapshotReader

log = logging.getLogger(__name__)

PADDED_TO = 512


class Snapshot:
    """One call; see ``call.Handler``."""

    def __init__(self, services: EtcdServices, call: Call) -> None:
        self._services = services
        self._call = call
        self._room = WakeUp()
        self._started = False

    def message(self, message: Any) -> None:
        """The request, which is empty."""
        if not self._started:
            self._started = True
            self._services.member.auth.when_known(self._call.credentials, self._refuse, self._begin)

    def _refuse(self, error: object) -> None:
        assert isinstance(error, KvraftError)
        self._call.fail(error)

    def _begin(self) -> None:
        """The whole state holds everybody's keys, and users' password hashes: it is root's. Raises why not."""
        member = self._services.member
        if member.machine.auth.enabled:
            member.machine.access.check_admin(member.auth.who(self._call.credentials))
        member.spawn(self._serve)

    async def _serve(self) -> None:
        try:
            with self._services.member.service.snapshot(self._call) as reader:
                await self._stream(reader)
        except TooManyRequests as error:
            self._call.fail(error)
        except KvraftError as error:
            log.warning("sending a snapshot to a client failed", extra=fields(error=str(error)))
            self._call.fail(Unavailable(f"etcdserver: {error}"))

    async def _stream(self, reader: SnapshotReader) -> None:
        call, member = self._call, self._services.member
        expected = member.machine.db_size_in_use
        digest = hashlib.sha256()
        sent = 0
        while not call.over:
            chunk = await trio.to_thread.run_sync(partial(next, reader, b""))
            last = not chunk
            if last:
                chunk = bytes(-sent % PADDED_TO)
            digest.update(chunk)
            sent += len(chunk)
            if chunk:
                self._send(chunk, 0 if last else max(expected - sent, 1))
            if last:
                self._send(digest.digest(), 0)
                call.end()
                member.wake.set()
                return
            member.wake.set()  # it flushes
            while call.full and not call.over:
                await self._room.wait()

    def _send(self, blob: bytes, remaining_bytes: int) -> None:
        message = pb.SnapshotResponse(remaining_bytes=remaining_bytes, blob=blob, version=ETCD_VERSION)
        self._services.stamp.on(message.header, self._services.member.machine.revision)
        self._call.send(message.SerializeToString())

    def half_closed(self) -> None:
        """It has asked."""

    def drained(self) -> None:
        """The next chunk may come."""
        self._room.set()

    def closed(self) -> None:
        """Whoever streams finds the call over."""
        self._room.set()
