"""``kvraft watch``: events as they happen, and a program for each; with ``-i`` watches are typed in."""

from __future__ import annotations

import os
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from kvraft.cli.answers import show, simple_kvs
from kvraft.cli.children import ProgramFailed, go_list, run_program
from kvraft.cli.failures import INTERRUPTED, INVALID_INPUT, CommandError, bad_arguments
from kvraft.cli.flags import UsageError, read
from kvraft.cli.quoting import BadQuoting, decode, encode, quote, words
from kvraft.cli.ranges import EVERYTHING_AFTER
from kvraft.errors import Compacted, KvraftError
from kvraft.types import EventKind, prefix_end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from kvraft.cli.call import Call
    from kvraft.cli.flags import CommandLine
    from kvraft.client import Client, WatchStream
    from kvraft.types import WatchBatch

READ_BYTES = 1 << 16
MAX_LINE_BYTES = 1 << 20
KEY_VARIABLE, END_VARIABLE = "KVRAFTCTL_WATCH_KEY", "KVRAFTCTL_WATCH_RANGE_END"


@attrs.frozen
class Wanted:
    """What to watch, and what to run for each event."""

    key: bytes
    range_end: bytes
    revision: int
    prev_kv: bool
    progress: bool
    program: list[str]


def wanted(line: CommandLine, environment: Mapping[str, str]) -> Wanted:
    """The watch that arguments, flags and variables describe. Raises ``CommandError``."""
    key_variable, end_variable = environment.get(KEY_VARIABLE, ""), environment.get(END_VARIABLE, "")
    if end_variable and not key_variable:
        raise bad_arguments(f"{KEY_VARIABLE} is empty but got {END_VARIABLE}={quote(encode(end_variable))}")
    if line.after_dashes == 0:
        raise bad_arguments("bad number of arguments (found separator --, but no commands)")
    count = len(line.arguments) - (line.after_dashes or 0)
    arguments, program = line.arguments[:count], line.arguments[count:]
    if key_variable:
        if arguments:
            raise bad_arguments("bad number of arguments (found conflicting environment key)")
        arguments = [key_variable, *filter(None, [end_variable])]
    if not 1 <= len(arguments) <= 2:
        raise bad_arguments("bad number of arguments")
    key, *ends = (encode(argument) for argument in arguments)
    if line.values.get("prefix", False):
        if ends:
            raise bad_arguments("`range_end` and `--prefix` are mutually exclusive")
        key, end = (key, prefix_end(key)) if key else (b"\0", EVERYTHING_AFTER)
    else:
        end = ends[0] if ends else b""
    values = line.values
    prev_kv, progress = values.get("prev-kv", False), values.get("progress-notify", False)
    return Wanted(key, end, values.get("rev", 0), prev_kv, progress, program)


async def watch(call: Call, client: Client) -> None:
    """Watch until the store ends it, or the program fails."""
    if call.flag("interactive"):
        await _Typed(call, client).run()
        return
    await _follow(call, client, wanted(call.line, call.environment))


async def _follow(call: Call, client: Client, what: Wanted, streams: set[WatchStream] | None = None) -> None:
    """Show what happens, until it ends; ``streams`` has the stream meanwhile. Raises ``CommandError`` at the end."""
    try:
        async with client.watch(
            what.key, what.range_end, what.revision, prev_kv=what.prev_kv, progress_notify=what.progress
        ) as batches:
            if streams is not None:
                streams.add(batches)
            try:
                await _show_all(call, client, what, batches)
            finally:
                if streams is not None:
                    streams.discard(batches)
    except KvraftError as error:
        call.complain(f"watch was canceled ({error})")
    raise CommandError("watch is canceled by the server", INTERRUPTED)


async def _show_all(call: Call, client: Client, what: Wanted, batches: WatchStream) -> None:
    is_start = what.revision <= 0
    async for batch in batches:
        tells_start, is_start = is_start and not batch.events, False
        if tells_start:
            continue  # where "from now on" begins
        if batch.compact_revision:
            call.complain(f"watch was canceled ({Compacted()})")
        elif not batch.events:
            call.say(f"progress notify: {batch.revision}")
        await show(call, client, batch, *_simple(call, batch))
        if what.program:
            await _run_for_each(call, what.program, batch)


def _simple(call: Call, batch: WatchBatch) -> list[str | bytes]:
    lines: list[str | bytes] = []
    for event in batch.events:
        before = () if event.prev_kv is None else (event.prev_kv,)
        lines += [EventKind(event.kind).name, *simple_kvs(call, (*before, event.kv))]
    return lines


async def _run_for_each(call: Call, program: list[str], batch: WatchBatch) -> None:
    for event in batch.events:
        about = {
            "ETCD_WATCH_REVISION": str(batch.revision),
            "ETCD_WATCH_EVENT_TYPE": quote(EventKind(event.kind).name.encode()),
            "ETCD_WATCH_KEY": quote(event.kv.key),
            "ETCD_WATCH_VALUE": quote(event.kv.value),
        }
        try:
            await run_program(program, {**call.environment, **about})
        except ProgramFailed as error:
            call.complain(f"command {go_list(program)} error ({error})")
            raise CommandError("") from error


async def _lines(descriptor: int) -> AsyncGenerator[bytes, None]:
    """Whole lines as they come. Past Python's buffers: a thread that waits in those would hold up our end."""
    got = b""
    while data := await trio.to_thread.run_sync(os.read, descriptor, READ_BYTES, abandon_on_cancel=True):
        *lines, got = (got + data).split(b"\n")
        for line in lines:
            yield line
        if len(got) > MAX_LINE_BYTES:
            raise CommandError(f"a line is longer than {MAX_LINE_BYTES} bytes", INVALID_INPUT)


class _Typed:
    """Watches that are typed in, one a line; and ``progress``, which asks how far they are."""

    def __init__(self, call: Call, client: Client) -> None:
        self._call = call
        self._client = client
        self._streams: set[WatchStream] = set()
        self._failure: CommandError | None = None
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Until there are no more lines, which is an error, or a program fails."""
        with self._scope:
            async with aclosing(_lines(self._call.stdin.fileno())) as lines:
                async for line in lines:
                    await self._obey(decode(line))
            raise CommandError("Error reading watch request line: EOF", INVALID_INPUT)
        if self._failure is not None:
            raise self._failure

    async def _obey(self, line: str) -> None:
        try:
            typed = words(line)
        except BadQuoting as error:
            raise CommandError(str(error), INVALID_INPUT) from None
        match typed:
            case []:
                self._call.complain(f"Invalid command: {line} (watch and progress supported)")
            case ["watch"] if not self._call.environment.get(KEY_VARIABLE):
                self._call.complain(f"Invalid command {line} (command type or key is not provided)")
            case ["watch", *rest]:
                try:
                    what = wanted(read(self._call.command.flags, rest), self._call.environment)
                except UsageError as error:
                    raise bad_arguments(str(error)) from None
                self._client.start_soon(partial(self._follow, what))
            case ["progress", *_]:
                for stream in list(self._streams):
                    await stream.request_progress()
            case _:
                self._call.complain(f"Invalid command {line} (only support watch)")

    async def _follow(self, what: Wanted) -> None:
        try:
            await _follow(self._call, self._client, what, self._streams)
        except CommandError as error:
            if error.code != INTERRUPTED:
                self._failure = error
                self._scope.cancel()
