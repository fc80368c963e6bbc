"""The files that tell clients how to reach the API server and who they are: kubeconfig and static token file."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

from apilayer.cli.cluster.state import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

CONTEXT = "kvraft"
_USER = "kubernetes-admin"

_TEMPLATE = """\
apiVersion: v1
kind: Config
clusters:
- name: {context}
  cluster:
    certificate-authority-data: {authority}
    server: {server}
contexts:
- name: {context}
  context:
    cluster: {context}
    user: {user}
current-context: {context}
preferences: {{}}
users:
- name: {user}
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
"""


def write_kubeconfig(path: Path, server: str, authority: Path, certificate: Path, key: Path) -> None:
    """Write a kubeconfig for the administrator, mode 0600, with the three PEM files embedded.

    A file that already has this server and these credentials stays: its owner may have set a namespace or added
    contexts with ``kubectl config``.
    """
    values = {
        "server": server,
        "authority": base64.b64encode(authority.read_bytes()).decode(),
        "certificate": base64.b64encode(certificate.read_bytes()).decode(),
        "key": base64.b64encode(key.read_bytes()).decode(),
    }
    if path.is_file():
        lines = {line.strip().partition(": ")[2] for line in path.read_text("utf-8", "replace").splitlines()}
        if lines.issuperset(values.values()):
            return
    write_atomic(path, _TEMPLATE.format(context=CONTEXT, user=_USER, **values).encode(), 0o600)


def ensure_tokens(path: Path) -> None:
    """Make the static token file (token, user, uid, groups; mode 0600) with one random administrator's token.

    An existing file stays as it is, with whatever its owner added.
    """
    if not path.is_file():
        line = f'{secrets.token_urlsafe(32)},admin,admin,"system:masters"\n'
        write_atomic(path, line.encode(), 0o600)
