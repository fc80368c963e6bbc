"""What a leader knows of one follower: how far its log matches, and how fast it may be sent more.

Pure state with its transitions; messages are built elsewhere.
"""

from __future__ import annotations

import enum
from collections import deque

import msgspec


class ProgressState(enum.IntEnum):
    """How a follower is being served.

    PROBE: the leader does not know where the logs meet, and sends one APPEND at a time until one is accepted.
    REPLICATE: they meet; APPENDs are pipelined up to the in-flight limits.
    SNAPSHOT: what the follower needs is compacted; nothing is sent until the snapshot has arrived or failed.
    """

    PROBE = 0
    REPLICATE = 1
    SNAPSHOT = 2


# Faster to look up than a member of its enumeration.
_PROBE, _REPLICATE, _SNAPSHOT = ProgressState.PROBE, ProgressState.REPLICATE, ProgressState.SNAPSHOT


class ProgressStatus(msgspec.Struct, frozen=True):
    """A follower as metrics and tests see it."""

    match: int
    next: int
    state: ProgressState
    inflight_messages: int
    inflight_bytes: int
    active: bool


class Inflights:
    """The APPENDs with entries that were sent and not yet acknowledged, bounded by number and by bytes."""

    __slots__ = ("_max_bytes", "_max_messages", "_window", "bytes", "full")

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._window: deque[tuple[int, int]] = deque()
        self.bytes = 0
        self.full = False
        """Whether nothing more may be sent. The message that reaches a limit still goes out, so any size passes."""

    def __len__(self) -> int:
        return len(self._window)

    def add(self, last_index: int, size: int) -> None:
        """Note a message whose last entry is ``last_index`` and which carries ``size`` bytes of data."""
        assert not self.full, "sent past the in-flight limit"
        self._window.append((last_index, size))
        self.bytes += size
        self.full = len(self._window) >= self._max_messages or self.bytes >= self._max_bytes

    def free_to(self, index: int) -> None:
        """Forget the messages that an acknowledgement of ``index`` covers."""
        window = self._window
        while window and window[0][0] <= index:
            self.bytes -= window.popleft()[1]
        if self.full:
            self.full = len(window) >= self._max_messages or self.bytes >= self._max_bytes

    def clear(self) -> None:
        """Forget everything: the follower is probed anew."""
        self._window.clear()
        self.bytes = 0
        self.full = False


class Progress:
    """One follower.

    ``match``: the last entry known to be durable there; ``next``: the next one to send. ``active``: heard from since
    the last check of the quorum. ``may_retry``: its next heartbeat response allows sending again what seems lost, once
    per heartbeat period. ``nudge``: an APPEND is due even if it is empty, so that a gap shows. ``read_ack``: the latest
    read round that it answered. ``sent_commit``: the commit index that it was sent last. ``patient``: it need not hear
    of a commit before there are further entries.
    """

    __slots__ = (
        "_snapshot_index",
        "active",
        "inflights",
        "match",
        "may_retry",
        "next",
        "nudge",
        "patient",
        "probe_sent",
        "read_ack",
        "sent_commit",
        "state",
    )

    def __init__(self, next_index: int, inflights: Inflights) -> None:
        self.match = 0
        self.next = next_index
        self.state = _PROBE
        self.active = False
        self.may_retry = False
        self.nudge = False
        self.patient = False
        self.probe_sent = False
        self.read_ack = 0
        self.sent_commit = 0
        self.inflights = inflights
        self._snapshot_index = 0

    def become_probe(self) -> None:
        """Find anew where the logs meet; after a delivered snapshot that is right behind it."""
        self.next = max(self.match, self._snapshot_index) + 1
        self._enter(_PROBE)

    def become_replicate(self) -> None:
        """The logs meet at ``match``: pipeline from there."""
        self.next = self.match + 1
        self._enter(_REPLICATE)

    def become_snapshot(self) -> None:
        """Wait for a snapshot to be delivered."""
        self._enter(_SNAPSHOT)

    def _enter(self, state: ProgressState) -> None:
        self.state = state
        self.probe_sent = False
        self.sent_commit = 0
        self._snapshot_index = 0
        self.inflights.clear()

    def snapshot_reported(self, index: int) -> None:
        """The snapshot up to ``index`` was delivered (0: it failed). Either way the follower speaks next: it
        acknowledges the snapshot, or after a failure it answers a heartbeat."""
        self._snapshot_index = index
        self.become_probe()
        self.probe_sent = True

    def maybe_update(self, index: int) -> bool:
        """An acknowledgement of ``index``: whether it is news."""
        if index <= self.match:
            return False
        self.match = index
        if index >= self.next:
            self.next = index + 1
        self.probe_sent = False
        return True

    def maybe_decrease(self, rejected: int, hint: int) -> bool:
        """A refusal of an APPEND behind ``rejected``, with the last index that may match. False if it is stale."""
        if self.match and rejected <= self.match:
            # It was sent before the acknowledgement, or the follower has lost what it acknowledged. There is nothing
            # to go back to, so asking again at once would never end: the next heartbeat answer is soon enough.
            return False
        if self.state is _REPLICATE:
            self.become_probe()
            return True
        if self.state is _SNAPSHOT or rejected != self.next - 1:
            return False  # probing has one question out at a time: this answers an older one
        self.next = max(min(rejected, hint + 1), self.match + 1)
        self.probe_sent = False
        return True

    def sent_entries(self, last_index: int, size: int) -> None:
        """An APPEND with ``size`` bytes of entries, up to ``last_index``, is on its way."""
        if self.state is _PROBE:
            self.probe_sent = True
        else:
            self.next = last_index + 1
            self.inflights.add(last_index, size)

    def status(self) -> ProgressStatus:
        """A copy for metrics and tests."""
        inflights = self.inflights
        return ProgressStatus(self.match, self.next, self.state, len(inflights), inflights.bytes, self.active)
