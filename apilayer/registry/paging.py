"""Continue tokens: where a limited list goes on, and at which revision. Pure.

Source: Kubernetes API concepts, "Retrieving large results sets in chunks".
"""

from __future__ import annotations

import base64
import binascii
import posixpath

import orjson

from apilayer.api import status
from apilayer.api.gotext import quote

VERSION = "meta.k8s.io/v1"
INCONSISTENT = -1
"""The revision in a token that goes on at the latest state, because the old one is gone."""
COMPACTED_MESSAGE = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an inconsistent "
    "list - objects that were created, modified, or deleted between the time the first chunk was returned "
    "and now may show up in the list."
)


def encode(prefix: bytes, last_key: bytes, revision: int) -> str:
    """The token for the list under `prefix` (which ends in a slash) that goes on after `last_key`."""
    start = last_key[len(prefix) - 1 :].decode() + "\0"
    raw = orjson.dumps({"v": VERSION, "rv": revision, "start": start})
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def encode_start(prefix: bytes, start: bytes) -> str:
    """Like `encode` for the key to start at, at the latest revision."""
    return encode(prefix, start.removesuffix(b"\0"), INCONSISTENT)


def decode(token: str, prefix: bytes) -> tuple[bytes, int]:
    """The key to start at and the revision. Raises StatusError 400 for a token that is not ours."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _invalid("illegal base64 data at input byte 0") from error
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _invalid(_go_json_error(raw)) from error
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        version = fields.get("v", "") if isinstance(fields, dict) else ""
        raise status.bad_request(
            f"invalid continue token: continue key is not valid: server does not recognize this encoded version "
            f"{quote(str(version))}"
        )
    revision, start = fields.get("rv"), fields.get("start")
    if not isinstance(revision, int) or isinstance(revision, bool) or revision == 0:
        raise _invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not isinstance(start, str) or not start:
        raise _invalid("encoded start key empty (version meta.k8s.io/v1)")
    path = start if start.startswith("/") else "/" + start
    if posixpath.normpath(path) != path or path.startswith("//"):
        raise _invalid(start)
    return prefix[:-1] + path.encode(), revision


def _invalid(detail: str) -> status.StatusError:
    return status.bad_request(f"invalid continue token: continue key is not valid: {detail}")


def _go_json_error(raw: bytes) -> str:
    text = raw.decode(errors="replace").lstrip()
    if not text:
        return "unexpected end of JSON input"
    return f"invalid character '{text[0]}' looking for beginning of value"
