"""Stores that speak etcd's protocol, as processes: Debian's etcd, and kvraft on the same port as its own protocol."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from kvraft.client import open_client
from tests.kvraft.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from kvraft.client import Client

PROGRAMS = [
    pytest.param("etcd", marks=pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")),
    "kvraft",
]


class EtcdProcesses(Processes):
    """Members of a cluster of etcd, with kvraft's flags and what etcd wants besides."""

    def command(self, name: str) -> list[str]:
        """See ``Processes``."""
        flags = super().command(name)
        flags = flags[flags.index("--name") :]
        return [
            "etcd",
            *flags,
            *("--advertise-client-urls", self.client_urls[name]),
            *("--initial-advertise-peer-urls", self._peer_urls[name]),
            *("--heartbeat-interval", "50", "--election-timeout", "500"),
        ]


def start(program: str, directory: Path, count: int) -> Iterator[Processes]:
    """For a fixture: started members, killed at the end."""
    processes = EtcdProcesses(directory, count) if program == "etcd" else Processes(directory, count)
    try:
        for name in processes.client_urls:
            processes.start(name)
        yield processes
    finally:
        for name in list(processes.running):
            processes.kill(name)


def connect(urls: Sequence[str], timeout_seconds: float = 20.0, **options: Any) -> AbstractAsyncContextManager[Client]:
    """A client that speaks etcd's protocol; see ``open_client``."""
    return open_client(urls, protocol="etcd", timeout_seconds=timeout_seconds, **options)
