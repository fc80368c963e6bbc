"""What the terminal shows."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apilayer.cli.cluster.screen import Screen, as_typed, next_text, status_text, table

if TYPE_CHECKING:
    import pytest

VIEW: dict[str, Any] = {
    "members": [
        {
            "name": "kvraft-1",
            "pid": 11,
            "clientURL": "https://127.0.0.1:2379",
            "peerURL": "https://127.0.0.1:2380",
            "leader": True,
            "term": 2,
            "appliedIndex": 7,
            "revision": 5,
            "error": "",
        },
        {
            "name": "kvraft-2",
            "pid": None,
            "clientURL": "https://127.0.0.1:22379",
            "peerURL": "https://127.0.0.1:22380",
            "leader": False,
            "term": None,
            "appliedIndex": None,
            "revision": None,
            "error": "https://127.0.0.1:22379: connection refused",
        },
    ],
    "apiservers": [{"name": "apiserver", "pid": 14, "url": "https://127.0.0.1:6443", "ready": True, "error": ""}],
}


def test_the_status_table() -> None:
    lines = status_text(VIEW).splitlines()
    assert lines[0].split() == [
        "MEMBER",
        "PID",
        "CLIENT",
        "URL",
        "PEER",
        "URL",
        "LEADER",
        "TERM",
        "APPLIED",
        "REVISION",
    ]
    assert lines[1].split() == [
        "kvraft-1",
        "11",
        "https://127.0.0.1:2379",
        "https://127.0.0.1:2380",
        *["yes", "2", "7", "5"],
    ]
    assert lines[2].split()[:3] == ["kvraft-2", "-", "https://127.0.0.1:22379"]
    assert lines[2].endswith("connection refused")
    assert lines[5].split() == ["apiserver", "14", "https://127.0.0.1:6443", "yes"]


def test_columns_are_aligned_by_their_widest_cell() -> None:
    assert table([("A", "B"), ("long", 1), ("x", None)]) == ["A     B", "long  1", "x     -"]


class Gone(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_a_stream_that_is_gone_does_not_keep_the_others_from_hearing() -> None:
    heard = io.StringIO()
    screen = Screen(Gone(), heard)
    screen.line("one")
    screen.line("two")
    assert heard.getvalue() == "one\ntwo\n"


def test_a_program_is_called_as_a_shell_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "a b" / "apilayer"
    assert as_typed(program, tmp_path) == "apilayer", "it is not there: some other way led here"
    program.parent.mkdir()
    program.touch(mode=0o755)
    assert as_typed(program, tmp_path) == "'a b/apilayer'"
    assert as_typed(program, tmp_path / "elsewhere") == f"'{program}'"
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    assert as_typed(program, tmp_path) == "apilayer"


def test_what_to_type_next() -> None:
    text = next_text(Path("/my data"), is_default=False, detached=True, ephemeral=False)
    assert "export KUBECONFIG='/my data/kubeconfig'\n  kubectl get ns" in text
    assert "apilayer down --data-dir '/my data'" in text
    text = next_text(Path("/data"), is_default=True, detached=False, ephemeral=True)
    assert "--data-dir" not in text
    assert text.endswith("Ctrl-C stops the cluster; the data goes with it.")
