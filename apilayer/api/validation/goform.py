"""Objects as Go prints them in messages: fields by their Go names, in the order of Kubernetes' own structs.

Kubernetes validates an internal form of its objects and shows parts of it in messages. ``goform.txt`` lists
the fields of each struct of that form; a message that it does not list has its fields in wire order.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from apilayer.api import types
from apilayer.api.decode.convert import ZERO_SCALARS

_HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers")
_POD_SPEC = "core/v1.PodSpec"


@functools.cache
def _table() -> dict[str, tuple[str, ...]]:
    lines = Path(__file__).with_name("goform.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {name: tuple(fields) for name, *fields in rows}


@functools.cache
def _fields(name: str) -> tuple[tuple[str, str, types.Field], ...]:
    """Go name, JSON name and wire field of each field of a struct, in order."""
    known = types.message(name).json_fields
    listed = _table().get(name)
    if listed is None:
        return tuple((key[:1].upper() + key[1:], key, field) for key, field in known.items())
    by_lower = {key.lower(): (key, field) for key, field in known.items()}
    return tuple((go_name, *by_lower[go_name.lower()]) for go_name in listed if go_name.lower() in by_lower)


def of(obj: dict[str, Any], name: str) -> dict[str, Any]:
    """`obj`, a message `name` in canonical form, with Go's names and every field present."""
    out = {go_name: _value(obj.get(key), field) for go_name, key, field in _fields(name)}
    if name == _POD_SPEC:
        return _pod_spec(obj, out)
    return out


def _pod_spec(obj: dict[str, Any], out: dict[str, Any]) -> dict[str, Any]:
    """The internal form keeps what concerns the host's namespaces in the security context."""
    context = out["SecurityContext"]
    if context is not None:
        host = {
            key[:1].upper() + key[1:]: obj.get(key, False if key.startswith("host") and key != "hostUsers" else None)
            for key in _HOST_FIELDS
        }
        out["SecurityContext"] = {**host, **context}
    return out


def _value(value: Any, field: types.Field) -> Any:
    if value is None:
        if field.repeated or field.is_map or field.pointer:
            return None
        if field.is_message and not field.type.startswith("meta/"):
            return of({}, field.type)
        return ZERO_SCALARS.get(field.type)
    if not field.is_message or field.type.startswith("meta/"):
        return dict(sorted(value.items())) if field.is_map else value
    if field.repeated:
        return [of(item, field.type) for item in value]
    if field.is_map:
        return {key: of(item, field.type) for key, item in sorted(value.items())}
    return of(value, field.type)
