"""What a request for a collection asks for by its selectors, so that authorizers can tell it from asking for all. Pure.

Source: Kubernetes' ``apiserver/pkg/endpoints/request/requestinfo.go`` and ``filters/authorization.go``.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from apilayer.api.names import path_segment
from apilayer.api.selectors import parse_field_terms, parse_label_selector
from apilayer.api.status import StatusError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from apilayer.api.selectors import FieldTerm, Requirement
    from apilayer.pipeline.request_info import RequestInfo

FIELDS, LABELS = "fieldSelector", "labelSelector"
MAX_REMEMBERED_CHARS = 512
"""Longer selectors are parsed each time, so that what is remembered stays small."""
_OF_COLLECTIONS = frozenset({"list", "watch", "deletecollection"})
_BY_NAME = frozenset({"list", "watch"})


def selected(info: RequestInfo, query: Mapping[str, Sequence[str]]) -> RequestInfo:
    """`info` with the selectors of its query, and the name of the one object that a list or watch is about, if any.

    So somebody who may list or watch one object by name can. Deletions of collections never have a name.
    """
    if info.verb not in _OF_COLLECTIONS or not (FIELDS in query or LABELS in query):
        return info
    if not info.is_resource or info.legacy_watch:
        return info
    fields, labels = _text(query, FIELDS), _text(query, LABELS)
    if len(fields) + len(labels) <= MAX_REMEMBERED_CHARS:
        return _remembered(info, fields, labels)
    return with_selectors(info, fields, labels)


def _text(query: Mapping[str, Sequence[str]], key: str) -> str:
    return next(iter(query.get(key, ())), "")


def with_selectors(info: RequestInfo, fields: str, labels: str) -> RequestInfo:
    """`info` with both selectors; one that cannot be read is left out, and said to be."""
    unreadable = []
    terms: tuple[FieldTerm, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    try:
        terms = parse_field_terms(fields)
    except StatusError:
        unreadable.append(FIELDS)
    try:
        requirements = parse_label_selector(labels).requirements
    except StatusError:
        unreadable.append(LABELS)
    name = info.name
    if not name and info.verb in _BY_NAME:
        name = next((term.value for term in terms if term.label == "metadata.name" and not term.negated), "")
        if path_segment(name):
            name = ""
    return msgspec.structs.replace(info, name=name, fields=terms, labels=requirements, unreadable=tuple(unreadable))


_remembered = lru_cache(maxsize=1024)(with_selectors)
