"""Object metadata that the server fills in: uids, times, generated names. Pure functions over injected values."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

GENERATED_SUFFIX_LENGTH = 5
GENERATE_NAME_MAX_PREFIX = 58
# No vowels and no digits that look like letters, so that no words appear.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

# What the server alone decides; whatever a client sends in these on create is dropped.
_SERVER_SET = ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def new_uid() -> str:
    """A fresh random uid (RFC 4122 version 4)."""
    return str(uuid4())


def utc_now() -> datetime:
    """The wall clock in UTC."""
    return datetime.now(UTC)


def timestamp(when: datetime) -> str:
    """`when` (UTC) as metav1.Time prints it: RFC 3339, whole seconds, ``Z``."""
    return when.isoformat(timespec="seconds")[:19] + "Z"


def generate_name(prefix: str) -> str:
    """`prefix`, cut to 58 characters, with a random suffix of five."""
    suffix = "".join(random.choices(_SUFFIX_ALPHABET, k=GENERATED_SUFFIX_LENGTH))
    return prefix[:GENERATE_NAME_MAX_PREFIX] + suffix


def init_metadata(metadata: dict[str, Any], now: datetime) -> None:
    """Gives a new object's `metadata` its uid and creation time and drops what a client may not set."""
    for field in _SERVER_SET:
        metadata.pop(field, None)
    metadata["uid"] = new_uid()
    metadata["creationTimestamp"] = timestamp(now)


def carry_metadata(metadata: dict[str, Any], old: dict[str, Any]) -> None:
    """Fills what an update may leave out of `metadata` from the stored `old` metadata.

    A deletion time, once set, cannot be taken back; the generation is the server's alone.
    """
    if not metadata.get("uid") and "uid" in old:
        metadata["uid"] = old["uid"]
    if "creationTimestamp" in old:
        metadata["creationTimestamp"] = old["creationTimestamp"]
    if "deletionTimestamp" in old:
        metadata["deletionTimestamp"] = old["deletionTimestamp"]
    if "deletionGracePeriodSeconds" in old and metadata.get("deletionGracePeriodSeconds") is None:
        metadata["deletionGracePeriodSeconds"] = old["deletionGracePeriodSeconds"]
    if "generation" in old:
        metadata["generation"] = old["generation"]
    else:
        metadata.pop("generation", None)
    metadata.pop("selfLink", None)


def drop_repeated_owners(metadata: dict[str, Any], *, patched: bool = False) -> list[str]:
    """Removes owner references that `metadata` repeats word for word; the warning that this deserves, if any."""
    references = metadata.get("ownerReferences") or ()
    kept: list[Any] = []
    repeated = []
    for reference in references:
        if reference in kept:
            repeated.append(str(reference.get("uid", "")))
        else:
            kept.append(reference)
    if not repeated:
        return []
    metadata["ownerReferences"] = kept
    when = " after mutating admission happens" if patched else ""
    return [
        f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, and"
        " may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed:"
        f" {', '.join(repeated)}"
    ]
