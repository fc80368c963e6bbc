"""Lists that are sent empty. They are stored as null, which nobody owns, but who sends one owns the field.

That is so of lists that Kubernetes always writes; of others it does not know the two apart. Such a list therefore
stays in an object until its managedFields are found out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from apilayer.api.types import message

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apilayer.api.types import Field

Object = dict[str, Any]

_EMPTY_LIST = re.compile(rb"\[\s*\]")


def names_empty_list(body: bytes) -> bool:
    """Whether JSON or YAML may have one in it."""
    return _EMPTY_LIST.search(body) is not None


def keep_empty(document: Object, made: Object, name: str) -> None:
    """Puts the empty lists of `document` back into what the message `name` was `made` of it."""
    fields = message(name).json_fields
    for key, value in document.items():
        field = fields.get(key)
        if field is None or key not in made:
            continue
        if field.repeated and field.always and value == []:
            made[key] = []
        elif field.is_message and made[key]:
            for item, result in _messages(field, value, made[key]):
                if item.__class__ is dict:
                    keep_empty(item, result, field.type)


def _messages(field: Field, value: Any, made: Any) -> Iterable[tuple[Any, Any]]:
    """The messages in a field, each with what was made of it."""
    if field.repeated:
        return zip(value, made, strict=True)
    if field.is_map:
        return ((item, made[key]) for key, item in value.items())
    return ((value, made),)


def without_empty(obj: Object, name: str) -> Object:
    """An object of the message `name` as it is stored; what has no such list in it is left as it is."""
    fields = message(name).json_fields
    changed = {key: stored for key, value in obj.items() if (stored := _stored(fields.get(key), value)) is not value}
    return {**obj, **changed} if changed else obj


def _stored(field: Field | None, value: Any) -> Any:
    if field is None:
        return value
    if field.repeated and field.always and value == []:
        return None
    if not field.is_message or not value:
        return value
    if field.repeated:
        items = [without_empty(item, field.type) for item in value]
        return items if any(item is not before for item, before in zip(items, value, strict=True)) else value
    if field.is_map:
        members = {key: without_empty(item, field.type) for key, item in value.items()}
        return members if any(members[key] is not value[key] for key in value) else value
    return without_empty(value, field.type) if value.__class__ is dict else value
