"""The audit log's file: its mode, when it is put aside, what is kept, what happens when the disk is full."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from apilayer.audit import log_file
from apilayer.audit.delivery import WriteError
from apilayer.audit.log_file import Descriptor, LogFile, tidy
from apilayer.audit.rotation import DAY_SECONDS, Backup, Retention, backup_name, backups_of, due

if TYPE_CHECKING:
    from pathlib import Path

KEEP_ALL = Retention()
DAY = 1_700_000_000.0


def test_names_of_former_logs() -> None:
    name = backup_name("audit.log", DAY + 0.25)
    assert name == "audit-2023-11-14T22-13-20.250.log"
    assert backup_name("audit", DAY) == "audit-2023-11-14T22-13-20.000"
    others = ["audit.log", "audit-2023.log", "audit-2023-99-14T22-13-20.250.log", "other-2023-11-14T22-13-20.250.log"]
    assert backups_of("audit.log", [*others, f"{name}.gz", f"{name}.gz.tmp", name]) == [
        Backup(f"{name}.gz", DAY + 0.25, compressed=True),
        Backup(name, DAY + 0.25, compressed=False),
    ]


def test_what_has_to_go() -> None:
    backups = [Backup(str(age), DAY - age * DAY_SECONDS, compressed=age > 1) for age in (0, 1, 2, 5)]
    assert due(backups, KEEP_ALL, DAY) == ([], [])
    assert due(backups, Retention(max_backups=2), DAY) == (["2", "5"], [])
    assert due(backups, Retention(max_age_days=3), DAY) == (["5"], [])
    assert due(backups, Retention(max_backups=3, compress=True), DAY) == (["5"], ["0", "1"])


async def test_the_file_and_its_directory_are_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    file = LogFile(path, 100, KEEP_ALL)
    assert file.write_now([b"a\n"])
    await file.write([b"b\n", b"c\n"])
    await file.aclose()
    assert path.read_bytes() == b"a\nb\nc\n"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    again = LogFile(path, 100, KEEP_ALL)
    again.write_now([b"d\n"])
    await again.aclose()
    assert path.read_bytes() == b"a\nb\nc\nd\n"


async def rotated(path: Path, count: int) -> None:
    """Until so many former logs are there and nothing goes on any more."""
    while len(backups_of(path.name, os.listdir(path.parent))) < count:
        await trio.lowlevel.checkpoint()


async def test_a_full_file_is_put_aside_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_bytes(b"x" * 95)
    file = LogFile(path, 100, KEEP_ALL)
    lines = [b"%d\n" % number for number in range(200)]
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(file.run)
            for number, line in enumerate(lines):
                file.write_now([line]) if number % 2 else await file.write([line])
                await trio.lowlevel.checkpoint()
            await rotated(path, 2)
            nursery.cancel_scope.cancel()
    await file.aclose()
    former = sorted(backups_of("audit.log", os.listdir(tmp_path)), key=lambda backup: backup.seconds)
    whole = b"".join((tmp_path / backup.name).read_bytes() for backup in former) + path.read_bytes()
    assert whole == b"x" * 95 + b"".join(lines)


async def test_former_files_are_compressed_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    for age in range(4):
        (tmp_path / backup_name("audit.log", DAY - age)).write_bytes(b"%d" % age)
    tidy(path, Retention(max_backups=2, compress=True))
    names = [backup_name("audit.log", DAY - age) + ".gz" for age in (1, 0)]
    assert sorted(os.listdir(tmp_path)) == names
    assert gzip.decompress((tmp_path / names[0]).read_bytes()) == b"1"
    assert (tmp_path / names[0]).stat().st_mode & 0o777 == 0o600


async def test_an_event_larger_than_the_file_may_be_is_refused(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "audit.log", 10, KEEP_ALL)
    with pytest.raises(WriteError, match=r"^write length 11 exceeds maximum file size 10$"):
        file.write_now([b"x" * 11])
    await file.aclose()


async def test_a_directory_that_nobody_may_write_to_leaves_the_file_open(tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(_path: Path) -> int:
        raise PermissionError(13, "Permission denied")

    file = LogFile(tmp_path / "audit.log", 10, KEEP_ALL)
    monkeypatch.setattr(log_file, "_opened", refuse)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        for _ in range(3):
            file.write_now([b"12345\n"])
        with trio.fail_after(10):
            while "cannot be put aside: Permission denied" not in caplog.text:
                await trio.lowlevel.checkpoint()
        file.write_now([b"12345\n"])
        nursery.cancel_scope.cancel()
    await file.aclose()
    written = sum(len((tmp_path / name).read_bytes()) for name in os.listdir(tmp_path))
    assert written == 24


async def test_a_line_that_does_not_fit_the_disk_is_taken_back(tmp_path: Path, monkeypatch) -> None:
    real = os.write

    def half(descriptor: int, data: bytes) -> int:
        if len(data) < 4:
            raise OSError(28, "No space left on device")
        return real(descriptor, data[: len(data) // 2])

    file = LogFile(tmp_path / "audit.log", 100, KEEP_ALL)
    file.write_now([b"first\n"])
    monkeypatch.setattr(os, "write", half)
    with pytest.raises(WriteError, match="No space left on device"):
        file.write_now([b"second\n"])
    monkeypatch.undo()
    file.write_now([b"third\n"])
    await file.aclose()
    assert (tmp_path / "audit.log").read_bytes() == b"first\nthird\n"


async def test_a_pipe_that_nobody_reads_holds_up_nobody_else(autojump_clock) -> None:
    reading, writing = os.pipe()
    sink = Descriptor(writing)
    assert not sink.write_now([b"x"])
    await sink.write([b"a\n", b"b\n"])
    assert os.read(reading, 100) == b"a\nb\n"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sink.write, [b"x" * 1_000_000])
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    os.close(reading)
    with pytest.raises(WriteError, match="Broken pipe"):
        await sink.write([b"x"])
    os.close(writing)
