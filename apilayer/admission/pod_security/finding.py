"""What a check finds, and the words that checks share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from apilayer.admission.pods import containers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Object = dict[str, Any]


@attrs.frozen
class Finding:
    """Why a pod is not allowed: the rule in a few words, and what in the pod breaks it."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


def quoted(items: Sequence[str]) -> str:
    """`"a", "b"`."""
    return ", ".join(f'"{item}"' for item in items)


def counted(word: str, items: Sequence[str]) -> str:
    """`container "a"` or `containers "a", "b"`."""
    return f"{word if len(items) == 1 else word + 's'} {quoted(items)}"


def context_of(owner: Object) -> Object:
    """The security context of a pod's spec or of a container."""
    return owner.get("securityContext") or {}


def named(spec: Object, breaks: Callable[[Object], bool]) -> list[str]:
    """The names of the containers for which it holds."""
    return [container.get("name") or "" for container in containers(spec) if breaks(container)]


def setters(spec: Object, breaks: Callable[[Object], bool]) -> list[str]:
    """Who breaks a rule that holds for a pod's security context and those of its containers alike."""
    found = ["pod"] if breaks(context_of(spec)) else []
    bad = named(spec, lambda container: breaks(context_of(container)))
    return [*found, counted("container", bad)] if bad else found


def in_own_user_namespace(spec: Object) -> bool:
    """Whether root in the pod is nobody on the node."""
    return spec.get("hostUsers") is False
