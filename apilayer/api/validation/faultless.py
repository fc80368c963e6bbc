"""Pod specs about which there is nothing to say, so that the same one is not gone through again.

Most changes of a pod leave its spec alone, and replicas share one, but for the name of the volume that admission
makes for their token. That name counts as one and the same: whatever holds for a spec holds when a name in it is
another everywhere, if it is no less a name and no other volume's.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable

Finding = TypeVar("Finding")

MAX_FAULTLESS = 4096
MAX_RECENT = 64
MAX_RECENT_BYTES = 16 * 1024
_MADE_NAME = re.compile(rb'"kube-api-access-[bcdfghjklmnpqrstvwxz2456789]{5}"')
_STAND_IN = b"\0"  # no JSON has it


class Faultless(Generic[Finding]):
    """Remembers, by digest, what a check has found nothing in."""

    def __init__(self) -> None:
        self._digests: dict[bytes, None] = {}
        self._recent: dict[bytes, None] = {}
        """The texts of the last few: what is changed is often changed again, and to find a digest takes longer."""

    def __len__(self) -> int:
        return len(self._digests)

    def findings(self, subject: Any, check: Callable[[], list[Finding]]) -> list[Finding]:
        """What `check` finds, which depends on `subject`, a JSON value, alone."""
        try:
            text = orjson.dumps(subject)
        except orjson.JSONEncodeError:  # a number that is too large, say
            return check()
        if text in self._recent:
            return []
        found = self._by_digest(text, check)
        if not found and len(text) <= MAX_RECENT_BYTES:
            if len(self._recent) >= MAX_RECENT:
                del self._recent[next(iter(self._recent))]
            self._recent[text] = None
        return found

    def _by_digest(self, text: bytes, check: Callable[[], list[Finding]]) -> list[Finding]:
        made = set(_MADE_NAME.findall(text))
        if len(made) == 1:
            text = text.replace(made.pop(), _STAND_IN)
        digest = hashlib.blake2b(text, digest_size=32).digest()
        if digest in self._digests:
            return []
        found = check()
        if not found:
            if len(self._digests) >= MAX_FAULTLESS:
                del self._digests[next(iter(self._digests))]
            self._digests[digest] = None
        return found
