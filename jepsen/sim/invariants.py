"""What must hold at every step of a run: the safety properties of Raft (figure 3), judged from outside the core.

An object of its own keeps what has happened; it never looks into a node except through what it is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jepsen.sim.machine import Command, changed, decode_commands
from jepsen.sim.world import Violation
from kvraft.raft.messages import Configuration, Entry, EntryKind
from kvraft.raft.quorum import committed_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jepsen.sim.disk import Image
    from jepsen.sim.leases import LeaseJudge


NOBODY = Configuration(())
_CONFIGURATION = EntryKind.CONFIGURATION  # faster to look up than a member of its enumeration


class Invariants:
    """The judge of one run. Every method raises ``Violation``."""

    __slots__ = (
        "_attempts",
        "_configurations",
        "_leaders",
        "_refused",
        "_slots",
        "applied",
        "changes",
        "elections",
        "images",
        "leases",
    )

    def __init__(self, founding_index: int = 0, configuration: Configuration = NOBODY) -> None:
        """The founders begin behind ``founding_index`` (0 or 1), in term 1, with ``configuration``."""
        self._leaders: dict[int, tuple[int, int]] = {}
        self._slots: dict[tuple[int, int], tuple[int, Entry]] = {}
        self._attempts: dict[int, tuple[int, int]] = {}
        self._refused: set[int] = set()
        self.applied: list[tuple[Entry, tuple[Command, ...], int]] = []
        """What was applied at index 1, 2, ..: the entry, its commands, the term in which it was first applied."""
        self.applied += [(Entry(index, 1, 0, b""), (), 1) for index in range(1, founding_index + 1)]
        self.elections = 0
        self.changes = 0
        self.images: dict[int, Image] = {}
        """What is durable on each node."""
        self._configurations = (configuration, configuration)
        """The one in force after the last entry applied, and the one before the last change."""
        self.leases: LeaseJudge | None = None
        """In runs with leases."""

    @property
    def configuration(self) -> Configuration:
        """Who takes part, after every entry that was applied anywhere."""
        return self._configurations[0]

    def became_leader(self, node: int, life: int, term: int, log: Image, configuration: Configuration) -> None:
        """Election safety: one leader per term, a voter. Leader completeness: it has every entry committed before."""
        if node not in configuration.voters + configuration.outgoing:
            raise Violation("election safety", f"node {node} leads term {term} without a vote in {configuration}")
        leader = self._leaders.setdefault(term, (node, life))
        if leader != (node, life):
            raise Violation(
                "election safety", f"term {term} has leaders {leader[0]} (life {leader[1]}) and {node} (life {life})"
            )
        self.elections += 1
        for index in range(len(self.applied), log.base, -1):
            entry, _, applied_term = self.applied[index - 1]
            if applied_term >= term:
                continue  # committed later, for all we know
            if not log.holds(index, entry.term):
                raise Violation(
                    "leader completeness",
                    f"node {node} leads term {term} without entry {index} of term {entry.term}, "
                    f"applied in term {applied_term}",
                )
            break  # by log matching it has all before it too

    def written(self, node: int, previous_term: int, entries: Sequence[Entry]) -> None:
        """Log matching: one index and term, one entry and one past. For entries as they become durable on a node."""
        slots = self._slots
        for entry in entries:
            known = slots.setdefault((entry.index, entry.term), (previous_term, entry))
            if known[0] != previous_term or (known[1] is not entry and known[1] != entry):
                raise Violation(
                    "log matching",
                    f"node {node} has entry {entry.index} of term {entry.term} behind term {previous_term}, "
                    f"another node behind term {known[0]}" + ("" if known[1] == entry else ", with other content"),
                )
            previous_term = entry.term

    def applying(self, node: int, entry: Entry, applied_index: int, term: int, log: Image) -> tuple[Command, ...]:
        """State machine safety: each node applies the same entry at an index, in order, once it is durable there."""
        index = entry.index
        if index != applied_index + 1:
            raise Violation("state machine safety", f"node {node} applies {index} after {applied_index}")
        if not log.holds(index, entry.term):
            raise Violation("durability", f"node {node} applies {index} of term {entry.term}, not durable there")
        applied = self.applied
        if index <= len(applied):
            known, commands, _ = applied[index - 1]
            if known is not entry and known != entry:
                raise Violation(
                    "state machine safety",
                    f"node {node} applies {entry.term}:{entry.data!r} at {index}, "
                    f"another applied {known.term}:{known.data!r}",
                )
            return commands
        if index > len(applied) + 1:
            raise Violation("state machine safety", f"node {node} applies {index}, nobody applied {len(applied) + 1}")
        self._committed(entry)
        commands = decode_commands(entry)
        applied.append((entry, commands, term))
        for place, command in enumerate(commands):
            attempt = command.attempt
            first = self._attempts.setdefault(attempt, (index, place))
            if first != (index, place):
                raise Violation("at most once", f"attempt {attempt} is applied at {first} and at {(index, place)}")
            if attempt in self._refused:
                raise Violation("definite errors", f"attempt {attempt} was refused and is applied at {index}")
        return commands

    def _committed(self, entry: Entry) -> None:
        """Commit quorum: an entry is durable on a quorum by the time it is first applied anywhere; of the voters as of
        this entry, or as of before the last change, which may have been committed together with it."""
        index, term = entry.index, entry.term
        holders: dict[int, int] = {}
        for node, image in self.images.items():
            holders[node] = 1 if image.base >= index or image.holds(index, term) else 0
        now, before = self._configurations
        if holders and not committed_index(now, holders) and not committed_index(before, holders):
            raise Violation("commit quorum", f"{index} of term {term} is on {holders} of {self._configurations}")
        if entry.kind == _CONFIGURATION:
            self.changes += 1
            self._configurations = changed(now, entry), now

    def refused(self, attempt: int, error: str) -> None:
        """A client was told that ``attempt`` never takes effect."""
        self._refused.add(attempt)
        if attempt in self._attempts:
            raise Violation(
                "definite errors", f"attempt {attempt}, applied at {self._attempts[attempt]}, was refused: {error}"
            )

    def answered(self, node: int, attempt: int, applied_index: int) -> None:
        """A client was told that ``attempt`` took effect: so it has on the member that said so (read your writes)."""
        place = self._attempts.get(attempt)
        if place is None or place[0] > applied_index:
            raise Violation(
                "read your writes", f"node {node}, at {applied_index}, answered attempt {attempt}, applied at {place}"
            )

    @staticmethod
    def moved(node: int, before: tuple[int, int], after: tuple[int, int]) -> None:
        """Term and commit index of one life of a node never fall."""
        if after[0] < before[0]:
            raise Violation("monotonic term", f"node {node} went from term {before[0]} to {after[0]}")
        if after[1] < before[1]:
            raise Violation("monotonic commit", f"node {node} went from commit {before[1]} to {after[1]}")
