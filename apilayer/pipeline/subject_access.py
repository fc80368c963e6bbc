"""Between what a SubjectAccessReview says and the attributes of a request, both ways. Pure.

Source: Kubernetes' ``pkg/registry/authorization/util/helpers.go`` and ``apiserver/plugin/pkg/authorizer/webhook``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api.names import label_value, qualified_name
from apilayer.api.selectors import FieldTerm, Requirement, parse_field_terms, parse_label_selector
from apilayer.api.status import StatusError
from apilayer.pipeline.authentication import User
from apilayer.pipeline.authorization import aggregate
from apilayer.pipeline.request_info import RequestInfo
from apilayer.pipeline.selected import FIELDS, LABELS

if TYPE_CHECKING:
    from apilayer.pipeline.authorization import Verdict

Object = dict[str, Any]

_LABEL_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}
_SHOWN_OPERATORS = {name: shown for shown, name in _LABEL_OPERATORS.items()}
_PLAIN = ("namespace", "verb", "group", "version", "resource", "subresource", "name")


def subject_of(spec: Object) -> User:
    """Whom a review is about."""
    extra = tuple(sorted((name.lower(), tuple(values)) for name, values in (spec.get("extra") or {}).items()))
    return User(spec.get("user") or "", spec.get("uid") or "", tuple(spec.get("groups") or ()), extra)


def asked_about(spec: Object) -> RequestInfo:
    """What a review asks about, as a request would have it."""
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return RequestInfo(path.get("path") or "", path.get("verb") or "")
    asked = spec["resourceAttributes"]
    fields, bad_fields = _fields(asked.get(FIELDS) or {})
    labels, bad_labels = _labels(asked.get(LABELS) or {})
    named: Object = {key: asked.get(key) or "" for key in _PLAIN}
    unreadable = (*((FIELDS,) if bad_fields else ()), *((LABELS,) if bad_labels else ()))
    return RequestInfo("", is_resource=True, fields=fields, labels=labels, unreadable=unreadable, **named)


def _fields(selector: Object) -> tuple[tuple[FieldTerm, ...], bool]:
    """What can be read of it, and whether something cannot."""
    if selector.get("rawSelector"):
        try:
            return parse_field_terms(selector["rawSelector"]), False
        except StatusError:
            return (), True
    written = selector.get("requirements") or ()
    terms = [
        FieldTerm(item.get("key") or "", item["values"][0], negated=item["operator"] == "NotIn")
        for item in written
        if item.get("operator") in ("In", "NotIn") and len(item.get("values") or ()) == 1
    ]
    return tuple(terms), len(terms) < len(written)


def _labels(selector: Object) -> tuple[tuple[Requirement, ...], bool]:
    if selector.get("rawSelector"):
        try:
            return parse_label_selector(selector["rawSelector"]).requirements, False
        except StatusError:
            return (), True
    written = selector.get("requirements") or ()
    found = [
        Requirement(item["key"], _LABEL_OPERATORS[item["operator"]], frozenset(item.get("values") or ()))
        for item in written
        if item.get("operator") in _LABEL_OPERATORS and _is_label(item)
    ]
    return tuple(found), len(found) < len(written)


def _is_label(item: Object) -> bool:
    values = item.get("values") or ()
    return not qualified_name(item.get("key") or "") and not any(label_value(value) for value in values)


def evaluation_error(verdict: Verdict, info: RequestInfo) -> str:
    """What a review says of what went wrong while it was decided; "" for nothing."""
    said = [verdict.error] if verdict.error else []
    for kind, kept in ((FIELDS, info.fields), (LABELS, info.labels)):
        if kind in info.unreadable:
            how = "partially ignored" if kept else "ignored"
            said.append(f"spec.resourceAttributes.{kind} {how} due to parse error")
    return aggregate(said)


def review_spec(user: User, info: RequestInfo, version: str) -> Object:
    """The spec of a SubjectAccessReview (`version` v1 or v1beta1) about a request; its order never differs."""
    spec: Object = {}
    if info.is_resource:
        asked = {key: value for key in _PLAIN if (value := getattr(info, key))}
        if info.fields:
            asked[FIELDS] = {"requirements": [_shown_field(term) for term in info.fields]}
        labels = [_shown_label(item) for item in info.labels if item.operator in _SHOWN_OPERATORS]
        if labels:
            asked[LABELS] = {"requirements": labels}
        spec["resourceAttributes"] = asked
    else:
        spec["nonResourceAttributes"] = {"path": info.path, "verb": info.verb}
    shown: Object = {"user": user.name, "group" if version == "v1beta1" else "groups": list(user.groups)}
    shown |= {"extra": {name: list(values) for name, values in user.extra}, "uid": user.uid}
    return spec | {key: value for key, value in shown.items() if value}


def _shown_field(term: FieldTerm) -> Object:
    return {"key": term.label, "operator": "NotIn" if term.negated else "In", "values": [term.value]}


def _shown_label(item: Requirement) -> Object:
    shown: Object = {"key": item.key, "operator": _SHOWN_OPERATORS[item.operator]}
    if item.values:
        shown["values"] = sorted(item.values)
    return shown
