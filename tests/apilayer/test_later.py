"""What is imported when: a server starts without most of what it can do."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from apilayer.later import Later
from apilayer.server.controllers import CLASSES, ControllerOptions, known
from apilayer.server.run import _import_the_rest

if TYPE_CHECKING:
    from pathlib import Path

    from trio.testing import MockClock

LATER = (
    "apilayer.api.openapi",
    "apilayer.api.validation.containers",
    "apilayer.controllers.garbage_collector",
    "cryptography.x509",
    "h2",
    "jwt",
    "prometheus_client",
    "wsproto",
    "yaml",
)


def test_a_module_is_imported_when_it_is_wanted() -> None:
    later = Later("json.tool")
    assert later.main is later.main
    with pytest.raises(ModuleNotFoundError):
        assert Later("json.nothing").anything
    with pytest.raises(AttributeError):
        assert later.nothing


async def test_what_cannot_be_read_ahead_of_its_use_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, autojump_clock: MockClock
) -> None:
    (tmp_path / "out_of_files.py").write_text("raise OSError(24, 'Too many open files')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("apilayer.later._SOON", [])
    later = [Later(name, soon=True) for name in ("colorsys", "out_of_files")]
    await _import_the_rest()
    assert "a module cannot be loaded ahead of its use: [Errno 24] Too many open files" in caplog.text
    assert "colorsys" in sys.modules
    with pytest.raises(OSError, match="Too many open files"):
        assert later[1].anything


@pytest.mark.slow
def test_a_server_starts_without_most_of_what_it_can_do() -> None:
    text = f"import sys, apilayer.cli.serve, apilayer.server.run; print([m for m in {LATER} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "[]\n"


def test_every_controller_is_where_the_table_says() -> None:
    made = known(ControllerOptions())
    assert set(made) == set(CLASSES)
    for name, path in CLASSES.items():
        module, _, kind = path.rpartition(".")
        assert getattr(__import__(f"apilayer.controllers.{module}", fromlist=[kind]), kind).name == name
