"""An audit event and its two written forms: a line of JSON, and the text line of old. Pure.

Fields and their order are those of ``audit.k8s.io/v1`` Event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from apilayer.api.gotext import quote

if TYPE_CHECKING:
    from collections.abc import Sequence

_TYPE = b'{"kind":"Event","apiVersion":"audit.k8s.io/v1",'
_LIST = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":['
_NONE = "<none>"


class UserInfo(msgspec.Struct, omit_defaults=True, frozen=True):
    """Who: fields that are empty are left out."""

    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, tuple[str, ...]] = {}


NOBODY = UserInfo()


class ObjectReference(msgspec.Struct, omit_defaults=True, rename="camel"):
    """What the request is about."""

    resource: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    api_group: str = ""
    api_version: str = ""
    resource_version: str = ""
    subresource: str = ""


class ResponseStatus(msgspec.Struct, omit_defaults=True, kw_only=True, frozen=True):
    """The code, and of a Status that was answered what is bounded in size."""

    metadata: dict[str, str]
    status: str = ""
    message: str = ""
    reason: str = ""
    details: dict[str, Any] | None = None
    code: int = 0


class AuthenticationMetadata(msgspec.Struct, frozen=True, rename="camel"):
    """By which mode somebody acts as somebody else."""

    impersonation_constraint: str


class Event(msgspec.Struct, omit_defaults=True, kw_only=True, rename="camel"):
    """One stage of one request."""

    level: str
    audit_id: str = msgspec.field(name="auditID")
    stage: str
    request_uri: str = msgspec.field(name="requestURI")
    verb: str
    user: UserInfo
    impersonated_user: UserInfo | None = None
    authentication_metadata: AuthenticationMetadata | None = None
    source_ips: tuple[str, ...] = msgspec.field(default=(), name="sourceIPs")
    user_agent: str = ""
    object_ref: ObjectReference | None = None
    response_status: ResponseStatus | None = None
    request_object: msgspec.Raw | None = None
    response_object: msgspec.Raw | None = None
    request_received_timestamp: str
    stage_timestamp: str
    annotations: dict[str, str] | None = None


_encode = msgspec.json.Encoder().encode


def micro_time(seconds: float) -> str:
    """Seconds since 1970 as Kubernetes' MicroTime."""
    whole = int(seconds)
    return f"{_second(whole)}.{int((seconds - whole) * 1e6):06d}Z"


@lru_cache(maxsize=8)
def _second(whole: int) -> str:
    """Made once a second: most of what a time costs is this."""
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def encoded(event: Event) -> bytes:
    """The event as JSON, without its type: what lists hold."""
    try:
        return _encode(event)
    except UnicodeEncodeError:  # half a pair of surrogates, in a name of a client's choice
        return _encode(_readable(event))


def _readable(value: Any) -> Any:
    """With question marks for what is no character."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return tuple(_readable(item) for item in value)
    if isinstance(value, msgspec.Struct):
        fields = {name: _readable(getattr(value, name)) for name in value.__struct_fields__}
        return type(value)(**fields)
    return value


def json_line(item: bytes) -> bytes:
    """A line of the log, from an `encoded` event."""
    return b"%s%s\n" % (_TYPE, item[1:])


def event_list(items: Sequence[bytes]) -> bytes:
    """What webhooks are sent: an EventList of `encoded` events."""
    return b"%s%s]}" % (_LIST, b",".join(items))


def text_line(event: Event) -> str:
    """The event in the format that ``--audit-log-format=legacy`` asks for."""
    user, acting = event.user, event.impersonated_user
    groups = _quoted(user.groups) if user.username and user.groups else _NONE
    namespace = (event.object_ref.namespace if event.object_ref is not None else "") or _NONE
    code = "<deferred>" if event.response_status is None else str(event.response_status.code)
    shown = (
        ("id", event.audit_id),
        ("stage", event.stage),
        ("ip", event.source_ips[0] if event.source_ips else "<unknown>"),
        ("method", event.verb),
        ("user", user.username or _NONE),
    )
    texts = [f"{name}={quote(value)}" for name, value in shown]
    texts.append(f"groups={groups}")
    texts.append(f"as={quote(acting.username if acting is not None else '<self>')}")
    texts.append(f"asgroups={_quoted(acting.groups) if acting is not None and acting.groups else '<lookup>'}")
    texts += [f"user-agent={quote(event.user_agent)}", f"namespace={quote(namespace)}"]
    texts += [f"uri={quote(event.request_uri)}", f'response="{code}"']
    return f"{_nanoseconds(event.request_received_timestamp)} AUDIT: {' '.join(texts)}"


def _nanoseconds(micro: str) -> str:
    """A MicroTime as RFC 3339 with as many digits as there are."""
    whole, _, digits = micro.removesuffix("Z").partition(".")
    digits = digits.rstrip("0")
    return f"{whole}.{digits}Z" if digits else f"{whole}Z"


def _quoted(values: Sequence[str]) -> str:
    return ",".join(quote(value) for value in values)
