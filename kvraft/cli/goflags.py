"""Flags as Go's ``flag`` package reads them, from rows of data: what an etcd unit file contains is read the same way.

``--f=v``, ``--f v`` and both with one dash; repeats, of which the last wins; booleans as ``--f`` and ``--f=false``;
then environment variables, for what the command line leaves out; or a YAML file instead of both. No flag is known
here by name: see ``serve_flags``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from kvraft.durations import format_duration, parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

MAX_INT = (1 << 63) - 1
_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class FlagError(Exception):
    """A flag, a variable or a key is wrong. ``code`` is what the process exits with; etcd's: 2 for command lines."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class HelpWanted(Exception):
    """``-h`` or ``--help`` was given."""


def _parse_bool(text: str) -> bool:
    if text not in (*_TRUE, *_FALSE):
        raise ValueError("parse error")
    return text in _TRUE


def _parse_int(text: str) -> int:
    try:
        number = int(text, 0)
    except ValueError:
        raise ValueError("parse error") from None
    if abs(number) > MAX_INT:
        raise ValueError("value out of range")
    return number


def _parse_uint(text: str) -> int:
    number = _parse_int(text)
    if number < 0 or text[:1] in "+-":
        raise ValueError("parse error")
    return number


def _parse_duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        raise ValueError("parse error") from None


def _parse_list(text: str) -> tuple[str, ...]:
    """Comma-separated; each once, in the order given."""
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))


