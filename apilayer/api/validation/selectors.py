"""Rules for label selectors and node selectors inside objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.metadata import validate_labels

if TYPE_CHECKING:
    from collections.abc import Mapping

_WITH_VALUES = ("In", "NotIn")
_WITHOUT_VALUES = ("Exists", "DoesNotExist")
_NEED_VALUES = "must be specified when `operator` is 'In' or 'NotIn'"
_FORBID_VALUES = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"


def label_selector(selector: Object | None, path: str) -> Errors:
    """Rules for a label selector; None is fine."""
    if selector is None:
        return []
    wrong = validate_labels(part(selector, "matchLabels"), f"{path}.matchLabels")
    for where, requirement in indexed(selector, "matchExpressions", path):
        wrong += _requirement(requirement, where)
    return wrong


def _requirement(requirement: Object, path: str, *, ordered: bool = False) -> Errors:
    """Rules for one expression; only those on nodes know the `ordered` operators Gt and Lt."""
    operator, values = text(requirement, "operator"), items(requirement, "values")
    wrong: Errors = []
    if operator in _WITH_VALUES:
        if not values:
            wrong.append(field.required(f"{path}.values", _NEED_VALUES))
    elif operator in _WITHOUT_VALUES:
        if values:
            wrong.append(field.forbidden(f"{path}.values", _FORBID_VALUES))
    elif ordered and operator in ("Gt", "Lt"):
        if len(values) != 1:
            detail = "must be specified single value when `operator` is 'Lt' or 'Gt'"
            wrong.append(field.required(f"{path}.values", detail))
    else:
        wrong.append(field.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    wrong += named(f"{path}.key", text(requirement, "key"), names.qualified_name)
    for index, value in enumerate(values):
        wrong += named(f"{path}.values[{index}]", value, names.label_value)
    return wrong


def matches(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """Whether a valid selector matches; None matches nothing, {} everything."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in part(selector, "matchLabels").items()):
        return False
    return all(_fulfils(requirement, labels) for requirement in items(selector, "matchExpressions"))


def _fulfils(requirement: Object, labels: Mapping[str, str]) -> bool:
    key, operator = requirement["key"], requirement["operator"]
    if operator == "In":
        return key in labels and labels[key] in items(requirement, "values")
    if operator == "NotIn":
        return key not in labels or labels[key] not in items(requirement, "values")
    return bool((key in labels) == (operator == "Exists"))


def node_selector(selector: Object, path: str) -> Errors:
    """Rules for the required part of a node affinity."""
    terms = indexed(selector, "nodeSelectorTerms", path)
    if not terms:
        return [field.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    return [error for where, term in terms for error in node_selector_term(term, where)]


def node_selector_term(term: Object, path: str) -> Errors:
    """Rules for one term: expressions on labels, and on fields."""
    wrong: Errors = []
    for where, requirement in indexed(term, "matchExpressions", path):
        wrong += _requirement(requirement, where, ordered=True)
    for where, requirement in indexed(term, "matchFields", path):
        wrong += _node_field(requirement, where)
    return wrong


def _node_field(requirement: Object, path: str) -> Errors:
    operator, values = text(requirement, "operator"), items(requirement, "values")
    wrong: Errors = []
    if operator not in _WITH_VALUES:
        wrong.append(field.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        wrong.append(field.required(f"{path}.values", detail))
    key = text(requirement, "key")
    if key != "metadata.name":
        wrong.append(field.invalid(f"{path}.key", key, "not a valid field selector key"))
        return wrong
    for index, value in enumerate(values):
        wrong += named(f"{path}.values[{index}]", value, names.dns_subdomain)
    return wrong
