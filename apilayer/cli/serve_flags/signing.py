"""Flags of signing certificates, under kube-controller-manager's names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apilayer.cli.serve_flags.values import duration

if TYPE_CHECKING:
    import argparse

_SIGNERS = ("kubelet-serving", "kubelet-client", "kube-apiserver-client", "legacy-unknown")


def add_signing(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the controllers that sign certificates."""
    signing = parser.add_argument_group("certificates")
    signing.add_argument(
        "--cluster-signing-cert-file", type=Path, metavar="FILE", help="the CA (PEM) that signs approved requests"
    )
    signing.add_argument("--cluster-signing-key-file", type=Path, metavar="FILE", help="its key (PEM)")
    signing.add_argument(
        "--cluster-signing-duration",
        type=duration,
        default=8760 * 3600.0,
        metavar="DURATION",
        help="how long certificates hold at most (default 8760h)",
    )
    for signer in _SIGNERS:
        for kind, what in (("cert", "the CA"), ("key", "the CA's key")):
            signing.add_argument(
                f"--cluster-signing-{signer}-{kind}-file", type=Path, metavar="FILE", help=f"{what} of this signer"
            )
