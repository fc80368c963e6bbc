"""Flags of admission."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import names

if TYPE_CHECKING:
    import argparse


def add_admission(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of admission."""
    admission = parser.add_argument_group("admission")
    admission.add_argument(
        "--enable-admission-plugins",
        type=names,
        default=(),
        metavar="NAME,...",
        help="on besides those that are by default",
    )
    admission.add_argument(
        "--disable-admission-plugins", type=names, default=(), metavar="NAME,...", help="off, though on by default"
    )
    admission.add_argument(
        "--admission-control", type=names, default=(), metavar="NAME,...", help="these and no others (old spelling)"
    )
    admission.add_argument(
        "--admission-control-config-file",
        type=Path,
        metavar="FILE",
        help="AdmissionConfiguration, for plugins that take one",
    )
