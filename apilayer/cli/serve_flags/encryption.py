"""Flags of sealing values in the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import add_truth

if TYPE_CHECKING:
    import argparse


def add_encryption(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of encryption at rest."""
    encryption = parser.add_argument_group("encryption at rest")
    encryption.add_argument(
        "--encryption-provider-config",
        type=Path,
        metavar="FILE",
        help="an EncryptionConfiguration (default: Secrets are sealed with AES-256-GCM; the key is made on the first"
        " start, in encryption.yaml beside the key that signs tokens, or beside the server's)",
    )
    add_truth(
        encryption,
        "--encryption-provider-config-automatic-reload",
        "take up changes of that file while running",
        default=False,
    )
