"""Failpoints: the syntax, the counting, the error action. Kills are in tests/kvraft/apply/test_crash.py."""

from __future__ import annotations

import errno

import pytest

from kvraft.storage import failpoint


@pytest.fixture(autouse=True)
def _reset():
    yield
    failpoint.configure("")


def test_nothing_is_set_by_default():
    failpoint.configure("")
    assert not failpoint.active
    failpoint.hit("log.after_write")


def test_the_nth_pass_fails_and_only_that_one():
    failpoint.configure("log.after_write=error@2, state.after_commit=error@1")
    assert failpoint.active
    failpoint.hit("log.after_write")
    with pytest.raises(OSError, match=r"log\.after_write") as caught:
        failpoint.hit("log.after_write")
    assert caught.value.errno == errno.ENOSPC
    failpoint.hit("log.after_write")
    failpoint.hit("log.after_sync")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nowhere=kill@1", "unknown failpoint 'nowhere'"),
        ("log.after_write=explode@1", "unknown action 'explode'"),
        ("log.after_write=kill@0", "'0' is not a number of passes"),
        ("log.after_write=kill", "'' is not a number of passes"),
    ],
)
def test_bad_settings_are_named(text, reason):
    with pytest.raises(ValueError, match=reason):
        failpoint.configure(text)


def test_names_are_unique():
    assert len(set(failpoint.FAILPOINTS)) == len(failpoint.FAILPOINTS)
