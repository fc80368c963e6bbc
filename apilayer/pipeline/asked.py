"""What a request's method, path and query ask for, whoever asks and whenever: worked out once. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from apilayer.pipeline import request_info
from apilayer.pipeline.metrics import labels_of
from apilayer.pipeline.selected import selected
from apilayer.registry.options import ListOptions, parse_query

if TYPE_CHECKING:
    from apilayer.pipeline.metrics import Labels
    from apilayer.pipeline.request_info import RequestInfo
    from apilayer.registry.options import Query


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for. Shared by all that ask for the same: do not change."""

    info: RequestInfo
    query: Query
    subject: RequestInfo
    """`info` as authorizers and the audit see it, with the selectors of the query."""
    labels: Labels
    """What it is counted under, but that a patch may be an apply."""


def what_is_asked(method: str, path: str, query: str) -> Asked:
    """What a request asks for; `path` is percent-decoded. A list that is to be watched is a watch.

    What is long is worked out each time, so that what is remembered stays small. Raises StatusError 400.
    """
    return (
        _remembered(method, path, query)
        if len(path) + len(query) <= request_info.MAX_REMEMBERED_CHARS
        else _asked(method, path, query)
    )


def _asked(method: str, path: str, text: str) -> Asked:
    info, query = request_info.parse(method, path), parse_query(text)
    if info.verb == "list" and ListOptions.asks_to_watch(query):
        info = msgspec.structs.replace(info, verb="watch")
    return Asked(info, query, selected(info, query), labels_of(info, query))


_remembered = lru_cache(maxsize=4096)(_asked)
