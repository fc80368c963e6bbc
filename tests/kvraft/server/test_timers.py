"""Deadlines on one heap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kvraft.server.timers import MIN_SWEEP, Timers


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=60), st.integers(0, 20))
def test_what_is_due_is_called_once_in_order_and_what_is_cancelled_never(
    wanted: list[tuple[int, bool]], now: int
) -> None:
    timers, called = Timers(), []
    made = [timers.at(when, lambda when=when: called.append(when)) for when, _ in wanted]  # type: ignore[misc]
    for timer, (_, cancelled) in zip(made, wanted, strict=True):
        if cancelled:
            timer.cancel()
            timer.cancel()
    timers.run(now)
    timers.run(now)
    assert called == sorted(when for when, cancelled in wanted if not cancelled and when <= now)
    timers.run(99)
    assert called == sorted(when for when, cancelled in wanted if not cancelled)
    assert len(timers) == 0


def test_timers_that_were_cancelled_do_not_pile_up() -> None:
    timers, called = Timers(), []
    timers.at(5, lambda: called.append(5))
    for _ in range(10 * MIN_SWEEP):
        timers.at(1000, called.clear).cancel()
    assert len(timers) <= MIN_SWEEP + 1
    timers.run(10)
    assert called == [5]


def test_a_timer_may_cancel_others_and_start_new_ones() -> None:
    timers, called = Timers(), []
    others = [timers.at(2, lambda: called.append("other")) for _ in range(2 * MIN_SWEEP)]

    def first() -> None:
        for other in others:
            other.cancel()
        timers.at(1, lambda: called.append("new"))

    timers.at(1, first)
    timers.run(3)
    assert called == ["new"]
