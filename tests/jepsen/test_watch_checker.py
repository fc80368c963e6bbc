"""The watch checker against watches that are right, and wrong in each way it knows."""

from __future__ import annotations

from jepsen.checkers.watch import MAX_PROBLEMS, WatchEvent, check_watch

TRUTH = [
    WatchEvent(1, "a/1", "x"),
    WatchEvent(2, "b/1", "y"),
    WatchEvent(3, "a/1", None),
    WatchEvent(4, "a/1", "z"),
    WatchEvent(4, "a/2", "z"),
    WatchEvent(5, "a/3", "w"),
]


def in_a(key: str) -> bool:
    return key.startswith("a/")


def test_complete_watches_pass() -> None:
    assert check_watch(TRUTH, TRUTH) == []
    assert check_watch([event for event in TRUTH if in_a(event.key)], TRUTH, from_revision=1, matches=in_a) == []
    assert check_watch([], TRUTH) == []


def test_a_tail_that_has_not_arrived_yet_is_no_gap() -> None:
    assert check_watch(TRUTH[:3], TRUTH) == []


def test_a_watch_may_start_late() -> None:
    assert check_watch(TRUTH[2:], TRUTH) == []
    assert check_watch(TRUTH[2:], TRUTH, from_revision=1) == ["missing: revision 1 (a/1)", "missing: revision 2 (b/1)"]


def test_gap() -> None:
    assert check_watch(TRUTH[:1] + TRUTH[2:], TRUTH) == ["missing: revision 2 (b/1)"]


def test_a_revision_cut_in_half() -> None:
    assert check_watch(TRUTH[:4], TRUTH) == ["missing: revision 4 (a/2)"]


def test_duplicate() -> None:
    assert check_watch([*TRUTH, TRUTH[5]], TRUTH) == ["duplicate: revision 5 (a/3)"]


def test_out_of_order() -> None:
    assert check_watch([TRUTH[1], TRUTH[0]], TRUTH) == ["out of order: revision 1 (a/1) after 2"]


def test_invented_and_wrong_and_not_asked_for() -> None:
    seen = [WatchEvent(1, "a/1", "other"), WatchEvent(2, "b/1", "y"), WatchEvent(3, "a/9", "x")]
    assert check_watch(seen, TRUTH, matches=in_a) == [
        "wrong value: revision 1 (a/1): 'other' instead of 'x'",
        "not asked for: revision 2 (b/1)",
        "invented: revision 3 (a/9) was never applied",
        "missing: revision 3 (a/1)",
    ]


def test_the_report_is_bounded() -> None:
    seen = [WatchEvent(i, "k", "x") for i in range(100)]
    problems = check_watch(seen, [])
    assert len(problems) == MAX_PROBLEMS + 1
    assert problems[-1] == "and 80 more"
