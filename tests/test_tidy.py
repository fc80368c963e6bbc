"""The repository keeps itself in order: short files, no dead files, nothing left for later."""

from __future__ import annotations

import re
import statistics
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("kvraft", "apilayer", "jepsen")
MAX_LINES = 500
LONGER = {"kvraft/raft/core.py"}
"""The raft core stands in one file on purpose."""

UNFINISHED = ("TO" + "DO", "FIX" + "ME", "XX" + "X", "NotImplemented" + "Error")
DOCSTRING = re.compile(r'(?:#.*\n|\s)*r?"""\s*[^"\s]')


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


ALL = sources(*PACKAGES, "tests")
PRODUCT = sources(*PACKAGES)


def test_no_file_is_too_long(capsys: pytest.CaptureFixture[str]) -> None:
    lengths = {relative(path): len(path.read_text("utf-8").splitlines()) for path in ALL}
    of_product = sorted(lengths[relative(path)] for path in PRODUCT)
    with capsys.disabled():
        print(
            f"\n{len(PRODUCT)} product files: median {statistics.median(of_product):.0f} lines, "
            f"longest {of_product[-1]}"
        )
    too_long = {name: length for name, length in lengths.items() if length > MAX_LINES and name not in LONGER}
    assert not too_long, f"more than {MAX_LINES} lines"


def test_every_module_says_what_it_is_for() -> None:
    silent = [relative(path) for path in PRODUCT if not DOCSTRING.match(path.read_text("utf-8"))]
    assert not silent, "a docstring says what may live in a module"


def test_nothing_is_left_for_later() -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in ALL
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if any(word in line for word in UNFINISHED)
    ]
    assert not found


IMPORT = re.compile(r"^[ \t]*(?:from ([\w.]+) )?import (\((?:[^#)]|#.*)*\)|.*)", re.MULTILINE)
QUOTED = re.compile(r"""["']([\w.]+)["']""")


def imported_by(path: Path, known: set[str]) -> set[str]:
    """The modules of the product that a file imports, or names in a string as ``python -m`` and entry points do.

    By expressions: to parse every file takes twenty times as long.
    """
    text = path.read_text("utf-8")
    names = set(QUOTED.findall(text))
    for module, imported in IMPORT.findall(text):
        words = re.findall(r"[\w.]+", imported)
        names.update((module, *(f"{module}.{word}" for word in words)) if module else words)
    return names & known - {module_name(path)}


def commands() -> set[str]:
    """Modules of a ``cli`` package that its ``main``, or a row of its commands, names: imported only when asked for."""
    named: set[str] = set()
    for path in PRODUCT:
        if path.parent.name != "cli":
            continue
        tables = [path.with_name("main.py"), *path.parent.glob("rows_*.py")]
        word = re.compile(rf'"{path.stem}[".]')
        if any(word.search(table.read_text("utf-8")) for table in tables if table.is_file()):
            named.add(module_name(path))
    return named


def test_every_module_is_used() -> None:
    known = {module_name(path) for path in PRODUCT}
    used = set().union(*(imported_by(path, known) for path in ALL), commands())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    used.update(target.partition(":")[0] for target in project["scripts"].values())
    packages = {module_name(path) for path in PRODUCT if path.name in ("__init__.py", "__main__.py")}
    assert sorted(known - used - packages) == [], "neither imported nor an entry point"


def test_every_folder_of_the_product_is_a_package() -> None:
    bare = {relative(path.parent) for path in PRODUCT if not (path.parent / "__init__.py").is_file()}
    assert not bare, "without __init__.py"


def test_exceptions_from_the_rules_of_security_have_a_reason() -> None:
    bare = re.compile(r"# noqa: (?:[A-Z]+\d+, )*S\d+(?:, [A-Z]+\d+)*\s*$")
    found = [
        f"{relative(path)}:{number}"
        for path in ALL
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if bare.search(line)
    ]
    assert not found, "say why the rule does not hold here"
