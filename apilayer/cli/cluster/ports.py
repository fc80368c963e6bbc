"""Which port each process listens on, whether it is free, and who holds it when it is not (Linux, ``/proc``)."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from apilayer.cli.cluster.failure import ClusterError

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"
MAX_NODES = 6
"""The fixed ports end here: a seventh member would listen on 72379."""

API_PORT = 6443
_CLIENT_PORT = 2379
_PEER_PORT = 2380
_LISTEN = "0A"


class Member(NamedTuple):
    name: str
    client_port: int
    peer_port: int

    @property
    def client_url(self) -> str:
        return f"https://{HOST}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"https://{HOST}:{self.peer_port}"


class Topology(NamedTuple):
    """The members and the API server's port. One member means that one process is store and API server."""

    members: tuple[Member, ...]
    api_port: int

    @property
    def api_url(self) -> str:
        return f"https://{HOST}:{self.api_port}"

    def uses(self) -> Iterator[tuple[int, str]]:
        """Every port with what it is for."""
        for member in self.members:
            yield member.client_port, f"{member.name}'s client URL"
            yield member.peer_port, f"{member.name}'s peer URL"
        yield self.api_port, "the API server"


class Owner(NamedTuple):
    """A process that holds a port."""

    pid: int
    name: str


def plan(nodes: int, port_base: int | None) -> Topology:
    """Names and ports for ``nodes`` members.

    Without ``port_base`` the ports are etcd's and Kubernetes' usual ones: clients 2379, 22379, 32379, ..., peers one
    above, API 6443. With it they are compact: clients from N on, then the peers, then the API server.

    Raises ``ClusterError`` when a number is out of range.
    """
    if not 1 <= nodes <= MAX_NODES:
        raise ClusterError(f"--nodes {nodes}: must be from 1 to {MAX_NODES}")
    if port_base is None:
        bases = [0 if i == 0 else 10_000 * (i + 1) for i in range(nodes)]
        members = [Member(f"kvraft-{i + 1}", _CLIENT_PORT + b, _PEER_PORT + b) for i, b in enumerate(bases)]
        return Topology(tuple(members), API_PORT)
    last = port_base + 2 * nodes
    if port_base < 1 or last > 65535:
        raise ClusterError(f"--port-base {port_base}: {2 * nodes + 1} ports from there on must lie in 1 to 65535")
    members = [Member(f"kvraft-{i + 1}", port_base + i, port_base + nodes + i) for i in range(nodes)]
    return Topology(tuple(members), last)


def check_free(topology: Topology) -> None:
    """Raise ``ClusterError`` naming each port that cannot be bound, what it is for, and the process that holds it."""
    taken = []
    for port, use in topology.uses():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    taken.append(f"port {port} ({use}) is taken by {_describe(owners(port))}")
                else:
                    taken.append(f"port {port} ({use}) cannot be bound: {error.strerror}")
    if taken:
        raise ClusterError("; ".join(taken) + "; stop what holds them or choose others with --port-base")


def owners(port: int) -> list[Owner]:
    """The processes with a TCP socket on a local port: the listening ones, or else whichever is connected from it.

    Empty when the sockets belong to processes that this user may not look into.
    """
    inodes = _socket_inodes(port)
    if not inodes:
        return []
    wanted = {f"socket:[{inode}]" for inode in inodes}
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            descriptors = os.scandir(f"/proc/{entry}/fd")
            with descriptors:
                if any(_link(fd.path) in wanted for fd in descriptors):
                    name = Path(f"/proc/{entry}/comm").read_text(encoding="utf-8", errors="replace").strip()
                    found.append(Owner(int(entry), name))
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            continue  # another user's process, or one that has just ended
    return found


def _socket_inodes(port: int) -> list[str]:
    listening: list[str] = []
    other: list[str] = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except FileNotFoundError:
            continue  # no IPv6 in this kernel
        for line in lines:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0":
                (listening if fields[3] == _LISTEN else other).append(fields[9])
    return listening or other


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""  # closed since the directory was read


def _describe(found: list[Owner]) -> str:
    if not found:
        return "a process that this user may not look into"
    return ", ".join(f"{owner.name} (pid {owner.pid})" for owner in found)
