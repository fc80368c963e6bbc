"""What the API server of a local cluster records: who changed what, without what the cluster does to itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.cli.cluster.state import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

NAME = "audit-policy.yaml"
LOG = "audit.log"
POLICY = b"""\
# What the API server records in logs/audit.log. Change it as you like; it is read at the next start.
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  verbs: [get, list, watch]
- level: None
  resources: [{group: coordination.k8s.io, resources: [leases]}, {resources: [events]}, {group: events.k8s.io}]
- level: Metadata
"""


def ensure_policy(path: Path) -> None:
    """Makes the file (mode 0600) unless it is there: then it is the owner's."""
    if not path.is_file():
        write_atomic(path, POLICY, 0o600)


def audit_flags(data_dir: Path) -> tuple[str, ...]:
    """Flags of the API server: a log of at most forty megabytes in all."""
    return (
        f"--audit-policy-file={data_dir / NAME}",
        f"--audit-log-path={data_dir / 'logs' / LOG}",
        "--audit-log-maxsize=10",
        "--audit-log-maxbackup=3",
    )
