"""``kvraft check datascale``: how much more memory a member takes once it holds so many keys."""

from __future__ import annotations

import random
import urllib.error
import urllib.request
from collections import Counter
from typing import TYPE_CHECKING

import attrs
import trio

from kvraft.cli.call import describe
from kvraft.cli.checks import clean_up, clients_of, error_lines, free_prefix, load_of
from kvraft.cli.failures import CommandError
from kvraft.cli.progress import ProgressBar
from kvraft.errors import KvraftError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvraft.cli.call import Call
    from kvraft.client import Client

KEY_BYTES, VALUE_BYTES = 512, 512
METRIC = "process_resident_memory_bytes"
MAX_METRICS_BYTES = 16 << 20


@attrs.frozen
class Load:
    """So many keys, put by so many connections."""

    keys: int
    clients: int


LOADS = {"s": Load(10_000, 50), "m": Load(100_000, 200), "l": Load(1_000_000, 500), "xl": Load(3_000_000, 1000)}


class _NotRead(Exception):
    """Why the memory is not known."""


async def datascale(call: Call, client: Client) -> None:
    """Measure, put, measure, and clean up. Raises ``CommandError`` when it did not go well."""
    load = load_of(call, LOADS)
    prefix = await free_prefix(call, client)
    before = await _memory(call, "before")
    call.say(
        f"Start data scale check for work load [{load.keys} key-value pairs, {KEY_BYTES + VALUE_BYTES} bytes per "
        f"key-value, {load.clients} concurrent clients]."
    )
    errors = await _put_all(call, prefix, load)
    after = await _memory(call, "after")
    await clean_up(call, prefix)
    if errors:
        call.say(*error_lines(errors))
        raise CommandError("")
    call.say(f"PASS: Approximate system memory used : {(after - before) / (1 << 20):.2f} MB.")


async def _put_all(call: Call, prefix: bytes, load: Load) -> Counter[str]:
    """How often each error came."""
    errors: Counter[str] = Counter()
    numbers = iter(range(load.keys))
    async with clients_of(call, load.clients) as clients:
        bar = ProgressBar(call.stdout, load.keys)
        async with bar.drawn(), trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(_put, client, prefix, numbers, errors, bar)
    return errors


async def _put(client: Client, prefix: bytes, numbers: Iterator[int], errors: Counter[str], bar: ProgressBar) -> None:
    value = bytes(VALUE_BYTES)
    for _ in numbers:
        try:
            await client.put(prefix + random.randbytes(KEY_BYTES), value)
        except KvraftError as error:
            errors[describe(error)] += 1
        bar.add()


async def _memory(call: Call, when: str) -> float:
    """Resident memory of the first endpoint's process, in bytes. Raises ``CommandError``."""
    try:
        return await trio.to_thread.run_sync(_read_memory, call)
    except _NotRead as error:
        call.say(str(error), f"FAIL: Could not read {METRIC} {when} the put operations.")
        raise CommandError("") from error


def _read_memory(call: Call) -> float:
    options = call.options
    url = f"{options.url(options.endpoints[0])}/metrics"
    tls = options.tls() if url.startswith("https:") else None
    try:
        with urllib.request.urlopen(url, timeout=options.command_timeout, context=tls) as answer:  # noqa: S310 (checked)
            text = answer.read(MAX_METRICS_BYTES).decode()
    except (OSError, ValueError) as error:
        raise _NotRead(f"fetch error: {error}") from error
    return memory_in(text)


def memory_in(metrics: str) -> float:
    """The metric, from Prometheus' text. Raises ``_NotRead``."""
    for line in metrics.splitlines():
        name, _, value = line.partition(" ")
        if name == METRIC:
            try:
                return float(value)
            except ValueError as error:
                raise _NotRead(f"parse error: {error}") from error
    raise _NotRead(f"could not find: {METRIC}")
