"""One follower's progress: its transitions, and the window of what is in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvraft.raft.progress import Inflights, Progress, ProgressState

if TYPE_CHECKING:
    from collections.abc import Sequence

PROBE, REPLICATE, SNAPSHOT = ProgressState


def progress(next_index: int = 5) -> Progress:
    return Progress(next_index, Inflights(2, 100))


def replicating(match: int = 4) -> Progress:
    follower = progress()
    follower.maybe_update(match)
    follower.become_replicate()
    return follower


@given(
    st.integers(1, 4),
    st.integers(1, 50),
    st.lists(st.one_of(st.tuples(st.just("add"), st.integers(0, 40)), st.tuples(st.just("free"), st.integers(0, 30)))),
)
@settings(derandomize=True)
def test_the_window_counts_what_is_sent_and_not_acknowledged(
    max_messages: int, max_bytes: int, steps: Sequence[tuple[str, int]]
) -> None:
    inflights = Inflights(max_messages, max_bytes)
    model: list[tuple[int, int]] = []
    index = 0
    for what, value in steps:
        if what == "free":
            inflights.free_to(value)
            model = [(last, size) for last, size in model if last > value]
        elif not inflights.full:
            index += 1
            inflights.add(index, value)
            model.append((index, value))
        assert (len(inflights), inflights.bytes) == (len(model), sum(size for _, size in model))
        assert inflights.full == (len(model) >= max_messages or inflights.bytes >= max_bytes)
    inflights.clear()
    assert (len(inflights), inflights.bytes) == (0, 0)


def test_nothing_is_added_to_a_full_window() -> None:
    inflights = Inflights(1, 100)
    inflights.add(1, 1)
    with pytest.raises(AssertionError, match="in-flight limit"):
        inflights.add(2, 1)


def test_a_probe_waits_for_its_answer() -> None:
    follower = progress()
    follower.sent_entries(7, 30)
    assert (follower.state, follower.next, follower.probe_sent, len(follower.inflights)) == (PROBE, 5, True, 0)
    assert follower.maybe_update(7)
    assert (follower.match, follower.next, follower.probe_sent) == (7, 8, False)


def test_replication_runs_ahead_of_acknowledgements() -> None:
    follower = replicating()
    follower.sent_entries(7, 30)
    follower.sent_entries(9, 20)
    assert (follower.next, follower.inflights.bytes, follower.inflights.full) == (10, 50, True)
    assert follower.maybe_update(7)
    assert (follower.match, follower.next) == (7, 10)
    assert not follower.maybe_update(7)


def test_a_refusal_while_replicating_starts_a_probe_behind_what_matches() -> None:
    follower = replicating()
    follower.sent_entries(9, 20)
    assert not follower.maybe_decrease(4, 3), "what matched once always will"
    assert follower.maybe_decrease(9, 8)
    assert (follower.state, follower.next, len(follower.inflights)) == (PROBE, 5, 0)


def test_a_follower_that_lost_what_it_acknowledged_is_not_asked_at_once_again() -> None:
    follower = replicating()
    follower.become_probe()
    follower.sent_entries(7, 30)
    assert not follower.maybe_decrease(follower.match, 0)
    assert follower.probe_sent, "it waits for a heartbeat's answer"


@pytest.mark.parametrize(
    ("rejected", "hint", "next_index"), [(9, 5, 6), (9, 9, 9), (9, 20, 9), (9, 0, 3), (8, 5, None), (10, 5, None)]
)
def test_a_refused_probe_goes_back_to_the_hint(rejected: int, hint: int, next_index: int | None) -> None:
    follower = progress(10)
    follower.match = 2
    assert follower.maybe_decrease(rejected, hint) is (next_index is not None)
    assert follower.next == (next_index or 10)


def test_a_delivered_snapshot_is_probed_behind_after_an_answer() -> None:
    follower = progress()
    follower.become_snapshot()
    assert not follower.maybe_decrease(4, 1)
    follower.snapshot_reported(20)
    assert (follower.state, follower.next, follower.probe_sent) == (PROBE, 21, True)


def test_a_failed_snapshot_starts_over_after_an_answer() -> None:
    follower = replicating()
    follower.become_snapshot()
    follower.snapshot_reported(0)
    assert (follower.state, follower.next, follower.probe_sent) == (PROBE, 5, True)
    assert follower.status().state is PROBE