def _yaml_list(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return tuple(value)
    return _parse_list(_typed(value, str))


def _yaml_duration(value: object) -> float:
    """A number is nanoseconds, as in etcd's files."""
    return value / 1e9 if type(value) is int else parse_duration(_typed(value, str))


def _typed(value: object, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(f"a {kind.__name__} is due, not a {type(value).__name__}")
    return value


def _yaml_uint(value: object) -> int:
    if _typed(value, int) < 0:
        raise ValueError("a number of 0 or more is due")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _yaml_text(value: object) -> str:
    """Numbers are taken for text as well: ``auto-compaction-retention: 1`` is what people write."""
    return str(value) if type(value) in (int, float) else _typed(value, str)


@attrs.frozen
class Kind:
    """A type of value: how it is read from text and from YAML, and how a default is shown."""

    name: str
    parse: Callable[[str], Any]
    from_yaml: Callable[[object], Any]
    show: Callable[[Any], str] = str
    boolean: bool = False


STRING = Kind("string", str, _yaml_text)
BOOL = Kind(
    "bool", _parse_bool, lambda value: _typed(value, bool), lambda value: "true" if value else "false", boolean=True
)
INT = Kind("int", _parse_int, lambda value: _typed(value, int))
UINT = Kind("uint", _parse_uint, _yaml_uint)
DURATION = Kind("duration", _parse_duration, _yaml_duration, format_duration)
"""Seconds."""
LIST = Kind("list", _parse_list, _yaml_list, ",".join)
URLS = Kind("urls", _parse_list, _yaml_list, ",".join)


@attrs.frozen
class Flag:
    """One flag. What is not given has ``default``.

    ``field`` is where the value goes: a field of ``MemberConfig``, or ``part.field`` of one of its parts; a flag
    without one has its effect elsewhere, or none. ``ignored`` says why a flag of etcd's without a meaning here can be
    left alone, ``refused`` why it cannot: given with another value than ``default``, the first is warned of, the second
    is an error. ``older`` are spellings that still work, ``choices`` all there is to choose from.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    field: str = ""
    ignored: str = ""
    refused: str = ""
    older: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()

    def parse(self, text: str) -> Any:
        """The value that ``text`` is. Raises ``ValueError``."""
        return self._chosen(self.kind.parse(text))

    def from_yaml(self, value: object) -> Any:
        """The value that a YAML file holds. Raises ``ValueError``."""
        return self._chosen(self.kind.from_yaml(value))

    def _chosen(self, value: Any) -> Any:
        if self.choices and value not in self.choices:
            raise ValueError(f"invalid value {value!r}; it must be one of {', '.join(self.choices)}")
        return value


@attrs.define
class Given:
    """What was given: values by the flag's name, and what must be said about it once there is a log."""

    values: dict[str, Any] = attrs.field(factory=dict)
    warnings: list[tuple[str, dict[str, object]]] = attrs.field(factory=list)

    def put(self, flag: Flag, spelling: str, value: Any) -> None:
        """Take a value; raises ``FlagError`` for what cannot be had here."""
        if value != flag.default:
            if flag.refused:
                raise FlagError(f"--{spelling} is not supported: {flag.refused}", 1)
            if flag.ignored:
                self.warn("flag has no effect here - ignoring", flag=f"--{spelling}", reason=flag.ignored)
        if spelling != flag.name:
            self.warn(f"--{spelling} is deprecated. Use '--{flag.name}' instead.")
        self.values[flag.name] = value

    def warn(self, message: str, **fields: object) -> None:
        self.warnings.append((message, fields))


class FlagSet:
    """Rows that can be found by any of their spellings."""

    def __init__(self, flags: Iterable[Flag], prefix: str, also: Sequence[str] = (), model: str = "") -> None:
        """``prefix`` begins the variables' names; ``also`` are variables that have it and are somebody else's.

        ``model`` is the prefix of the program that the flags are like: its variables are not read, and warned of.
        """
        self.flags = tuple(flags)
        self._prefix = prefix
        self._also = also
        self._model = model
        self._by_spelling = {name: flag for flag in self.flags for name in (flag.name, *flag.older)}

    def read_command_line(self, arguments: Sequence[str], given: Given) -> None:
        """Raises ``FlagError`` in Go's words, ``HelpWanted``."""
        rest = list(arguments)
        while rest:
            argument = rest.pop(0)
            if argument == "--" or not argument.startswith("-") or argument == "-":
                left = rest if argument == "--" else [argument, *rest]
                if left:
                    raise FlagError(f'"{left[0]}" is not a valid flag', 1)
                return
            spelling, equals, text = argument.removeprefix("-").removeprefix("-").partition("=")
            if not spelling or spelling.startswith("-"):
                raise FlagError(f"bad flag syntax: {argument}")
            flag = self._by_spelling.get(spelling)
            if flag is None:
                if spelling in ("h", "help"):
                    raise HelpWanted
                raise FlagError(f"flag provided but not defined: -{spelling}")
            if not equals:
                if flag.kind.boolean:
                    text = "true"
                elif rest:
                    text = rest.pop(0)
                else:
                    raise FlagError(f"flag needs an argument: -{spelling}")
            given.put(flag, spelling, self._value(flag, spelling, text))

    @staticmethod
    def _value(flag: Flag, spelling: str, text: str) -> Any:
        try:
            return flag.parse(text)
        except ValueError as error:
            what = "boolean value" if flag.kind.boolean else "value"
            whose = f"-{spelling}" if flag.kind.boolean else f"flag -{spelling}"
            raise FlagError(f'invalid {what} "{text}" for {whose}: {error}') from None

    def read_environment(self, environment: Mapping[str, str], given: Given) -> None:
        """Variables, for the flags that the command line left out. Raises ``FlagError``."""
        variables = {self.variable(spelling): spelling for spelling in self._by_spelling}
        on_command_line = set(given.values)
        for name in sorted(environment):
            ours = name.replace(self._model, self._prefix, 1)
            if self._model and name.startswith(f"{self._model}_") and ours in variables and ours not in environment:
                given.warn(f"environment variable is not read - {ours} is", **{"environment-variable": name})
            if not name.startswith(f"{self._prefix}_") or name in self._also or not environment[name]:
                continue
            spelling = variables.get(name)
            if spelling is None:
                given.warn("unrecognized environment variable", **{"environment-variable": name})
                continue
            flag = self._by_spelling[spelling]
            if flag.name in on_command_line:
                given.warn(
                    "conflicting environment variable is shadowed by corresponding command-line flag "
                    "(either unset environment variable or disable flag)",
                    **{"environment-variable": name},
                )
                continue
            try:
                value = flag.parse(environment[name])
            except ValueError as error:
                raise FlagError(f'invalid value "{environment[name]}" for {name}: {error}', 1) from None
            given.put(flag, spelling, value)

    def read_settings(self, path: str, settings: Mapping[str, object], given: Given) -> None:
        """Keys of a YAML file, flattened to the flags' names. Raises ``FlagError``; keys nobody knows are warned of."""
        for key, value in settings.items():
            flag = self._by_spelling.get(key)
            if flag is None:
                given.warn("unknown key in the configuration file - ignoring", path=path, key=key)
            elif value is not None:
                try:
                    found = flag.from_yaml(value)
                except ValueError as error:
                    raise FlagError(f"{path}: {key}: {error}", 1) from None
                given.put(flag, key, found)

    def variable(self, spelling: str) -> str:
        """The environment variable of a flag."""
        return f"{self._prefix}_{spelling.upper().replace('-', '_')}"
