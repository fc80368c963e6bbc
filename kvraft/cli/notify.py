"""What systemd is told of a service of ``Type=notify``; nothing where it does not ask. See sd_notify(3)."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def tell_systemd(state: str) -> None:
    """Send ``state`` ("READY=1", "STOPPING=1") to whoever has started this process and wants to know."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock, suppress(OSError):
        sock.setblocking(False)
        sock.connect(path.replace("@", "\0", 1) if path.startswith("@") else path)
        sock.send(state.encode())
