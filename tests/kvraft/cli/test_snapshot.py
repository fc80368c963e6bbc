"""``kvraft snapshot``: saved from a member under load, looked at, restored into a cluster that goes on from it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import trio

from kvraft.channel import dial
from kvraft.cli.main import main
from kvraft.cli.rows_cluster import BUMP_REVISION
from kvraft.cli.table import human_bytes
from kvraft.client import open_client
from kvraft.client.snapshot import open_snapshot
from kvraft.errors import Compacted, KvraftError, TooManyRequests
from kvraft.server.service import MAX_SNAPSHOTS, Peer
from kvraft.storage.errors import SnapshotError, StorageError
from kvraft.storage.snapshot_file import describe
from kvraft.types import SnapshotRequest
from kvraft.wire import native
from tests.kvraft.members import Members, open_members, until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from kvraft.client import Client

EVERYTHING = (b"\0", b"\0")


async def _kvraft(*words: str) -> int:
    """Run a command as the process would; it has a loop of its own."""
    return await trio.to_thread.run_sync(main, list(words))


async def _save(members: Members, path: Path, name: str = "m1") -> Path:
    assert await _kvraft("snapshot", "save", str(path), "--endpoints", members.client_urls[name]) == 0
    return path


async def _saved(tmp_path: Path, fill: Callable[[Client], Awaitable[object]]) -> Path:
    """A snapshot of a cluster that is gone since."""
    async with open_members(tmp_path / "lost", 1) as members, open_client(members.urls) as client:
        await fill(client)
        return await _save(members, tmp_path / "backup.db")


async def _ten_keys(client: Client) -> None:
    for number in range(10):
        await client.put(b"%d" % number, b"old")
    for number in range(10):
        await client.put(b"%d" % number, b"new")
    await client.delete_range(b"9")


def _restore_flags(members: Members, name: str) -> list[str]:
    cluster = ",".join(f"{other}={url}" for other, url in members.peer_urls.items())
    return [
        *("--data-dir", str(members.directory / name), "--name", name, "--initial-cluster", cluster),
        *("--initial-advertise-peer-urls", members.peer_urls[name]),
    ]


async def test_a_restored_cluster_goes_on_from_the_snapshot_and_no_watcher_goes_back(tmp_path: Path) -> None:
    backup = await _saved(tmp_path, _ten_keys)
    async with trio.open_nursery() as nursery:
        members = Members(tmp_path / "new", ["m1", "m2", "m3"], nursery)
        for name in members.client_urls:
            assert await _kvraft("snapshot", "restore", str(backup), *_restore_flags(members, name)) == 0
            members.start(name)
        for member in members.running.values():
            await member.ready.wait()
        async with open_client(members.urls) as client:
            found = await client.range(*EVERYTHING)
            assert [(kv.key, kv.value, kv.version) for kv in found.kvs] == [(b"%d" % n, b"new", 2) for n in range(9)]
            assert found.revision == 22 + BUMP_REVISION
            with pytest.raises(Compacted):
                await client.range(*EVERYTHING, revision=22)
            async with client.watch(*EVERYTHING, start_revision=15) as stream:
                told = await anext(aiter(stream))
                assert (told.compact_revision, told.events) == (22 + BUMP_REVISION, [])
            assert (await client.put(b"9", b"again")).revision == 23 + BUMP_REVISION
        await members.applied_everywhere()
        assert len({member.machine.cluster_id for member in members.running.values()}) == 1
        for name in list(members.running):  # they start again like any other
            await members.stop(name)
            await members.start(name).ready.wait()
        await members.applied_everywhere()
        for name in list(members.running):
            await members.stop(name)


async def test_without_a_bump_the_past_is_there(tmp_path: Path) -> None:
    backup = await _saved(tmp_path, _ten_keys)
    async with trio.open_nursery() as nursery:
        members = Members(tmp_path / "new", ["m1"], nursery)
        flags = [*_restore_flags(members, "m1"), "--bump-revision=0"]
        assert await _kvraft("snapshot", "restore", str(backup), *flags) == 0
        await members.start("m1").ready.wait()
        async with open_client(members.urls) as client:
            assert [kv.value for kv in (await client.range(b"1", revision=11)).kvs] == [b"old"]
            assert (await client.put(b"k", b"v")).revision == 23
        await members.stop("m1")


async def test_a_snapshot_taken_under_load_is_one_moment_of_it(tmp_path: Path) -> None:
    """Each writer writes one number after the other: what was saved must be all of them up to somewhere."""
    acknowledged = [0] * 8
    over = trio.Event()

    async def write(client: Client, place: int) -> None:
        while not over.is_set():
            number = acknowledged[place] + 1
            await client.put(b"%d/%d" % (place, number), bytes(1000))
            acknowledged[place] = number

    async with open_members(tmp_path / "busy", 3) as members, open_client(members.urls) as client:
        async with trio.open_nursery() as nursery:
            for place in range(len(acknowledged)):
                nursery.start_soon(write, client, place)
            await until(lambda: min(acknowledged) >= 20)
            before = list(acknowledged)
            backup = await _save(members, tmp_path / "backup.db", await members.leader())
            after = list(acknowledged)
            await until(lambda: min(acknowledged) > max(after))
            over.set()
        assert sum(after) > sum(before), "writes went on meanwhile"
    async with trio.open_nursery() as nursery:
        restored = Members(tmp_path / "new", ["m1"], nursery)
        assert await _kvraft("snapshot", "restore", str(backup), *_restore_flags(restored, "m1")) == 0
        await restored.start("m1").ready.wait()
        async with open_client(restored.urls) as client:
            keys = [kv.key for kv in (await client.range(*EVERYTHING, keys_only=True)).kvs]
        await restored.stop("m1")
    for place, count in enumerate(before):
        numbers = sorted(int(key.partition(b"/")[2]) for key in keys if key.startswith(b"%d/" % place))
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) >= count, "what was acknowledged before is in it"


async def test_status_shows_what_a_snapshot_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backup = await _saved(tmp_path, _ten_keys)
    assert capsys.readouterr().out.splitlines() == [f"Snapshot saved at {backup}", "Server version 3.6.0"]
    assert os.stat(backup).st_mode & 0o777 == 0o600
    outputs = {}
    for output in ("simple", "json", "table", "fields"):
        assert main(["snapshot", "status", str(backup), "-w", output]) == 0
        outputs[output] = capsys.readouterr().out.rstrip("\n")
    found: dict[str, Any] = json.loads(outputs["json"])
    size = backup.stat().st_size
    assert found == {"hash": found["hash"], "revision": 22, "totalKey": 21, "totalSize": size, "version": "3.6.0"}
    assert outputs["simple"] == f"{found['hash']:x}, 22, 21, {human_bytes(size)}, 3.6.0"
    assert [line.partition(" : ")[0] for line in outputs["fields"].splitlines()] == [
        '"Hash"',
        '"Revision"',
        '"Keys"',
        '"Size"',
        '"Version"',
    ]
    rule, head, _, row, _ = outputs["table"].splitlines()
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        "HASH",
        "REVISION",
        "TOTAL KEYS",
        "TOTAL SIZE",
        "VERSION",
    ]
    assert len(rule) == len(head) == len(row)


@pytest.mark.parametrize("harm", ["cut", "flip", "tail", "text", "empty"])
async def test_a_damaged_snapshot_is_refused_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    backup = await _saved(tmp_path, _ten_keys)
    data = bytearray(backup.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
    harmed = {"cut": data[:-1], "flip": data, "tail": data + b"x", "text": b"hello, this is no snapshot", "empty": b""}
    backup.write_bytes(harmed[harm])
    assert main(["snapshot", "status", str(backup)]) == 1
    assert main(["snapshot", "restore", str(backup), "--data-dir", str(tmp_path / "new")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("Error: ") and str(backup) in line for line in lines)
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "lost"]


async def test_the_file_of_an_etcd_client_is_read_too(tmp_path: Path) -> None:
    """They put the SHA-256 of what they got behind it, as it came."""
    backup = await _saved(tmp_path, _ten_keys)
    plain = describe(str(backup))
    data = backup.read_bytes()
    data += bytes(-len(data) % 512)
    backup.write_bytes(data + hashlib.sha256(data).digest())
    assert describe(str(backup)).revision == plain.revision
    backup.write_bytes(data + hashlib.sha256(data + b"x").digest())
    with pytest.raises(SnapshotError, match="expected sha256"):
        describe(str(backup))


async def test_a_copy_of_a_data_directory_can_be_restored_when_no_checksum_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _saved(tmp_path, _ten_keys)
    state = tmp_path / "lost" / "m1" / "member" / "state" / "state.mdb"
    before = state.read_bytes()
    flags = ["snapshot", "restore", str(state), "--data-dir", str(tmp_path / "new")]
    assert main(flags) == 1
    assert "snapshot missing hash but --skip-hash-check=false" in capsys.readouterr().err
    assert main([*flags, "--skip-hash-check"]) == 0
    assert state.read_bytes() == before
    assert describe(str(tmp_path / "new" / "member" / "state" / "state.mdb"), verify=False).revision > BUMP_REVISION


async def test_a_directory_that_is_there_is_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backup = await _saved(tmp_path, _ten_keys)
    there = tmp_path / "there"
    there.mkdir()
    assert main(["snapshot", "restore", str(backup), "--data-dir", str(there)]) == 0, "an empty one will do"
    before = sorted(there.rglob("*"))
    assert main(["snapshot", "restore", str(backup), "--data-dir", str(there)]) == 1
    assert f'data-dir "{there}" not empty or could not be read' in capsys.readouterr().err
    assert sorted(there.rglob("*")) == before
    shutil.rmtree(there)
    there.write_text("a file")
    assert main(["snapshot", "restore", str(backup), "--data-dir", str(there)]) == 1
    assert there.read_text() == "a file"


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["save", "x", "--endpoints", "a:1,b:2"], "to one selected node, not multiple [a:1 b:2]", 5),
        (["save", "x", "--endpoints", "127.0.0.1:1"], "context deadline exceeded: http://127.0.0.1:1", 5),
        (["save", "x", "y"], "snapshot save expects one argument", 128),
        (["status"], "snapshot status requires exactly one argument", 128),
        (["status", "x", "-w", "protobuf"], "protobuf not supported as output format", 4),
        (["restore"], "snapshot restore requires exactly one argument", 128),
        (["restore", "x", "--mark-compacted=false"], "--mark-compacted required if --revision-bump > 0", 128),
        (["restore", "x", "--bump-revision=0", "--mark-compacted"], "--mark-compacted required", 128),
        (["restore", "x", "--bump-revision=-1"], 'invalid argument "-1" for "--bump-revision" flag', 1),
        (["restore", "/no/such/file"], "open /no/such/file: no such file or directory", 1),
        (
            ["restore", "/dev/null", "--name", "a", "--initial-cluster", "b=http://h:1"],
            'couldn\'t find local name "a"',
            1,
        ),
        (["status", "/no/such/file"], "stat /no/such/file: no such file or directory", 1),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["snapshot", *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


async def test_the_stream_waits_for_a_client_that_reads_nothing(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        for number in range(40):
            await client.put(b"%d" % number, bytes(1_000_000))
        (member,) = members.running.values()
        channel = await dial(members.urls[0], None)
        await channel.send(native.PREFACE + native.encode_request((1).to_bytes(4), SnapshotRequest()))
        await until(lambda: member.service.snapshots == 1)
        with trio.move_on_after(0.5):
            await until(lambda: member.counters.client_sent_bytes > 20_000_000)
            raise AssertionError("more and more of it is in memory")
        await client.put(b"meanwhile", b"v")
        channel.close()
        await until(lambda: member.service.snapshots == 0)


async def test_only_so_many_streams_at_once(tmp_path: Path) -> None:
    async with open_members(tmp_path, 1) as members, open_client(members.urls) as client:
        await client.put(b"k", bytes(1_000_000))
        (member,) = members.running.values()
        with member.service.snapshot(Peer()), member.service.snapshot(Peer()):
            assert member.service.snapshots == MAX_SNAPSHOTS
            async with open_snapshot(members.urls[0]) as chunks:
                with pytest.raises(TooManyRequests):
                    await anext(chunks)
        async with open_snapshot(members.urls[0]) as chunks:
            size = sum([len(chunk.data) async for chunk in chunks])
        assert size > 1_000_000
        assert issubclass(StorageError, KvraftError)


async def test_who_saves_is_who_the_flags_and_variables_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_members(tmp_path / "lost", 1, bcrypt_cost=4) as members, open_client(members.urls) as client:
        await client.auth.user_add("root", "secret")
        await client.auth.user_grant_role("root", "root")
        await client.auth.enable()
        words = ("snapshot", "save", str(tmp_path / "backup.db"), "--endpoints", members.urls[0])
        assert await _kvraft(*words) == 5
        assert capsys.readouterr().err == "Error: etcdserver: user name is empty\n"
        assert await _kvraft(*words, "--user=root:wrong") == 5
        assert capsys.readouterr().err.startswith("Error: etcdserver: authentication failed")
        assert await _kvraft(*words, "--user=root:secret", "--command-timeout=30s") == 0
        monkeypatch.setenv("KVRAFTCTL_USER", "root:secret")
        monkeypatch.setenv("KVRAFTCTL_ENDPOINTS", members.urls[0])
        assert await _kvraft("snapshot", "save", str(tmp_path / "again.db")) == 0
        async with (
            open_client(members.urls, user="root", password="secret") as root,
            root.snapshot(members.urls[0]) as chunks,
        ):
            assert sum([len(chunk.data) async for chunk in chunks]) > 0, "it logs in when it is asked to"
    assert describe(str(tmp_path / "backup.db")).revision == describe(str(tmp_path / "again.db")).revision == 1


@pytest.mark.slow
async def test_what_etcdctl_saves_can_be_restored(tmp_path: Path) -> None:
    if shutil.which("etcdctl") is None:
        pytest.skip("etcdctl is not installed")
    backup = tmp_path / "etcdctl.db"
    async with open_members(tmp_path / "lost", 1) as members, open_client(members.urls) as client:
        await _ten_keys(client)
        command = ["etcdctl", "--endpoints", members.urls[0], "snapshot", "save", str(backup)]
        environment = {**os.environ, "ETCDCTL_API": "3"}
        done = await trio.run_process(command, env=environment, capture_stdout=True, capture_stderr=True)
        assert b"Snapshot saved at" in done.stdout
    assert describe(str(backup)).revision == 22
    assert main(["snapshot", "restore", str(backup), "--data-dir", str(tmp_path / "new")]) == 0


async def test_an_encrypted_snapshot(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    key, other = tmp_path / "key", tmp_path / "other"
    key.write_bytes(b"k" * 32)
    other.write_bytes(b"o" * 32)
    plain, sealed = str(tmp_path / "plain.db"), str(tmp_path / "sealed.db")
    async with open_members(tmp_path / "lost", 1) as members, open_client(members.urls) as client:
        await client.put(b"canary-key", b"canary-value")
        ends = ("--endpoints", members.client_urls["m1"])
        assert await _kvraft("snapshot", "save", sealed, "--key-file", str(key), *ends) == 0
        assert await _kvraft("snapshot", "save", plain, *ends) == 0
    assert b"canary-value" in (tmp_path / "plain.db").read_bytes()
    assert b"canary" not in (tmp_path / "sealed.db").read_bytes()
    assert os.stat(sealed).st_mode & 0o777 == 0o600
    capfd.readouterr()
    restore = ("restore", sealed, "--data-dir", str(tmp_path / "new"))
    for words, reason in (
        (("status", sealed), "the snapshot is encrypted: its key is needed (--key-file)"),
        (("status", sealed, "--key-file", str(other)), "the key does not fit"),
        (("status", plain, "--key-file", str(key)), "the snapshot is not encrypted: leave out --key-file"),
        (("status", sealed, "--key-file", str(tmp_path / "none")), "none"),
        (restore, "the snapshot is encrypted"),
        ((*restore, "--key-file", str(other)), "the key does not fit"),
    ):
        assert await _kvraft("snapshot", *words) != 0
        assert reason in capfd.readouterr().err
        assert not (tmp_path / "new").exists()
    assert await _kvraft("snapshot", "status", sealed, "--key-file", str(key)) == 0
    assert await _kvraft("snapshot", *restore, "--key-file", str(key)) == 0
    assert (tmp_path / "new" / "member").is_dir()
