"""etcdctl as a process, and kvraft's ``main`` in this one; and what of their output depends on the store they asked."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

from kvraft.cli.main import main

if TYPE_CHECKING:
    import pytest

TIMEOUT_SECONDS = 60.0
_LOG_LINE = re.compile(r'^\{"level":.*\n', re.MULTILINE)
_MADE_UP = [
    (re.compile(r"127\.0\.0\.1:\d{4,5}\b"), "ADDRESS"),
    (re.compile(r'"(cluster_id|member_id|raft_term|leader|raftIndex|raftTerm|raftAppliedIndex|hash|dbSize|dbSizeInUse)":\d+'),
     r'"\1":N'),
    (re.compile(r'"(ID|id|lease|memberID)":\d{9,}'), r'"\1":N'),
    (re.compile(r'"((?:Cluster|Member)ID|Raft(?:Term|Index|AppliedIndex))" : [1-9]\d*'), r'"\1" : N'),
    (re.compile(r'"(Leader|Hash|DBSize)" : [1-9]\d*'), r'"\1" : N'),
    (re.compile(r'"(ID|Lease)" : \d{9,}'), r'"\1" : N'),
    (re.compile(r"(?<![0-9a-f]) *\b[0-9a-f]{10,16}\b"), " ID"),
    (re.compile(r'"version":"[^"]*"'), '"version":"V"'),
    (re.compile(r'"Version" : "[^"]*"'), '"Version" : "V"'),
    (re.compile(r"\d+\.\d+\.\d+, \d+ kB, (\w+, \w+), \d+, \d+, \d+, "), r"V, SIZE, \1, N, N, N, "),
    (re.compile(r"(ADDRESS), \d{5,}$", re.MULTILINE), r"\1, HASH"),
    (re.compile(r"remaining\(\d+s\)"), "remaining(N)"),
    (re.compile(r'"ttl":9\d\b'), '"ttl":N'),
    (re.compile(r'"TTL" : 9\d\b'), '"TTL" : N'),
]  # fmt: skip
_OF_THE_TOOL = [
    ("etcdctl", "TOOL"),
    ("kvraft", "TOOL"),
    ("KVRAFT_", "ETCD_"),  # what a member is started with has the prefix of the program that reads it
]
_NEWER_FIELDS = re.compile(r',"(?:hash_revision|dbSizeQuota|storageVersion)":(?:"[^"]*"|\d+)')
"""What newer etcds tell as well."""


class Outcome(NamedTuple):
    stdout: str
    stderr: str
    code: int

    def without_ids(self) -> Outcome:
        """What both tools must say alike."""
        stdout, stderr = (_plain(text) for text in (self.stdout, self.stderr))
        if "USAGE:" in stdout:  # an error in the flags: the help that comes with it is each tool's own
            stdout = "USAGE"
        lines = dict.fromkeys(line for line in stderr.splitlines() if line)  # etcdctl tells some errors twice
        return Outcome(_table(stdout), "\n".join(lines), self.code)


def _plain(text: str) -> str:
    text = _in_order(_NEWER_FIELDS.sub("", _LOG_LINE.sub("", text)))
    for pattern, name in _MADE_UP:
        text = pattern.sub(name, text)
    for name, common in _OF_THE_TOOL:
        text = text.replace(name, common)
    return text


def _in_order(text: str) -> str:
    """Members come in the order of their ids, which are made up: here by name."""
    found = re.search(r'"members":\[(.*)\]', text)
    if found is not None:
        members = sorted(re.findall(r"\{.*?\}", found[1]), key=lambda member: member.partition(",")[2])
        return f"{text[: found.start(1)]}{','.join(members)}{text[found.end(1) :]}"
    found = re.search(r'INITIAL_CLUSTER="(.*)"', text)
    if found is not None:
        return text[: found.start(1)] + ",".join(sorted(found[1].split(","))) + text[found.end(1) :]
    if re.search(r", (un)?started, ", text):
        return "".join(sorted(text.splitlines(keepends=True), key=lambda line: line.partition(",")[2]))
    return text


def _table(text: str) -> str:
    """Widths depend on what is in the cells, and so on ids: lines of tables are compared cell by cell."""
    if not text.startswith("+-"):
        return text
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if not line.startswith("+-")]
    known = {"version", "db size", "raft term", "raft index", "raft applied index", "hash"}
    skipped = {index for index, title in enumerate(rows[0]) if title.lower() in known}
    kept = [[cell for index, cell in enumerate(row) if index not in skipped or row is rows[0]] for row in rows]
    return "\n".join(["|".join(kept[0]), *sorted("|".join(row) for row in kept[1:])])


class Tool(ABC):
    """Runs commands one after the other, and remembers ids that it was told."""

    def __init__(self, url: str) -> None:
        self._endpoint = f"--endpoints={url.removeprefix('http://')}"
        self._ids = {"lease": "", "member": ""}

    def type(self, words: str, stdin: str, flags: str) -> Outcome:
        """Run ``words``, with ``flags`` and ids in their places."""
        outcome = self._run([self._endpoint, *shlex.split(words.format(flags=flags, **self._ids))], stdin.encode())
        for name, pattern in (
            ("lease", r"lease ([0-9a-f]{16}) granted|\"ID\" ?: ?(\d{9,})\D+TTL"),
            ("member", r"Member +([0-9a-f]+) added|\"member\":\{\"ID\":(\d+)"),
        ):
            found = re.search(pattern, outcome.stdout)
            if found is not None:
                self._ids[name] = found[1] or f"{int(found[2]):x}"
        return outcome

    @abstractmethod
    def _run(self, words: list[str], stdin: bytes) -> Outcome:
        """Run the tool once."""


class Etcdctl(Tool):
    def _run(self, words: list[str], stdin: bytes) -> Outcome:
        environment = {**os.environ, "ETCDCTL_API": "3"}
        done = subprocess.run(
            ["etcdctl", *words], input=stdin, capture_output=True, env=environment, timeout=TIMEOUT_SECONDS
        )
        return Outcome(done.stdout.decode(), done.stderr.decode(), done.returncode)


class Kvraft(Tool):
    """In this process: a process takes half a second to start, and there are hundreds of commands."""

    def __init__(self, url: str, capture: pytest.CaptureFixture[bytes], patch: pytest.MonkeyPatch) -> None:
        super().__init__(url)
        self._capture = capture
        self._patch = patch

    def _run(self, words: list[str], stdin: bytes) -> Outcome:
        self._capture.readouterr()
        with tempfile.TemporaryFile("w+b") as file:
            file.write(stdin)
            file.seek(0)
            self._patch.setattr(sys, "stdin", io.TextIOWrapper(file))
            code = main(words)
        stdout, stderr = self._capture.readouterr()
        return Outcome(stdout.decode(), stderr.decode(), code)
