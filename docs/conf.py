"""Sphinx settings. The command-line reference is generated from the parsers, so that it cannot lie."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

os.environ["COLUMNS"] = "100"

project = "kvraft"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "changes.d"]
html_theme = "alabaster"
html_theme_options = {"description": "A replicated store and a Kubernetes API server, in Python"}
myst_heading_anchors = 3


PROGRAMS = {
    "kvraft": ("kvraft.cli.main", ["serve"]),
    "apilayer": ("apilayer.cli.main", ["up", "status", "down", "serve"]),
    "jepsen": ("jepsen.cli.main", ["sim"]),
}


def write_cli_reference() -> None:
    """One page per program: its help, and that of each of its commands."""
    for program, (module, commands) in PROGRAMS.items():
        lines = [f"# {program}", ""]
        for words in ([], *(command.split() for command in commands)):
            help_text = subprocess.run(  # noqa: S603 - our own commands, asked for their help
                [sys.executable, "-m", module, *words, "--help"], capture_output=True, text=True, check=True
            ).stdout
            if words:
                lines += [f"## {program} {' '.join(words)}", ""]
            lines += ["```text", help_text.rstrip(), "```", ""]
        page = Path(__file__).parent / "reference" / f"cli-{program}.md"
        text = "\n".join(lines)
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


write_cli_reference()
