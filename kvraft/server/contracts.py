"""What a driver needs of its owner: the small interfaces between decisions and I/O, and the driver's bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from kvraft.errors import KvraftError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvraft.raft.messages import Configuration, Entry, Message
    from kvraft.storage.log import LogBatch
    from kvraft.wire.peer import PeerAnswer, Question

Answer = object
"""A ``types.Response`` or a ``KvraftError``."""
Waiter = Callable[[Answer], None]
"""Called once with the answer to a proposal. It must not raise; of the driver it may call what only queues:
``propose``, ``read`` and the ways to ask."""
Reader = Callable[[KvraftError | None], None]
"""Called once: None when the state machine may be read now, else why not. It must not raise; it may propose and ask."""


class Disk(Protocol):
    """The log's writer. Batches become durable in order."""

    def submit(self, batch: LogBatch, *, leads: bool) -> bool:
        """Write a batch, or have it written. Whether it is durable already; if not, the owner will call
        ``Driver.durable``.

        ``leads``: there is more to do meanwhile than to wait for it.
        """
        ...

    def oldest_pending_seconds(self) -> float:
        """For how long the oldest batch has been waiting to become durable; 0 when none is."""
        ...

    def first_of_last(self, size_bytes: int) -> int:
        """The first entry of the files that hold the last ``size_bytes``, which is where cutting the log frees some."""
        ...


class Transport(Protocol):
    """What carries messages to peers: lossy, unordered, at most once is good enough."""

    def send(self, messages: Sequence[Message]) -> None: ...

    def send_snapshot(self, message: Message) -> None:
        """Open a snapshot, stream it to ``message.to``, then call ``Driver.snapshot_sent``."""
        ...

    def ask(self, peer: int, questions: Sequence[Question]) -> bool:
        """Ask a member; False when it cannot be reached and nothing was sent.

        ``Driver.answered`` gets the answers, ``Driver.link_lost`` hears when none can come any more.
        """
        ...

    def answer(self, origin: Any, answers: Sequence[PeerAnswer]) -> None:
        """Answer questions that came from ``origin`` (see ``Driver.asked``), if it is still there."""
        ...


class Machine(Protocol):
    """The replicated state machine. ``durable_index`` is the applied index that a crash cannot take back."""

    @property
    def applied_index(self) -> int: ...

    @property
    def applied_term(self) -> int:
        """The term of the last applied entry."""
        ...

    @property
    def durable_index(self) -> int: ...

    @property
    def configuration(self) -> Configuration | None:
        """As of the applied index; the same object until it changes. None where it is not known yet."""
        ...

    @property
    def uncommitted(self) -> int:
        """Operations applied since the last ``commit``."""
        ...

    @property
    def awaited(self) -> bool:
        """Whether somebody here waits for what is applied next."""
        ...

    @staticmethod
    def join(proposals: Sequence[bytes]) -> bytes:
        """The data of one entry that carries these proposals, in order."""
        ...

    def foresee(self, entries: Sequence[Entry]) -> Sequence[Sequence[Answer]] | None:
        """What ``apply`` of ``entries`` is going to answer; None unless that is certain of all of them.

        They are committed, and applied next, whatever it says.
        """
        ...

    def apply(self, entries: Sequence[Entry], *, answered: bool) -> Sequence[Sequence[Answer]]:
        """For each entry the answers to what it carries, in order; nobody looks at them unless ``answered``.

        Of the last ones there are none when an entry takes long: it is given again, and what follows, to go on.
        """
        ...

    def commit(self, *, whole: bool = True) -> None:
        """Keep what has been applied; not ``whole``: only for this member's next start."""
        ...

    def install(self, writer: Any) -> object:
        """Replace everything by a snapshot that has arrived whole; durable when this returns."""
        ...


@attrs.frozen
class DriverConfig:
    """Bounds and periods. Ticks are the unit of time, as in the core."""

    election_ticks: int = 10
    """The core's; a request that began so long before a leader was elected may owe its end to the one before."""
    request_timeout_ticks: int = 70
    """After so long a proposal is answered with "outcome unknown", a read with "request timed out"."""
    stalled_disk_seconds: float = 1.0
    """A leader whose log disk takes longer than this gives leadership up."""
    commit_operations: int = 10_000
    snapshot_entries: int = 10_000
    """The log is compacted when it holds so many applied and durable entries more than ``keep_entries``."""
    keep_entries: int = 5_000
    """Entries that stay behind the compaction for followers that are a little behind ..."""
    keep_bytes: int = 64 << 20
    """... but not more than so much: entries that many proposals share are large."""
    max_held_entries: int = 200_000
    """So many more at most stay for followers that a slow snapshot, or catching up after one, has left behind."""
    max_pending: int = 50_000
    """Proposals plus reads without an answer; past it: TooManyRequests."""
    max_messages_per_turn: int = 1024
    max_proposals_per_turn: int = 1024
    max_batch_bytes: int = 64 << 10
    """An entry takes no further proposal once it carries so much. It is the unit in which stages overlap: smaller
    costs more for each proposal, larger keeps the next stage waiting."""
