"""The same commands to etcdctl and to kvraft, each with its own store: output, errors and exit codes are the same."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.bench.clusters import store_cluster
from tests.kvraft.cli import etcdctl_steps as steps
from tests.kvraft.cli.tools import Etcdctl, Kvraft

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("etcd") is None or shutil.which("etcdctl") is None,
        reason="etcd is not installed (Debian: etcd-server, etcd-client)",
    ),
]
ALL = ("simple", "json", "fields")
GROUPS = {
    "keys": (steps.KEYS, ALL),
    "values-only": (steps.VALUES_ONLY, ("simple",)),
    "txn": (steps.TXN, ALL),
    "leases": (steps.LEASES, ALL),
    "endpoints": (steps.ENDPOINTS, ALL),
    "watches": (steps.WATCHES, ALL),
    "members": (steps.MEMBERS, ("simple", "json")),
    "learner": (steps.LEARNER, ("simple", "json")),
    "users": (steps.USERS, ALL),
    "lists": (steps.LISTS, ("simple", "json")),
    "enabled": (steps.ENABLED, ("simple",)),
    "table": (steps.TABLE, ("table",)),
}
CASES = [(group, form) for group, (_, forms) in GROUPS.items() for form in forms]


@pytest.fixture
def urls() -> Iterator[tuple[str, str]]:
    """The client URLs of an empty etcd and of an empty kvraft."""
    with store_cluster("etcd", 1) as etcd, store_cluster("kvraft", 1) as kvraft:
        yield etcd.urls[0], kvraft.urls[0]


@pytest.mark.parametrize(("group", "form"), CASES, ids=[f"{group}-{form}" for group, form in CASES])
def test_both_say_the_same(
    group: str,
    form: str,
    urls: tuple[str, str],
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs, ours = Etcdctl(urls[0]), Kvraft(urls[1], capfdbinary, monkeypatch)
    wrong = []
    for step in GROUPS[group][0]:
        flags = "" if " -w " in step.words or form == "simple" else f"-w {form}"
        words = step.words if "{flags}" in step.words else f"{step.words} {{flags}}"
        expected = theirs.type(words, step.stdin, flags).without_ids()
        raw = ours.type(words, step.stdin, flags)
        got = raw.without_ids()
        if step.differs:
            if step.ours not in raw.stdout + raw.stderr:
                wrong.append(f"{step.words}: {step.ours!r} is not in {raw}")
        elif got != expected:
            wrong.append(f"{step.words} {step.stdin!r}\n  etcdctl: {expected}\n  kvraft:  {got}")
    assert not wrong, "\n".join(wrong)
