"""Which form the answer to a request takes: what its Accept header and query ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.api.table import check_include_object
from apilayer.pipeline.encoding import pretty_wanted
from apilayer.pipeline.negotiation import PROTOBUF, NotAcceptable, negotiate
from apilayer.server.forms import Form
from apilayer.server.protobuf_forms import ProtobufForm

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from apilayer.pipeline.pipeline import Context


def form_of(context: Context, row: Resource) -> Form:
    """How the answer is to look. Raises StatusError 400 or 406."""
    request = context.request
    try:
        accepted = negotiate(request.headers.get("accept", ""))
    except NotAcceptable as error:
        raise error.status_error() from error
    include = ""
    if accepted.form == "Table":
        include = check_include_object(context.query.get("includeObject", [""])[0])
    made = ProtobufForm if accepted.media == PROTOBUF else Form
    return made(row, accepted, pretty=pretty_wanted(request, context.query), include=include)
