"""Which level and version of the standards a namespace's labels ask for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from apilayer.api import field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apilayer.api.field import FieldError

PREFIX = "pod-security.kubernetes.io/"
PRIVILEGED, BASELINE, RESTRICTED = "privileged", "baseline", "restricted"
LEVELS = (PRIVILEGED, BASELINE, RESTRICTED)
"""From the least to the most strict."""
NEWEST_MINOR = 36
"""Of the version served: "latest", and all that lies ahead, is this one."""
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")
_LEVEL_TEXT = "must be one of privileged, baseline, restricted"
_VERSION_TEXT = 'must be "latest" or "v1.x"'
MAX_VERSION_LENGTH = 16


@attrs.frozen
class Standard:
    """A level of the standards as of a version: ``latest`` or ``v1.N``."""

    level: str = PRIVILEGED
    version: str = "latest"

    def __str__(self) -> str:
        return f"{self.level}:{self.version}"

    @property
    def minor(self) -> int:
        """The N of the version."""
        return NEWEST_MINOR if self.version == "latest" else min(int(self.version[3:]), NEWEST_MINOR)

    def stricter_than(self, other: Standard) -> bool:
        """Whether the level is a higher one."""
        return LEVELS.index(self.level) > LEVELS.index(other.level)


@attrs.frozen
class Policy:
    """What is enforced, noted in the audit record, and warned of."""

    enforce: Standard = attrs.field(factory=Standard)
    audit: Standard = attrs.field(factory=Standard)
    warn: Standard = attrs.field(factory=Standard)

    @property
    def demands_nothing(self) -> bool:
        """Whether every pod is fine."""
        return all(item.level == PRIVILEGED for item in (self.enforce, self.audit, self.warn))


def parse_level(text: str) -> str | None:
    """The level, None for what is none."""
    return text if text in LEVELS else None


def parse_version(text: str) -> str | None:
    """The version, None for what is none."""
    good = len(text) <= MAX_VERSION_LENGTH and (text == "latest" or _VERSION.fullmatch(text))
    return text if good else None


def policy_of(labels: Mapping[str, str], defaults: Policy) -> tuple[Policy, list[FieldError]]:
    """The policy of a namespace with these labels, and what is wrong with them.

    A level that cannot be read counts as the strictest, a version as the latest. Who enforces a level is warned of it
    too, unless the labels say of what to warn.
    """
    if not any(key.startswith(PREFIX) for key in labels):
        return defaults, []
    errors: list[FieldError] = []
    enforce = _standard(labels, "enforce", defaults.enforce, errors)
    audit = _standard(labels, "audit", defaults.audit, errors)
    warn = _standard(labels, "warn", defaults.warn, errors)
    said = labels.get(f"{PREFIX}enforce") in LEVELS
    if said and f"{PREFIX}warn" not in labels and enforce.stricter_than(warn):
        version = warn.version if f"{PREFIX}warn-version" in labels else enforce.version
        warn = Standard(enforce.level, version)
    return Policy(enforce, audit, warn), errors


def _standard(labels: Mapping[str, str], mode: str, default: Standard, errors: list[FieldError]) -> Standard:
    level, version = default.level, default.version
    for key, parse, text, strictest in (
        (f"{PREFIX}{mode}", parse_level, _LEVEL_TEXT, RESTRICTED),
        (f"{PREFIX}{mode}-version", parse_version, _VERSION_TEXT, "latest"),
    ):
        if key not in labels:
            continue
        value = parse(labels[key])
        if value is None:
            errors.append(field.invalid(f"metadata.labels[{key}]", labels[key], text))
            value = strictest
        if parse is parse_level:
            level = value
        else:
            version = value
    return Standard(level, version)
