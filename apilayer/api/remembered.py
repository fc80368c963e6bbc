"""Memory of what is made of specs of pods: replicas share one spec, and most changes of a pod leave its spec alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

    Object = dict[str, Any]
    Change = Callable[[Object], Object]

SPECS = frozenset({"core/v1.PodSpec"})
"""Messages that are large and the same again and again, in many objects."""
MAX_KNOWN = 256
MAX_BYTES = 16 * 1024
"""What is made of larger ones is made each time."""


def remembered(change: Change, *, in_place: bool = False) -> Change:
    """`change`, which makes one JSON object of another and of nothing else, with a memory.

    What comes out is the caller's alone. `in_place`: it may be what went in, as it is what `change` works on.
    """
    known: dict[bytes, bytes] = {}

    def remembering(obj: Object) -> Object:
        try:
            text = orjson.dumps(obj, option=orjson.OPT_PASSTHROUGH_SUBCLASS)
        except TypeError:  # a number that is too large, or one that is kept as its digits
            return change(obj)
        made = known.get(text)
        if made is None:
            changed = change(obj)
            if len(text) <= MAX_BYTES:
                if len(known) >= MAX_KNOWN:
                    del known[next(iter(known))]
                known[text] = orjson.dumps(changed)
            return changed
        return obj if in_place and made == text else orjson.loads(made)

    return remembering
