"""The label selector language: ``a=b, c!=d, e in (x,y), f notin (z), g, !h, i>3``.

Grammar and messages follow apimachinery's ``pkg/labels`` parser; its quirks that clients can see (``in ()``
means the empty value, ``a=`` too, keywords are values where a value is expected) are kept.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from apilayer.api import status
from apilayer.api.gotext import quote
from apilayer.api.names import label_value, qualified_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A token is a run of anything that is neither blank nor special, or the longest special symbol.
_TOKEN = re.compile(r"[ \t\r\n]*(==|!=|[=!(),<>]|[^ \t\r\n=!(),<>]+)")
_SPECIAL = frozenset(("==", "!=", "=", "!", "(", ")", ",", "<", ">"))
_OPERATORS = "in, notin, =, ==, !=, gt, lt"
_INT64 = re.compile(r"[+-]?[0-9]+\Z")
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1

END = ""


class _SyntaxError(ValueError):
    """What is wrong with the selector, in Kubernetes' words."""


@attrs.frozen
class Requirement:
    """One term: `key`, `operator` (``in notin exists ! gt lt``) and the values it compares with."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels satisfies the term."""
        value = labels.get(self.key)
        operator = self.operator
        if operator == "in":
            return value is not None and value in self.values
        if operator == "notin":
            return value is None or value not in self.values
        if operator == "exists":
            return value is not None
        if operator == "!":
            return value is None
        return self._compare(value)

    def predicate(self) -> Callable[[Mapping[str, str]], bool]:
        """`matches` for many objects: what most terms say costs little more than a lookup."""
        if self.operator != "in":
            return self.matches
        key, values = self.key, self.values
        return lambda labels: labels.get(key) in values

    def _compare(self, value: str | None) -> bool:
        number = _int64(value) if value is not None else None
        if number is None:
            return False
        (bound,) = (int(text) for text in self.values)
        return number > bound if self.operator == "gt" else number < bound


@attrs.frozen
class LabelSelector:
    """All of its requirements must hold; without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether everything matches."""
        return not self.requirements

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels (None: without labels) is selected."""
        known = labels or {}
        return all(requirement.matches(known) for requirement in self.requirements)


_EVERYTHING = LabelSelector()


def parse_label_selector(text: str) -> LabelSelector:
    """The selector that `text` (the value of ``labelSelector=``) spells; "" selects everything.

    Raises StatusError 400 with Kubernetes' text.
    """
    if not text:
        return _EVERYTHING
    try:
        return LabelSelector(tuple(_Parser(text).parse()))
    except _SyntaxError as error:
        raise status.bad_request(str(error)) from None


def _int64(text: str) -> int | None:
    if not _INT64.match(text) or len(text) > 20:
        return None
    number = int(text)
    return number if _INT64_MIN <= number <= _INT64_MAX else None


def _tokens(text: str) -> list[str]:
    found = _TOKEN.findall(text.rstrip(" \t\r\n"))
    found.append(END)
    return found


class _Parser:
    """Recursive descent over the tokens; the empty string stands for the end and for nothing else."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._next = 0

    def _peek(self) -> str:
        return self._tokens[self._next]

    def _take(self) -> str:
        word = self._tokens[self._next]
        if word:
            self._next += 1
        return word

    def parse(self) -> list[Requirement]:
        requirements: list[Requirement] = []
        while True:
            word = self._peek()
            if not word:
                return requirements
            if not _is_identifier(word) and word != "!":
                raise _SyntaxError(f"found '{word}', expected: !, identifier, or 'end of string'")
            try:
                requirements.append(self._requirement())
            except _SyntaxError as error:
                raise _SyntaxError(f"unable to parse requirement: {error}") from None
            separator = self._take()
            if not separator:
                return requirements
            if separator != ",":
                raise _SyntaxError(f"found '{separator}', expected: ',' or 'end of string'")
            following = self._peek()
            if not _is_identifier(following) and following != "!":
                raise _SyntaxError(f"found '{following}', expected: identifier after ','")

    def _requirement(self) -> Requirement:
        absent = self._peek() == "!"
        if absent:
            self._take()
        key = self._take()
        if not _is_identifier(key):
            raise _SyntaxError(f"found '{key}', expected: identifier")
        problems = qualified_name(key)
        if problems:
            raise _SyntaxError(f"<nil>: Invalid value: {quote(key)}: {'; '.join(problems)}")
        if absent:
            return Requirement(key, "!")
        if self._peek() in (END, ","):
            return Requirement(key, "exists")
        return self._comparison(key)

    def _comparison(self, key: str) -> Requirement:
        operator = self._take()
        if operator in ("in", "notin"):
            values = self._value_list()
        elif operator in ("=", "==", "!=", ">", "<"):
            values = {self._exact_value()}
        else:
            raise _SyntaxError(f"found '{operator}', expected: {_OPERATORS}")
        kind = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}.get(operator, operator)
        problems: list[str] = []
        ordered = sorted(values)
        if kind in ("gt", "lt") and _int64(ordered[0]) is None:
            rule = "for 'Gt', 'Lt' operators, the value must be an integer"
            problems.append(f"values[0]: Invalid value: {quote(ordered[0])}: {rule}")
        for index, value in enumerate(ordered):
            wrong = label_value(value)
            if wrong:
                problems.append(f"values[{index}][{key}]: Invalid value: {quote(value)}: {'; '.join(wrong)}")
        if problems:
            raise _SyntaxError(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")
        return Requirement(key, kind, frozenset(values))

    def _exact_value(self) -> str:
        if self._peek() in (END, ","):
            return ""
        value = self._take()
        if not _is_identifier(value):
            raise _SyntaxError(f"found '{value}', expected: identifier")
        return value

    def _value_list(self) -> set[str]:
        opening = self._take()
        if opening != "(":
            raise _SyntaxError(f"found '{opening}' expected: '('")
        first = self._peek()
        if first == ")":
            self._take()
            return {""}
        if first != "," and not _is_identifier(first):
            raise _SyntaxError(f"found '{first}', expected: ',', ')' or identifier")
        values = self._identifiers()
        if self._take() != ")":
            raise _SyntaxError(f"found '{first}', expected: ')'")
        return values

    def _identifiers(self) -> set[str]:
        """Names between commas; a comma with nothing on one side stands for the empty value."""
        values: set[str] = set()
        while True:
            word = self._take()
            if word == ",":
                if not values:
                    values.add("")
                following = self._peek()
                if following == ")":
                    values.add("")
                    return values
                if following == ",":
                    self._take()
                    values.add("")
            elif _is_identifier(word):
                values.add(word)
                following = self._peek()
                if following == ")":
                    return values
                if following != ",":
                    raise _SyntaxError(f"found '{following}', expected: ',' or ')'")
            else:
                raise _SyntaxError(f"found '{word}', expected: ',', or identifier")


def _is_identifier(word: str) -> bool:
    return bool(word) and word not in _SPECIAL
