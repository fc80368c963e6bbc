"""``kvraft txn``: a transaction in lines on standard input."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from kvraft.cli import rows_store
from kvraft.cli.answers import show, simple_operation
from kvraft.cli.delete import delete_request
from kvraft.cli.failures import INVALID_INPUT, CommandError, bad_arguments
from kvraft.cli.flags import Flag, UsageError, parse_int, read
from kvraft.cli.get import get_request
from kvraft.cli.put import put_request
from kvraft.cli.quoting import QUOTED, BadQuoting, decode, quote, unquote, words
from kvraft.types import Compare, CompareResult, CompareTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from kvraft.cli.call import Call
    from kvraft.client import Client
    from kvraft.types import Operation

_TARGETS = {
    "ver": CompareTarget.VERSION,
    "version": CompareTarget.VERSION,
    "c": CompareTarget.CREATE,
    "create": CompareTarget.CREATE,
    "m": CompareTarget.MOD,
    "mod": CompareTarget.MOD,
    "val": CompareTarget.VALUE,
    "value": CompareTarget.VALUE,
    "lease": CompareTarget.LEASE,
}
_RESULTS = {
    "=": CompareResult.EQUAL,
    "!=": CompareResult.NOT_EQUAL,
    ">": CompareResult.GREATER,
    "<": CompareResult.LESS,
}
_KEY = re.compile(rf"\s*({QUOTED})")
_RESULT = re.compile(r"\)\s+(\S+)")
_OPERAND = re.compile(rf"\s+({QUOTED})")


def _invalid(message: str) -> CommandError:
    return CommandError(message, INVALID_INPUT)


def parse_compare(line: str) -> Compare:
    """A condition: ``mod("key") > "0"``. Raises ``CommandError``."""
    target, parenthesis, rest = line.partition("(")
    if not parenthesis:
        raise _invalid(f"malformed comparison: {line}")
    key, result, operand = _parts(line, target, rest)
    if target not in _TARGETS:
        raise _invalid(f"malformed comparison: {line} (unknown target {target})")
    if result not in _RESULTS:
        raise _invalid(f"malformed comparison: {line} (unknown result {result})")
    if _TARGETS[target] is CompareTarget.VALUE:
        return Compare(key, CompareTarget.VALUE, _RESULTS[result], operand)
    try:
        number = parse_int(decode(operand), 16 if target == "lease" else 10)
    except ValueError:
        raise _invalid(f"invalid txn compare request: {line}") from None
    return Compare(key, _TARGETS[target], _RESULTS[result], number)


def _parts(line: str, target: str, rest: str) -> tuple[bytes, str, bytes]:
    """Key, result and operand of what stands after the parenthesis. Raises ``CommandError`` with what was read."""
    texts = []
    at = 0
    for pattern in (_KEY, _RESULT, _OPERAND):
        found = pattern.match(rest, at)
        if found is None:
            break
        texts.append(found[1])
        at = found.end()
    try:
        key = unquote(texts[0]) if texts else b""
        result = texts[1] if len(texts) > 1 else ""
        operand = unquote(texts[2]) if len(texts) > 2 else b""
    except BadQuoting as error:
        raise _invalid(f"malformed comparison: {line} ({error})") from None
    if len(texts) < 3:
        raise _invalid(f"malformed comparison: {line}; got {target}({quote(key)}) {result} {quote(operand)}")
    return key, result, operand


def parse_operation(line: str, read_stdin: Callable[[], bytes]) -> Operation:
    """A request: ``put key value``, with the flags of that command. Raises ``CommandError``."""
    try:
        typed = words(line)
    except BadQuoting as error:
        raise _invalid(str(error)) from None
    if len(typed) < 2:
        raise _invalid(f"invalid txn compare request: {line}")
    match typed[0]:
        case "put":
            return put_request(*_flags(line, typed, rows_store.PUT_FLAGS), read_stdin)
        case "get":
            return get_request(*_flags(line, typed, rows_store.GET_FLAGS))
        case "del":
            return delete_request(*_flags(line, typed, rows_store.DEL_FLAGS))
    raise _invalid(f"invalid txn request: {line}")


def _flags(line: str, typed: list[str], flags: tuple[Flag, ...]) -> tuple[list[str], Callable[[str], Any]]:
    try:
        found = read(flags, typed[1:])
    except UsageError:
        raise _invalid(f"invalid txn request: {line}") from None
    values = {flag.name: flag.default for flag in flags} | found.values
    return found.arguments, values.__getitem__


async def txn(call: Call, client: Client) -> None:
    """Read a transaction, and do it."""
    if call.arguments:
        raise bad_arguments("txn command does not accept argument")
    is_interactive = call.flag("interactive")
    parts: list[list[Any]] = []
    for prompt, parse in (
        ("compares:", parse_compare),
        ("success requests (get, put, del):", lambda line: parse_operation(line, call.stdin.read)),
        ("failure requests (get, put, del):", lambda line: parse_operation(line, call.stdin.read)),
    ):
        if is_interactive:
            call.say(prompt)
        parts.append([parse(line) for line in _lines(call)])
    answer = await client.txn(*parts)
    simple: list[str | bytes] = ["SUCCESS" if answer.succeeded else "FAILURE"]
    for response in answer.responses:
        simple += ["", *simple_operation(call, response)]
    await show(call, client, answer, *simple)


def _lines(call: Call) -> list[str]:
    """Lines up to an empty one."""
    lines: list[str] = []
    while True:
        line = call.stdin.readline()
        if not line.endswith(b"\n"):
            raise _invalid("EOF")
        text = decode(line).strip()
        if not text:
            return lines
        lines.append(text)
