"""Objects to response bodies: JSON, indented JSON, YAML or protobuf; Status errors to responses. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api import protobuf
from apilayer.pipeline import negotiation
from apilayer.pipeline.negotiation import JSON, PROTOBUF, YAML, Accepted, NotAcceptable
from apilayer.pipeline.request import Response

if TYPE_CHECKING:
    from apilayer.api.status import StatusError
    from apilayer.pipeline.request import Headers, Request

_YAML_STRING = "tag:yaml.org,2002:str"
_YAML_BOOLEANS = frozenset("yYnN")


def encode(obj: Any, accepted: Accepted, *, pretty: bool = False) -> bytes:
    """`obj` in the media type that was agreed on."""
    if accepted.media == YAML:
        return to_yaml(obj)
    if accepted.media == PROTOBUF:
        return protobuf.encode(obj)
    if pretty:
        return orjson.dumps(obj, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return orjson.dumps(obj)


@cache
def _dumper() -> Any:
    """A YAML dumper that chooses quotes as Go's does; few answers are YAML, and importing it is slow."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent(dumper: Any, text: str) -> Any:
        style = None
        if "\n" in text:
            style = "|"
        elif dumper.resolve(yaml.ScalarNode, text, (True, False)) != _YAML_STRING or text in _YAML_BOOLEANS:
            style = '"'
        return dumper.represent_scalar(_YAML_STRING, text, style=style)

    Dumper.add_representer(str, represent)
    return Dumper


def to_yaml(obj: Any) -> bytes:
    """Block-style YAML with sorted keys, as Kubernetes writes it."""
    import yaml

    text: str = yaml.dump(obj, Dumper=_dumper(), default_flow_style=False, sort_keys=True, allow_unicode=True)
    return text.encode()


def pretty_wanted(request: Request, query: dict[str, list[str]]) -> bool:
    """Whether the client wants indented JSON."""
    values = query.get("pretty")
    return negotiation.wants_pretty(values[0] if values else None, request.headers.get("user-agent", ""))


def error_response(request: Request, error: StatusError) -> Response:
    """The Status of an error in the form that the client accepts, JSON when it accepts none."""
    try:
        media = negotiation.negotiate(request.headers.get("accept", "")).media
    except NotAcceptable:
        media = JSON
    accepted = Accepted(media)
    headers: Headers = tuple((name.encode(), value.encode()) for name, value in error.headers)
    pretty = negotiation.wants_pretty(None, request.headers.get("user-agent", ""))
    body = encode(error.status, accepted, pretty=pretty)
    return Response(error.code, body, accepted.content_type, headers)
