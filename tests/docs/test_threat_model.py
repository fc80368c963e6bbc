"""Every hostile input of the threat model has its test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "threat-model.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows() -> list[str]:
    table = PAGE.read_text("utf-8").partition("## Hostile inputs")[2]
    return [line for line in table.splitlines() if line.startswith("|") and "| --- |" not in line][1:]


def test_every_row_names_a_test_that_is_there() -> None:
    defined: dict[str, set[str]] = {}
    missing = []
    for row in rows():
        named = NAMED.findall(row)
        assert named, f"no test is named: {row}"
        for file, test in named:
            if file not in defined:
                path = ROOT / file
                tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.parse("")
                functions = (ast.FunctionDef, ast.AsyncFunctionDef)
                defined[file] = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
            if test not in defined[file]:
                missing.append(f"{file}::{test}")
    assert not missing
    assert len(rows()) > 15
