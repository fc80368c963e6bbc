"""Named points on the write path where a test can kill the process or make the disk fail.

``KVRAFT_FAILPOINTS="log.after_write=kill@3,state.after_commit=error@1"``: at its n-th pass a point sends SIGKILL to
its own process, raises ``OSError(ENOSPC)``, or hangs for ever as a disk can. Without the variable a point costs one
test of a module attribute: ``if failpoint.active: failpoint.hit("log.after_write")``.
"""

from __future__ import annotations

import errno
import os
import signal
import threading

FAILPOINTS: tuple[str, ...] = (
    "log.before_write",
    "log.after_write",
    "log.before_rename",
    "log.after_rename",
    "log.after_sync",
    "log.before_unlink",
    "log.before_report",
    "state.before_apply",
    "state.between_entries",
    "state.after_apply",
    "state.after_compact_step",
    "state.before_commit",
    "state.after_commit",
    "snapshot.after_open",
    "snapshot.after_chunk",
    "snapshot.before_sync",
    "snapshot.after_sync",
    "defragment.after_copy",
    "defragment.after_catch_up",
    "install.before_close",
    "install.before_rename",
    "install.after_rename",
    "install.after_open",
)
"""Every point, in the order of the write path."""

ACTIONS = ("kill", "error", "hang")

active = False
"""Whether any point is set."""

_remaining: dict[str, int] = {}
_actions: dict[str, str] = {}


def configure(text: str) -> None:
    """Set the points of ``text`` (see the module) and no others; "" sets none. Raises ``ValueError``."""
    global active
    remaining, actions = {}, {}
    for item in filter(None, text.split(",")):
        name, _, rest = item.strip().partition("=")
        action, _, count = rest.partition("@")
        if name not in FAILPOINTS:
            raise ValueError(f"KVRAFT_FAILPOINTS: unknown failpoint {name!r}")
        if action not in ACTIONS:
            raise ValueError(f"KVRAFT_FAILPOINTS: {name}: unknown action {action!r}, one of {', '.join(ACTIONS)}")
        if not count.isdecimal() or int(count) < 1:
            raise ValueError(f"KVRAFT_FAILPOINTS: {name}: {count!r} is not a number of passes, from 1")
        remaining[name], actions[name] = int(count), action
    _remaining.clear()
    _actions.clear()
    _remaining.update(remaining)
    _actions.update(actions)
    active = bool(remaining)


def hit(name: str) -> None:
    """Pass the point ``name``. Raises ``OSError(ENOSPC)`` or does not return when its turn has come."""
    assert name in FAILPOINTS, name
    left = _remaining.get(name)
    if left is None:
        return
    _remaining[name] = left - 1
    if left != 1:
        return
    if _actions[name] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if _actions[name] == "hang":
        threading.Event().wait()
    raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (failpoint {name})")


configure(os.environ.get("KVRAFT_FAILPOINTS", ""))
