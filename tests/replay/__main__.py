"""Plays requests recorded from a real kube-apiserver against this one: ``python -m tests.replay [FILE ...]``.

Starts a cluster of its own, plays each file of recordings (or those named) and compares how many cases passed with
the floor that ``floors.txt`` keeps for the file. Below it is a failure; above it, ``--raise`` writes the new floor.
Without the recordings there is nothing to play, which is said and is no failure.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.e2e.cluster import free_port_base
from tests.reference import IS_HERE, REFERENCE, WHY_SKIPPED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FLOORS = Path(__file__).with_name("floors.txt")
PLAYER = REFERENCE / "replay" / "replay.py"
TOKEN = "replay-token"
START_SECONDS = 60
FILE_SECONDS = 600
PARTS = {"policies-admission": ("policies", 82)}
"""Files of which only the cases from a number on are played, because what the others are about is not served."""
_RESULT = re.compile(r"^(\S+)\s+(\d+) passed\s+(\d+) failed", re.MULTILINE)


def read_floors() -> dict[str, int]:
    """The least number of cases that must pass, by file."""
    lines = (line.split() for line in FLOORS.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    return {name: int(count) for name, count in lines}


def write_floors(floors: dict[str, int]) -> None:
    """Replaces the floors, keeping the file's head."""
    head = [line for line in FLOORS.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    body = [f"{name} {floors[name]}" for name in sorted(floors)]
    FLOORS.write_text("\n".join(head + body) + "\n", encoding="utf-8")


@contextlib.contextmanager
def running_server() -> Iterator[str]:
    """A one-member cluster with the token that the recordings were made with; answers its URL."""
    command = shutil.which("apilayer", path=str(Path(sys.executable).parent))
    assert command is not None, "apilayer is not installed beside this Python"
    base = free_port_base(3)
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        tokens = Path(folder) / "tokens.csv"
        tokens.write_text(f'{TOKEN},admin,admin,"system:masters"\n')
        key = Path(folder) / "sa.key"
        key.write_bytes(_key_as_recorded())
        arguments = [command, "up", "--nodes", "1", "--ephemeral", "--port-base", str(base)]
        flags = [f"--token-auth-file={tokens}", f"--service-account-signing-key-file={key}", "--controllers="]
        arguments += [f"--apiserver-arg={flag}" for flag in flags]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
        url = f"https://127.0.0.1:{base + 2}"
        try:
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)


def _key_as_recorded() -> bytes:
    """A key of the kind that the recorded server signed tokens with, as kubeadm makes them."""
    key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with (
            contextlib.suppress(urllib.error.URLError, ConnectionError),
            urllib.request.urlopen(f"{url}/readyz", context=context, timeout=5),  # noqa: S310 - of our server
        ):
            return
        time.sleep(0.2)
    raise SystemExit(f"the server did not become ready:\n{log.read_text(errors='replace')}")


def write_part(folder: Path, name: str) -> None:
    """Recordings in `folder` that are those of a part alone."""
    whole, first = PARTS[name]
    recorded = PLAYER.parent / "cases" / f"{whole}.jsonl"
    cases = [json.loads(line) for line in recorded.read_text(encoding="utf-8").splitlines()]
    kept = [case for case in cases if int(case["id"].rpartition("/")[2]) >= first]
    for kind in ("cases", "kubectl"):
        (folder / kind).mkdir()
    text = "".join(json.dumps({**case, "id": case["id"].replace(whole, name)}) + "\n" for case in kept)
    (folder / "cases" / f"{name}.jsonl").write_text(text, encoding="utf-8")


def play(url: str, name: str, show: int) -> tuple[int, int]:
    """Plays one file: how many cases passed and failed."""
    arguments = [sys.executable, str(PLAYER), "--server", url, "--token", TOKEN, "--only", f"{name}/"]
    arguments += ["--failures", str(show)]
    kubectl = shutil.which("kubectl")
    if kubectl is not None:
        arguments += ["--kubectl", kubectl]
    with tempfile.TemporaryDirectory(prefix="replay-part-") as folder:
        if name in PARTS:
            write_part(Path(folder), name)
            arguments += ["--data", folder]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=FILE_SECONDS)
    if show:
        print(done.stdout)
    # Part of a name selects more than one file; each is reported on a line of its own.
    found = next((line for line in _RESULT.finditer(done.stdout) if line[1] == name), None)
    if found is None:
        raise SystemExit(f"{name}: the player said nothing that can be read:\n{done.stdout}\n{done.stderr}")
    return int(found[2]), int(found[3])


def play_all(names: Sequence[str], show: int) -> Iterator[tuple[str, int, int]]:
    """Plays the files, some at a time, each of those on a server of its own: name, passed and failed, in order."""
    with contextlib.ExitStack() as stack:
        hands = max(1, min(len(names), os.cpu_count() or 1))
        idle: queue.SimpleQueue[str] = queue.SimpleQueue()
        for _ in range(hands):
            idle.put(stack.enter_context(running_server()))

        def play_one(name: str) -> tuple[str, int, int]:
            url = idle.get()
            try:
                return name, *play(url, name, show)
            finally:
                idle.put(url)

        yield from stack.enter_context(ThreadPoolExecutor(hands)).map(play_one, names)


def main() -> int:
    """0 when every file reaches its floor."""
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    parser.add_argument("files", nargs="*", metavar="FILE", help="files of recordings (default: all with a floor)")
    parser.add_argument("--failures", type=int, default=0, metavar="N", help="show so many differences of each file")
    parser.add_argument("--raise", action="store_true", dest="raise_floors", help="keep what passes as the new floors")
    options = parser.parse_args()
    if not IS_HERE:
        print(f"nothing is played: {WHY_SKIPPED}")
        return 0
    floors = read_floors()
    names = options.files or sorted(floors)
    if shutil.which("kubectl") is None:
        left_out = [name for name in names if name.startswith("kubectl-")]
        print(f"without kubectl these are not played: {', '.join(left_out) or 'none'}")
        names = [name for name in names if name not in left_out]
    too_low = []
    for name, passed, failed in play_all(names, options.failures):
        floor = floors.get(name, 0)
        mark = "" if passed >= floor else "  BELOW ITS FLOOR"
        print(f"{name:<24} {passed:4} of {passed + failed:4} passed, floor {floor}{mark}", flush=True)
        if passed < floor:
            too_low.append(name)
        elif options.raise_floors:
            floors[name] = passed
    if options.raise_floors and not too_low:
        write_floors(floors)
    print(f"{len(names) - len(too_low)} passed, {len(too_low)} failed")
    return 1 if too_low else 0


if __name__ == "__main__":
    sys.exit(main())
