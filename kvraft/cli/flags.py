"""Flags and arguments as etcdctl takes them, in any order, from rows of data.

``--flag=value``, ``--flag value``, ``-f value``, ``-fvalue``; booleans as ``--flag`` and ``--flag=false``; lists by
commas and by repeating; what stands after ``--`` is an argument. Errors are worded as etcdctl's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from kvraft.durations import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_INT = (1 << 63) - 1
MAX_UINT = (1 << 64) - 1
_DIGITS = {10: frozenset("0123456789"), 16: frozenset("0123456789abcdefABCDEF")}
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class UsageError(Exception):
    """The command line cannot be read."""


def parse_int(text: str, base: int = 10) -> int:
    """A signed 64-bit number. Raises ``ValueError`` in Go's words."""
    return _number("ParseInt", text, base, -MAX_INT - 1, MAX_INT)


def parse_uint(text: str, base: int = 10) -> int:
    """An unsigned 64-bit number. Raises ``ValueError`` in Go's words."""
    return _number("ParseUint", text, base, 0, MAX_UINT)


def _number(function: str, text: str, base: int, least: int, most: int) -> int:
    digits = text[1:] if text[:1] in ("+", "-") and least < 0 else text
    if not set(digits) <= _DIGITS[base]:  # Python also takes underscores, spaces, prefixes and other scripts' digits
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax')
    try:
        number = int(text, base)
    except ValueError:
        raise ValueError(f'strconv.{function}: parsing "{text}": invalid syntax') from None
    if not least <= number <= most:
        raise ValueError(f'strconv.{function}: parsing "{text}": value out of range')
    return number


def parse_bool(text: str) -> bool:
    """Raises ``ValueError`` in Go's words."""
    if text not in (*_TRUE, *_FALSE):
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


def _parse_duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ValueError(f"time: {error}") from None


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


@attrs.frozen
class Kind:
    """A type of value: how it is read, and how a default is shown."""

    name: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str] = str


STRING = Kind("string", str, lambda value: f'"{value}"')
BOOL = Kind("bool", parse_bool, lambda value: "true" if value else "false")
INT = Kind("int", parse_int)
UINT = Kind("uint", parse_uint)
DURATION = Kind("duration", _parse_duration, format_duration)
"""Seconds."""
LIST = Kind("list", _parse_list, lambda value: f"[{','.join(value)}]")
"""Comma-separated; repeats add up."""


@attrs.frozen
class Flag:
    """One flag; ``short`` is its one letter, "" for none."""

    name: str
    kind: Kind
    default: Any
    help: str
    short: str = ""

    def parse(self, text: str) -> Any:
        """The value that ``text`` is. Raises ``UsageError``."""
        try:
            return self.kind.parse(text)
        except ValueError as error:
            spelling = f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"
            raise UsageError(f'invalid argument "{text}" for "{spelling}" flag: {error}') from None


HELP = Flag("help", BOOL, False, "help for the command", "h")


@attrs.define
class CommandLine:
    """What was given: values by the flag's name, and the arguments, of which ``after_dashes`` stood after ``--``.

    ``after_dashes`` is None without a ``--``.
    """

    values: dict[str, Any] = attrs.field(factory=dict)
    arguments: list[str] = attrs.field(factory=list)
    after_dashes: int | None = None

    def put(self, flag: Flag, text: str) -> None:
        """Take a value; lists add up. Raises ``UsageError``."""
        value = flag.parse(text)
        self.values[flag.name] = self.values.get(flag.name, ()) + value if flag.kind is LIST else value


def read(flags: Iterable[Flag], words: Sequence[str]) -> CommandLine:
    """Read a command's flags and arguments. Raises ``UsageError``."""
    flags = tuple(flags)
    by_name = {flag.name: flag for flag in flags}
    by_letter = {flag.short: flag for flag in flags if flag.short}
    line = CommandLine()
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        if word == "--":
            line.after_dashes = len(rest)
            line.arguments += reversed(rest)
            break
        if word.startswith("--"):
            _read_long(line, by_name, word, rest)
        elif word.startswith("-") and word != "-":
            _read_short(line, by_letter, word, rest)
        else:
            line.arguments.append(word)
    return line


def _read_long(line: CommandLine, by_name: dict[str, Flag], word: str, rest: list[str]) -> None:
    name, equals, text = word[2:].partition("=")
    if not name or name.startswith("-"):
        raise UsageError(f"bad flag syntax: {word}")
    flag = by_name.get(name)
    if flag is None:
        raise UsageError(f"unknown flag: --{name}")
    if not equals:
        if flag.kind is BOOL:
            text = "true"
        elif rest:
            text = rest.pop()
        else:
            raise UsageError(f"flag needs an argument: --{name}")
    line.put(flag, text)


def _read_short(line: CommandLine, by_letter: dict[str, Flag], word: str, rest: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = by_letter.get(letter)
        if flag is None:
            raise UsageError(f"unknown shorthand flag: '{letter}' in {word}")
        if letters.startswith("="):
            text, letters = letters[1:], ""
        elif flag.kind is BOOL:
            text = "true"
        elif letters:
            text, letters = letters, ""
        elif rest:
            text = rest.pop()
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in {word}")
        line.put(flag, text)
