"""The fields of new objects of one kind, whose specs are the same again and again: a set of replicas has but one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from apilayer.api.managed.compare import Comparison, compare

if TYPE_CHECKING:
    from apilayer.api.managed.typed import Type

Object = dict[str, Any]

MAX_SPECS = 512
MAX_SPEC_BYTES = 16 * 1024
"""The fields of larger ones are worked out each time."""
_SPEC = "spec"


class Replicas:
    """Remembers the fields of specs, by digest."""

    def __init__(self) -> None:
        self._specs: dict[bytes, Comparison] = {}

    def __len__(self) -> int:
        return len(self._specs)

    def compare_new(self, shape: Type, nothing: Object, new: Object) -> Comparison:
        """As `compare` of `nothing`, the kind with nothing filled in, and a new object. Raises ItemError."""
        digest = _digest(new.get(_SPEC))
        if digest is None:
            return compare(shape, nothing, new)
        spec = self._specs.get(digest)
        if spec is None:
            spec = compare(shape, _spec_of(nothing), _spec_of(new))
            if len(self._specs) >= MAX_SPECS:
                del self._specs[next(iter(self._specs))]
            self._specs[digest] = spec
        rest = compare(shape, _without_spec(nothing), _without_spec(new))
        touched = {**rest.touched, **spec.touched}
        return Comparison({key: touched[key] for key in sorted(touched)}, {**rest.removed, **spec.removed})


def _digest(spec: Any) -> bytes | None:
    """None for a spec that is not to be remembered."""
    if not spec:
        return None
    try:
        text = orjson.dumps(spec)
    except orjson.JSONEncodeError:  # a number that is too large, say
        return None
    return hashlib.blake2b(text, digest_size=32).digest() if len(text) <= MAX_SPEC_BYTES else None


def _spec_of(obj: Object) -> Object:
    return {_SPEC: obj[_SPEC]} if _SPEC in obj else {}


def _without_spec(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key != _SPEC}
