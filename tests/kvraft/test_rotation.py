"""Log files that are put aside when they have grown: nothing is lost, and as many are kept as was said."""

from __future__ import annotations

import gzip
import json
import logging
import os
import time
from datetime import datetime
from itertools import count
from typing import TYPE_CHECKING

import pytest

from kvraft.cli.serve import load
from kvraft.logs import configure
from kvraft.rotation import DAY_SECONDS, RotatingFile, Rotation

if TYPE_CHECKING:
    from datetime import tzinfo
    from pathlib import Path

LINE = "x" * 99


def _handler(path: Path, rotation: Rotation) -> RotatingFile:
    handler = RotatingFile(str(path), rotation)
    handler.setFormatter(logging.Formatter("%(message)s"))
    return handler


def _write(handler: RotatingFile, lines: int) -> None:
    for _ in range(lines):
        handler.emit(logging.LogRecord("kvraft", logging.INFO, "", 0, LINE, None, None))


def _aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.stem}-*"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the log goes. Tidying is done on the spot, so that its end need not be waited for."""

    class AtOnce:
        def __init__(self, target: object, **_: object) -> None:
            self.start = target

    monkeypatch.setattr("kvraft.rotation.threading.Thread", AtOnce)
    return tmp_path / "store.log"


@pytest.fixture
def stamps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock whose every look is a second later."""
    seconds = count(1_800_000_000)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            return cls.fromtimestamp(next(seconds), tz)

    monkeypatch.setattr("kvraft.rotation.datetime", Clock)


@pytest.mark.usefixtures("stamps")
def test_every_line_is_in_some_file_and_none_grows_too_large(path: Path) -> None:
    handler = _handler(path, Rotation(max_bytes=1000))
    _write(handler, 35)
    handler.close()
    assert [len(each.read_text().splitlines()) for each in (*_aside(path), path)] == [10, 10, 10, 5]
    assert _aside(path)[0].name == "store-2027-01-15T08-00-00.000.log"


@pytest.mark.usefixtures("stamps")
def test_so_many_are_kept_and_compressed(path: Path) -> None:
    foreign = path.with_name("store-notes.log")
    foreign.write_text("not ours")
    handler = _handler(path, Rotation(max_bytes=1000, max_backups=2, compress=True))
    _write(handler, 55)
    handler.close()
    kept = [each for each in _aside(path) if each != foreign]
    assert [each.name for each in kept] == [f"store-2027-01-15T08-00-0{second}.000.log.gz" for second in (3, 4)]
    assert gzip.decompress(kept[0].read_bytes()).decode().splitlines() == [LINE] * 10
    assert foreign.read_text() == "not ours"


@pytest.mark.usefixtures("stamps")
def test_what_is_too_old_goes(path: Path) -> None:
    handler = _handler(path, Rotation(max_bytes=1000, max_age_days=2))
    _write(handler, 10)
    (old,) = _aside(path)
    past = time.time() - 3 * DAY_SECONDS
    os.utime(old, (past, past))
    _write(handler, 10)
    handler.close()
    assert old not in _aside(path)
    assert len(_aside(path)) == 1


@pytest.mark.usefixtures("stamps")
def test_a_file_that_cannot_be_put_aside_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no renaming here")

    handler = _handler(path, Rotation(max_bytes=1000))
    with monkeypatch.context() as patch:
        patch.setattr("kvraft.rotation.os.rename", refuse)
        _write(handler, 15)
    _write(handler, 10)
    handler.close()
    assert capsys.readouterr().err == f"kvraft: cannot put {path} aside: no renaming here\n"
    assert sum(len(each.read_text().splitlines()) for each in (*_aside(path), path)) == 25


def test_the_flags_lead_to_it(path: Path) -> None:
    flags = ["--enable-log-rotation", f"--log-outputs=stderr,{path}", '--log-rotation-config-json={"maxsize": 1}']
    config = load(flags, {}).log
    assert config.rotation == Rotation(max_bytes=1 << 20)
    try:
        configure(config)
        logging.getLogger("kvraft").info("hello")
        assert json.loads(path.read_text())["msg"] == "hello"
    finally:
        configure()
