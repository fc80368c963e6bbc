"""``kvraft snapshot save|status|restore``, with the flags and outputs of etcdctl's and etcdutl's."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvraft.cli.call import describe
from kvraft.cli.failures import ERROR, INTERRUPTED, CommandError, bad_arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvraft.cli.call import Call
    from kvraft.storage.snapshot_file import Description

COLUMNS = ("hash", "revision", "total keys", "total size", "version")


@contextmanager
def _told(code: int) -> Iterator[None]:
    """What goes wrong becomes one line, and this exit code."""
    from kvraft.errors import KvraftError
    from kvraft.server.config import ConfigError

    try:
        yield
    except (ConfigError, KvraftError, OSError) as error:
        raise CommandError(describe(error).replace("\n", " "), code) from error


def _reason(verb: str, path: str, error: OSError) -> str:
    """As Go words it."""
    return f"{verb} {path}: {(error.strerror or str(error)).lower()}"


def _look_at(verb: str, path: str) -> None:
    """Raises ``CommandError`` when there is nothing to be read."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise CommandError(_reason(verb, path, error)) from error


def _key(call: Call) -> bytes | None:
    """What the file is encrypted with; None when it is not."""
    from kvraft.storage.sealed_file import read_key

    path = call.flag("key-file")
    return read_key(path) if path else None


# -------------------------------------------------------------------------------------------------- save


def save(call: Call) -> None:
    """Store the state of a running member in a file, which appears whole or not at all."""
    import trio

    from kvraft.storage.files import sync_directory
    from kvraft.storage.snapshot_file import describe as check
    from kvraft.version import ETCD_VERSION

    if len(call.arguments) != 1:
        raise bad_arguments("snapshot save expects one argument")
    endpoints = call.options.endpoints
    if len(endpoints) != 1:
        text = f"snapshot must be requested to one selected node, not multiple [{' '.join(endpoints)}]"
        raise CommandError(text, INTERRUPTED)
    (path,) = call.arguments
    partial = f"{path}.part"
    with _told(INTERRUPTED):
        try:
            key = _key(call)
            trio.run(_receive, call, partial, key)
            check(partial, key=key)  # what is kept can be restored
            os.replace(partial, path)
        except BaseException:
            Path(partial).unlink(missing_ok=True)
            raise
        sync_directory(os.path.dirname(os.path.abspath(path)))
    call.say(f"Snapshot saved at {path}", f"Server version {ETCD_VERSION}")


async def _receive(call: Call, path: str, key: bytes | None) -> None:
    """Into a file that only this user can read: the state holds everybody's secrets."""
    import trio

    from kvraft.cli.options import COMMAND_TIMEOUT
    from kvraft.errors import DeadlineExceeded
    from kvraft.storage.sealed_file import SealedWriter

    (endpoint,) = call.options.endpoints
    seconds = call.options.command_timeout if call.is_given(COMMAND_TIMEOUT) else float("inf")
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise CommandError(f"could not open {path} ({_reason('open', path, error)})", INTERRUPTED) from error

    def write(data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]

    try:
        sealed = SealedWriter(write, key) if key is not None else None
        with trio.move_on_after(seconds) as scope:
            async with call.open((endpoint,)) as client, client.snapshot(call.options.url(endpoint)) as chunks:
                async for chunk in chunks:
                    (write if sealed is None else sealed.write)(chunk.data)
                if sealed is not None:
                    sealed.finish()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if scope.cancelled_caught:
        raise DeadlineExceeded


# -------------------------------------------------------------------------------------------------- status


def status(call: Call) -> None:
    """Check a snapshot, and show what it holds."""
    from kvraft.storage.snapshot_file import describe as check

    if len(call.arguments) != 1:
        raise bad_arguments("snapshot status requires exactly one argument")
    _look_at("stat", call.arguments[0])
    with _told(ERROR):
        found = check(call.arguments[0], key=_key(call))
    call.say(*status_lines(call.format, found))


def status_lines(form: str, found: Description) -> list[str]:
    """What a snapshot holds, in the output format ``form``."""
    from kvraft.cli.documents import to_json
    from kvraft.cli.table import draw, human_bytes
    from kvraft.version import ETCD_STORAGE_VERSION

    numbers = {"hash": found.hash, "revision": found.revision, "totalKey": found.total_keys}
    if form == "json":
        return [to_json({**numbers, "totalSize": found.total_bytes, "version": ETCD_STORAGE_VERSION})]
    if form == "fields":
        return [
            f'"Hash" : {found.hash}',
            f'"Revision" : {found.revision}',
            f'"Keys" : {found.total_keys}',
            f'"Size" : {found.total_bytes}',
            f'"Version" : "{ETCD_STORAGE_VERSION}"',
        ]
    size = human_bytes(found.total_bytes)
    row = (f"{found.hash:x}", str(found.revision), str(found.total_keys), size, ETCD_STORAGE_VERSION)
    return draw(COLUMNS, [row]) if form == "table" else [", ".join(row)]


# -------------------------------------------------------------------------------------------------- restore


def restore(call: Call) -> None:
    """Make the data directory of a member of a new cluster."""
    from kvraft.apply.restore import restore as make

    if len(call.arguments) != 1:
        raise bad_arguments("snapshot restore requires exactly one argument")
    bump = call.flag("bump-revision")
    mark = call.line.values.get("mark-compacted", bump > 0)
    if mark != (bump > 0):
        raise bad_arguments("--mark-compacted required if --revision-bump > 0")
    wal_dir = call.flag("wal-dir")
    _look_at("open", call.arguments[0])
    with _told(ERROR):
        make(
            call.arguments[0],
            Path(call.flag("data-dir") or f"{call.flag('name')}.etcd"),
            wal_dir=Path(wal_dir) if wal_dir else None,
            bump_revision=bump,
            mark_compacted=mark,
            verify=not call.flag("skip-hash-check"),
            key=_key(call),
            **_identity(call),
        )


def _identity(call: Call) -> dict[str, Any]:
    """Who the member will be, by the same rules as when it starts with these flags."""
    from kvraft.server.config import MemberConfig, parse_initial_cluster
    from kvraft.server.joining import found

    name, urls = call.flag("name"), call.flag("initial-advertise-peer-urls")
    config = MemberConfig(
        name=name,
        data_dir=Path(),
        listen_client_urls=("http://localhost:2379",),
        advertise_client_urls=("http://localhost:2379",),
        listen_peer_urls=urls,
        initial_advertise_peer_urls=urls,
        initial_cluster=parse_initial_cluster(call.flag("initial-cluster")) or {name: urls},
        initial_cluster_token=call.flag("initial-cluster-token"),
    )
    start = found(config)
    return {"cluster_id": start.cluster_id, "member_id": start.member_id, "members": start.members}
