"""The body of an apply request: YAML, of which JSON is a part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import orjson

from apilayer.api.decode.check import json_kind
from apilayer.api.encoding import jsontext
from apilayer.api.errors import DecodeError
from apilayer.api.status import bad_request

if TYPE_CHECKING:
    from apilayer.api.decode import FieldValidation

Object = dict[str, Any]

MEDIA_TYPE = "application/apply-patch+yaml"


def is_apply(content_type: str | None) -> bool:
    """Whether a PATCH with this Content-Type is an apply."""
    return (content_type or "").partition(";")[0].strip().lower() == MEDIA_TYPE


@attrs.frozen
class Configuration:
    """What is to be applied, and a text for each name that the body repeats (the last value counts)."""

    object: Object
    repeated: list[str]

    def warnings(self, field_validation: FieldValidation) -> list[str]:
        """What the client is warned of. Raises StatusError 400 where repeated names are not allowed."""
        if field_validation == "Strict" and self.repeated:
            lines = "".join(f"\n  {line}" for line in self.repeated)
            raise bad_request(
                f"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:{lines}"
            )
        return self.repeated if field_validation == "Warn" else []


def read(body: bytes) -> Configuration:
    """The configuration in `body`. Raises StatusError 400."""
    try:
        value, repeated = _load(body)
    except DecodeError as error:
        raise bad_request(f"error decoding YAML: error converting YAML to JSON: {error}") from error
    if value is None:
        value = {}
    if not isinstance(value, dict):
        raise bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal "
            f"{json_kind(value)} into Go value of type map[string]interface {{}}"
        )
    return Configuration(value, repeated)


def _load(body: bytes) -> tuple[Any, list[str]]:
    if body.lstrip()[:1] == b"{":
        try:
            value, repeats = jsontext.loads_checked(body)
        except DecodeError:
            pass  # flow-style YAML, or an error that the YAML parser words
        else:
            if not repeats:
                return value, []
    from apilayer.api.encoding import yamltext  # here: the parser takes 12 ms to import

    value, repeated = yamltext.loads(body)
    return orjson.loads(orjson.dumps(value)), repeated  # plain dicts in place of the parser's own
