"""The key that signs tokens of service accounts: ``pki/sa.key``, as kubeadm names it.

EC P-256, as all other keys here: an RSA key takes ten times as long to make as everything else together, and the API
server a twentieth of its start to check it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.cli.cluster.state import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

NAME = "sa.key"
ISSUER = "https://kubernetes.default.svc.cluster.local"


def ensure_account_key(directory: Path) -> bool:
    """Makes the key (mode 0600) unless it is there; True when it was made. Raises ``OSError``.

    One that is there is never replaced: tokens that pods have would end with it.
    """
    path = directory / NAME
    if path.exists():
        path.chmod(0o600)
        return False
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    write_atomic(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    return True
