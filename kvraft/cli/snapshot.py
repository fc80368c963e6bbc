"""``kvraft snapshot save|status|restore``, with the flags and outputs of etcdctl's and etcdutl's."""

from __future__ import annotations

import argparse
import os
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kvraft.cli.snapshot_print import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable

ERROR, BAD_CONNECTION, BAD_ARGUMENTS = 1, 2, 128
"""Exit codes of etcd's tools."""
_BOOLEANS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}


class CommandError(Exception):
    """What went wrong, in one line, and the exit code for it."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.code = code


def _boolean(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise argparse.ArgumentTypeError(f'invalid boolean value "{text}"')
    return _BOOLEANS[text.lower()]


def _list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and what stands below it."""
    parser = commands.add_parser("snapshot", help="save, look at and restore a member's whole state")
    verbs = parser.add_subparsers(dest="verb", metavar="SUBCOMMAND", required=True)
    _add_save(verbs)
    _add_status(verbs)
    _add_restore(verbs)


def _add_save(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("save", help="store the state of a running member in a file", allow_abbrev=False)
    parser.set_defaults(run=_with_errors(_save))
    add = parser.add_argument
    add("filename")
    add("--endpoints", type=_list, default=("127.0.0.1:2379",), help="the member to ask (%(default)s)")
    add("--cacert", default="", help="verify the member's certificate by this CA")
    add("--cert", default="", help="client certificate")
    add("--key", default="", help="its key")
    add("--insecure-skip-tls-verify", type=_boolean, nargs="?", const=True, default=False, metavar="BOOL")
    add("--command-timeout", type=float, default=30.0, metavar="SECONDS", help="how long the stream may stand still")


def _add_status(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser("status", help="check a snapshot and show what it holds", allow_abbrev=False)
    parser.set_defaults(run=_with_errors(_status))
    parser.add_argument("filename")
    parser.add_argument("-w", "--write-out", choices=tuple(FORMATS), default="simple", help="the output (%(default)s)")


def _add_restore(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from kvraft.apply.restore import BUMP_REVISION

    parser = verbs.add_parser("restore", help="make a member's data directory of a snapshot", allow_abbrev=False)
    parser.set_defaults(run=_with_errors(_restore))
    add = parser.add_argument
    add("filename")
    add("--data-dir", default="", help="the directory to make (NAME.etcd)")
    add("--wal-dir", default="", help="a directory of its own for the log")
    add("--name", default="default", help="name of this member (%(default)s)")
    add("--initial-cluster", default="", help="every member: name=peer-url,name=peer-url")
    add("--initial-cluster-token", default="etcd-cluster", help="keeps clusters apart (%(default)s)")
    add("--initial-advertise-peer-urls", type=_list, default=("http://localhost:2380",), help="this member's peer URLs")
    add("--skip-hash-check", type=_boolean, nargs="?", const=True, default=False, metavar="BOOL",
        help="take a wrong checksum, or a copy of a data directory's state.mdb, which has none")  # fmt: skip
    add("--bump-revision", type=int, default=BUMP_REVISION, metavar="N",
        help="how much later the revision will be, so that no watcher goes back in time (%(default)s)")  # fmt: skip
    add("--mark-compacted", type=_boolean, nargs="?", const=True, default=None, metavar="BOOL",
        help="count all before as compacted; required with a bump (true, unless --bump-revision=0)")  # fmt: skip
    add("--initial-memory-map-size", type=int, default=0, help=argparse.SUPPRESS)


def _with_errors(run: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], int]:
    def guarded(args: argparse.Namespace) -> int:
        from kvraft.errors import KvraftError, Unavailable
        from kvraft.server.tls import ConfigError

        try:
            run(args)
        except CommandError as error:
            return _fail(error, error.code)
        except Unavailable as error:
            return _fail(error, BAD_CONNECTION)
        except (ConfigError, KvraftError, OSError) as error:
            return _fail(error, ERROR)
        return 0

    return guarded


def _fail(error: Exception, code: int) -> int:
    print(f"Error: {error}".replace("\n", " "), file=sys.stderr)
    return code


def _save(args: argparse.Namespace) -> None:
    if len(args.endpoints) != 1:
        given = " ".join(args.endpoints)
        raise CommandError(f"snapshot must be requested to one selected node, not multiple [{given}]", BAD_ARGUMENTS)
    import trio

    from kvraft.storage.snapshot_file import describe
    from kvraft.version import ETCD_VERSION

    url = args.endpoints[0]
    secure = bool(args.cacert or args.cert or args.insecure_skip_tls_verify)
    url = url if "://" in url else f"{'https' if secure else 'http'}://{url}"
    partial = f"{args.filename}.part"
    try:
        trio.run(_receive, url, _client_context(args) if url.startswith("https:") else None, partial, args)
        describe(partial)  # what is kept can be restored
        os.replace(partial, args.filename)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    from kvraft.storage.files import sync_directory

    sync_directory(os.path.dirname(os.path.abspath(args.filename)))
    print(f"Snapshot saved at {args.filename}")
    print(f"Server version {ETCD_VERSION}")


def _client_context(args: argparse.Namespace) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=args.cacert or None)
    if args.insecure_skip_tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if args.cert:
        context.load_cert_chain(args.cert, args.key or None, password="")
    return context


async def _receive(url: str, context: ssl.SSLContext | None, path: str, args: argparse.Namespace) -> None:
    """Into a file that only this user can read: the state holds everybody's secrets."""
    from kvraft.client.snapshot import open_snapshot

    async with open_snapshot(url, ssl_context=context, stall_seconds=args.command_timeout) as chunks:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            async for chunk in chunks:
                left = memoryview(chunk.data)
                while left:
                    left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _status(args: argparse.Namespace) -> None:
    from kvraft.storage.snapshot_file import describe

    print(FORMATS[args.write_out](describe(args.filename)))


def _restore(args: argparse.Namespace) -> None:
    from kvraft.apply.restore import restore

    bump, mark = args.bump_revision, args.mark_compacted
    if bump < 0:
        raise CommandError(f"--bump-revision must be 0 or more (set to {bump})", BAD_ARGUMENTS)
    mark = bump > 0 if mark is None else mark
    if mark != (bump > 0):
        raise CommandError("--mark-compacted required if --revision-bump > 0", BAD_ARGUMENTS)
    identity = _identity(args)
    restore(
        args.filename,
        Path(args.data_dir or f"{args.name}.etcd"),
        wal_dir=Path(args.wal_dir) if args.wal_dir else None,
        bump_revision=bump,
        mark_compacted=mark,
        verify=not args.skip_hash_check,
        **identity,
    )


def _identity(args: argparse.Namespace) -> dict[str, Any]:
    """Who the member will be, by the same rules as when it starts with these flags."""
    from kvraft.server.config import MemberConfig, parse_initial_cluster
    from kvraft.server.joining import found

    urls = args.initial_advertise_peer_urls
    config = MemberConfig(
        name=args.name,
        data_dir=Path(),
        listen_client_urls=("http://localhost:2379",),
        advertise_client_urls=("http://localhost:2379",),
        listen_peer_urls=urls,
        initial_advertise_peer_urls=urls,
        initial_cluster=parse_initial_cluster(args.initial_cluster) or {args.name: urls},
        initial_cluster_token=args.initial_cluster_token,
    )
    start = found(config)
    return {"cluster_id": start.cluster_id, "member_id": start.member_id, "members": start.members}
