"""Sphinx settings. The command-line reference is generated from the parsers, so that it cannot lie."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["COLUMNS"] = "100"

project = "kvraft"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "changes.d/README.md"]
html_theme = "alabaster"
html_theme_options = {"description": "A replicated store and a Kubernetes API server, in Python"}
myst_heading_anchors = 3


def write_cli_reference() -> None:
    """One page per program: the help of each of its commands."""
    import apilayer.cli.main
    import jepsen.cli.main

    import kvraft.cli.main

    for module in (kvraft.cli.main, apilayer.cli.main, jepsen.cli.main):
        parser = module.build_parser()
        lines = [f"# {parser.prog}", "", "```text", parser.format_help().rstrip(), "```", ""]
        for action in parser._actions:
            commands = action.choices if isinstance(action.choices, dict) else {}
            for name, command in sorted(commands.items()):
                lines += [f"## {parser.prog} {name}", "", "```text", command.format_help().rstrip(), "```", ""]
        page = Path(__file__).parent / "reference" / f"cli-{parser.prog}.md"
        text = "\n".join(lines)
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


write_cli_reference()
