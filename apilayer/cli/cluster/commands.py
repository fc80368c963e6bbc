"""The command lines of the children: which module runs with which flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.cli.cluster import account_key
from apilayer.cli.cluster.audit_policy import audit_flags
from apilayer.cli.cluster.supervisor import Spec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from apilayer.cli.cluster.ports import Member, Topology

STORE_MODULE = "kvraft.cli.main"
API_MODULE = "apilayer.cli.main"
SINGLE_MODULE = "apilayer.cli.cluster.single"
STORE_LOADS = ("kvraft.cli.serve", "kvraft.cli.process")
API_LOADS = ("apilayer.cli.serve", "apilayer.server.run")
"""What the modules above come to import."""

API_NAME = "apiserver"
SEPARATOR = "--apiserver"
"""Between the store's flags and the API server's, where one process is both."""


def children(
    data_dir: Path, topology: Topology, store_args: Sequence[str], api_args: Sequence[str]
) -> tuple[Spec, ...]:
    """What to start, members first. ``store_args`` and ``api_args`` come last, so that they win."""
    logs = data_dir / "logs"
    api = (*api_flags(data_dir, topology), *api_args)
    if len(topology.members) == 1:
        member = topology.members[0]
        store = (*member_flags(data_dir, topology, member), *store_args)
        arguments = (*store, SEPARATOR, *api)
        loads = (*STORE_LOADS, *API_LOADS)
        return (Spec(member.name, SINGLE_MODULE, arguments, logs / f"{member.name}.log", loads),)
    members = [
        Spec(
            member.name,
            STORE_MODULE,
            ("serve", *member_flags(data_dir, topology, member), *store_args),
            logs / f"{member.name}.log",
            STORE_LOADS,
        )
        for member in topology.members
    ]
    return (*members, Spec(API_NAME, API_MODULE, ("serve", *api), logs / f"{API_NAME}.log", API_LOADS))


def stop_order(specs: Sequence[Spec]) -> tuple[tuple[str, ...], ...]:
    """The API server before the members, so that its last requests still find a store."""
    api = tuple(spec.name for spec in specs if spec.name == API_NAME)
    return api, tuple(spec.name for spec in specs if spec.name != API_NAME)


def member_flags(data_dir: Path, topology: Topology, member: Member) -> tuple[str, ...]:
    """etcd's flags for one member: mutual TLS for clients and for peers."""
    pki = data_dir / "pki" / "etcd"
    peers = ",".join(f"{each.name}={each.peer_url}" for each in topology.members)
    return (
        f"--name={member.name}",
        f"--data-dir={data_dir / 'members' / member.name}",
        f"--listen-client-urls={member.client_url}",
        f"--advertise-client-urls={member.client_url}",
        f"--listen-peer-urls={member.peer_url}",
        f"--initial-advertise-peer-urls={member.peer_url}",
        f"--initial-cluster={peers}",
        "--initial-cluster-state=new",
        "--initial-cluster-token=apilayer",
        f"--cert-file={pki / 'server.crt'}",
        f"--key-file={pki / 'server.key'}",
        "--client-cert-auth",
        f"--trusted-ca-file={pki / 'ca.crt'}",
        f"--peer-cert-file={pki / 'peer.crt'}",
        f"--peer-key-file={pki / 'peer.key'}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={pki / 'ca.crt'}",
    )


def api_flags(data_dir: Path, topology: Topology) -> tuple[str, ...]:
    """kube-apiserver's flags."""
    pki = data_dir / "pki"
    return (
        "--bind-address=127.0.0.1",
        f"--secure-port={topology.api_port}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--cluster-signing-cert-file={pki / 'ca.crt'}",
        f"--cluster-signing-key-file={pki / 'ca.key'}",
        f"--token-auth-file={data_dir / 'tokens.csv'}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-account-signing-key-file={pki / account_key.NAME}",
        f"--service-account-issuer={account_key.ISSUER}",
        f"--etcd-servers={','.join(member.client_url for member in topology.members)}",
        "--storage-backend=kvraft",
        f"--etcd-cafile={pki / 'etcd' / 'ca.crt'}",
        f"--etcd-certfile={pki / 'apiserver-etcd-client.crt'}",
        f"--etcd-keyfile={pki / 'apiserver-etcd-client.key'}",
        *audit_flags(data_dir),
    )
