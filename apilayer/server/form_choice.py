"""Which form the answer to a request takes: what its Accept header and query ask for."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from apilayer.api.table import check_include_object
from apilayer.pipeline.encoding import pretty_wanted
from apilayer.pipeline.negotiation import BROWSERS, MAX_REMEMBERED_CHARS, PROTOBUF, NotAcceptable, negotiate
from apilayer.server.forms import Form
from apilayer.server.protobuf_forms import ProtobufForm

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from apilayer.pipeline.pipeline import Context


def form_of(context: Context, row: Resource) -> Form:
    """How the answer is to look. Raises StatusError 400 or 406."""
    request, query = context.request, context.query
    accept = request.headers.get("accept", "")
    include = query["includeObject"][0] if "includeObject" in query else ""
    if "pretty" in query:
        pretty = pretty_wanted(request, query)
    else:
        pretty = request.headers.get("user-agent", "").startswith(BROWSERS)
    made = _remembered if len(accept) + len(include) <= MAX_REMEMBERED_CHARS else _form
    return made(row, accept, include, pretty)


def _form(row: Resource, accept: str, include: str, pretty: bool) -> Form:
    try:
        accepted = negotiate(accept)
    except NotAcceptable as error:
        raise error.status_error() from error
    include = check_include_object(include) if accepted.form == "Table" else ""
    made = ProtobufForm if accepted.media == PROTOBUF else Form
    return made(row, accepted, pretty=pretty or accepted.pretty, include=include)


_remembered = lru_cache(maxsize=1024)(_form)
