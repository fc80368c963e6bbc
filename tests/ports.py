"""Ports for servers that must know theirs before they start."""

from __future__ import annotations

import os
import random
import socket

FIRST, EACH, WORKERS = 13_000, 1_000, 8
"""Each of pytest's workers has its own: between those that the documentation names, and below the range that the kernel
takes outgoing connections' ports from."""

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
_next = random.randrange(EACH)


def free_ports(count: int) -> list[int]:
    """So many ports that nobody uses at this moment; those of the last calls are not given again for long."""
    global _next
    found: list[int] = []
    for _ in range(EACH):
        port = FIRST + _worker * EACH + _next
        _next = (_next + 1) % EACH
        if _is_free(port):
            found.append(port)
            if len(found) == count:
                return found
    raise AssertionError("no free ports")


def free_port() -> int:
    """One that nobody uses at this moment."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
