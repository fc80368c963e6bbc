"""A member's data directory from a snapshot: the state as it was, under a new cluster's name and a later revision.

Watchers of the lost cluster may have seen revisions that the snapshot does not have. Those numbers must never be given
out again for something else: so the revision goes up by more than the snapshot can lack, and everything below counts
as compacted. A watch that comes back is told so, and starts anew, instead of being served another history.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from kvraft.mvcc.compaction import begin_compaction
from kvraft.raft.messages import Configuration
from kvraft.storage.errors import StorageError, storage_error
from kvraft.storage.files import sync_directory
from kvraft.storage.log import LogStore
from kvraft.storage.snapshot import SnapshotWriter
from kvraft.storage.snapshot_file import describe, frames
from kvraft.storage.state import FILE, MAP_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    from kvraft.storage.snapshot_file import Description
    from kvraft.storage.tables import StateMeta
    from kvraft.types import MemberInfo


def restore(
    snapshot: str,
    data_dir: Path,
    *,
    wal_dir: Path | None = None,
    cluster_id: int,
    member_id: int,
    members: tuple[MemberInfo, ...],
    bump_revision: int,
    mark_compacted: bool,
    verify: bool = True,
    key: bytes | None = None,
) -> Description:
    """Make ``data_dir`` the data of member ``member_id`` of the new cluster; the snapshot's description.

    ``key`` opens a sealed snapshot. The snapshot is read as a whole first. The directory appears at once or not at all,
    and must not be there, or be empty. Raises :class:`StorageError`.
    """
    for flag, directory in (("data-dir", data_dir), ("wal-dir", wal_dir)):
        if directory is not None and directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise StorageError(f'{flag} "{directory}" not empty or could not be read')
    description = describe(snapshot, verify=verify, key=key)
    beside = data_dir.with_name(f"{data_dir.name}.restoring")
    log_dir = wal_dir or beside / "member" / "log"
    try:
        shutil.rmtree(beside, ignore_errors=True)  # of an attempt that was cut off
        (beside / "member" / "state").mkdir(parents=True, mode=0o700)

        def adopt(meta: StateMeta) -> None:
            meta.cluster_id = cluster_id
            meta.configuration = Configuration(tuple(sorted(member.member_id for member in members)))
            meta.members, meta.removed, meta.alarms = members, (), ()
            meta.revision += bump_revision
            if mark_compacted and meta.revision > meta.compacted_revision:
                begin_compaction(meta, meta.revision)

        writer = SnapshotWriter(
            str(beside / "member" / "state" / FILE),
            cluster_id=None,
            member_id=member_id,
            map_bytes=MAP_BYTES,
            sync=True,
            verify=verify,
        )
        try:
            for frame in frames(snapshot, verify=verify, key=key):
                writer.write(frame)
            meta = writer.finish(adopt)
        except BaseException:
            writer.abort()
            raise
        log = LogStore.open(log_dir)
        try:
            log.initialise(cluster_id, member_id)
            log.align(meta)
        finally:
            log.close()
        if data_dir.exists():
            data_dir.rmdir()
        os.rename(beside, data_dir)
        sync_directory(str(data_dir.absolute().parent))
    except BaseException as error:
        shutil.rmtree(beside, ignore_errors=True)
        if isinstance(error, OSError):
            raise storage_error(str(data_dir), error) from error
        raise
    return description
