r"""The field selector language: ``metadata.name=a,status.phase!=Running``, with ``\,``, ``\=`` and ``\\``.

Which labels exist is data of the resource's row; messages follow apimachinery's ``pkg/fields`` and the
conversion of field labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api import status

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from apilayer.api.resources import Resource


@attrs.frozen
class FieldTerm:
    """One comparison: the value of field `label` equals (or, with `negated`, differs from) `value`."""

    label: str
    value: str
    negated: bool = False


@attrs.frozen
class FieldSelector:
    """All of its terms must hold; without any it matches everything."""

    resource: Resource
    terms: tuple[FieldTerm, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether everything matches."""
        return not self.terms

    def matches(self, obj: Mapping[str, Any]) -> bool:
        """Whether `obj`, an object of the selector's resource, is selected."""
        value_of = self.resource.field_value
        return all((value_of(obj, term.label) == term.value) is not term.negated for term in self.terms)

    def predicates(self) -> list[Callable[[Mapping[str, Any]], bool]]:
        """One for each term, for many objects."""
        value_of = self.resource.field_value

        def of(term: FieldTerm) -> Callable[[Mapping[str, Any]], bool]:
            label, value, negated = term.label, term.value, term.negated
            return lambda obj: (value_of(obj, label) == value) is not negated

        return [of(term) for term in self.terms]

    def exact(self, label: str) -> str | None:
        """The one value that field `label` must have, or None when the selector does not demand one."""
        for term in self.terms:
            if term.label == label and not term.negated:
                return term.value
        return None


def parse_field_selector(text: str, resource: Resource) -> FieldSelector:
    """The selector that `text` (the value of ``fieldSelector=``) spells; "" selects everything.

    Raises StatusError 400 with Kubernetes' text for bad syntax and for labels the resource does not have.
    """
    if not text:
        return FieldSelector(resource)
    terms = parse_field_terms(text)
    for term in terms:
        if term.label not in resource.field_selectors:
            raise status.bad_request(resource.labels.unknown.replace("{label}", term.label))
    return FieldSelector(resource, terms)


def parse_field_terms(text: str) -> tuple[FieldTerm, ...]:
    """The terms that `text` spells, whatever resource they are about. Raises StatusError 400 for bad syntax."""
    terms: list[FieldTerm] = []
    for part in sorted(_split_terms(text)):
        if not part:
            continue
        split = _split_term(part)
        if split is None:
            raise status.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        label, operator, escaped = split
        value = _unescape(escaped)
        terms.append(FieldTerm(label, value, negated=operator == "!="))
    return tuple(terms)


def _split_terms(text: str) -> list[str]:
    """The parts between commas that are not escaped."""
    parts: list[str] = []
    start = 0
    escaped = False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ",":
            parts.append(text[start:index])
            start = index + 1
    parts.append(text[start:])
    return parts


def _split_term(part: str) -> tuple[str, str, str] | None:
    """Label, operator and escaped value at the first operator, or None when there is none."""
    for index in range(len(part)):
        for operator in ("!=", "==", "="):
            if part.startswith(operator, index):
                return part[:index], operator, part[index + len(operator) :]
    return None


def _unescape(value: str) -> str:
    if not any(char in value for char in "\\,="):
        return value
    plain: list[str] = []
    escaped = False
    for char in value:
        if escaped:
            if char not in "\\,=":
                raise _bad_escape(f"\\{char}")
            plain.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in ",=":
            message = f"invalid field selector: unescaped character in value: {ord(char)}"
            raise status.bad_request(message)
        else:
            plain.append(char)
    if escaped:
        raise _bad_escape("\\")
    return "".join(plain)


def _bad_escape(sequence: str) -> status.StatusError:
    return status.bad_request(f"invalid field selector: invalid escape sequence: {sequence}")
