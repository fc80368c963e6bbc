"""What a DELETE does to an object: at once, after its grace period, or when its finalizers are gone. Pure.

Source: Kubernetes' graceful deletion and garbage collection (API conventions, "Finalizers", "Deletion").
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from apilayer.api import status
from apilayer.api.meta import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.registry.options import DeleteOptions
    from apilayer.registry.strategy import Strategy

Object = dict[str, Any]

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"


@attrs.frozen
class Decision:
    """`update` is the object to store first (None: nothing to store), `remove` whether it then goes away."""

    update: Object | None
    remove: bool


def check_preconditions(strategy: Strategy, obj: Object, options: DeleteOptions) -> None:
    """Raises StatusError 409 when the caller meant another object, or another version of it."""
    metadata = obj["metadata"]
    resource = strategy.resource
    name = metadata.get("name", "")
    if options.uid is not None and options.uid != metadata.get("uid"):
        message = (
            f"the UID in the precondition ({options.uid}) does not match the UID in record "
            f"({metadata.get('uid', '')}). The object might have been deleted and then recreated"
        )
        raise status.conflict(resource.kind, resource.group, name, message)
    if options.resource_version is not None and options.resource_version != metadata.get("resourceVersion"):
        message = (
            f"the ResourceVersion in the precondition ({options.resource_version}) does not match the "
            f"ResourceVersion in record ({metadata.get('resourceVersion', '')}). "
            "The object might have been modified"
        )
        raise status.conflict(resource.kind, resource.group, name, message)


def decide(strategy: Strategy, obj: Object, options: DeleteOptions, now: datetime) -> Decision:
    """The next step towards `obj`'s end; changes `obj` in place. Raises StatusError 409."""
    check_preconditions(strategy, obj, options)
    metadata = obj["metadata"]
    if strategy.graceful:
        graceful, pending = _begin_graceful(strategy, obj, options, now)
        if pending:
            return Decision(None, remove=False)
    else:
        graceful = False
    finalizers = _finalizers_for(strategy, metadata.get("finalizers") or [], options)
    if not graceful and not finalizers:  # at once, and the last state that watchers see is the present one
        return Decision(None, remove=True)
    put_finalizers(metadata, finalizers)
    if not graceful:
        _mark_deleting(metadata, now)
    held = bool(finalizers) or (graceful and bool(metadata.get("deletionGracePeriodSeconds")))
    return Decision(obj, remove=not held)


def _begin_graceful(strategy: Strategy, obj: Object, options: DeleteOptions, now: datetime) -> tuple[bool, bool]:
    """Sets or shortens the grace period: (whether the object changes, whether it is ending already)."""
    metadata = obj["metadata"]
    if "deletionTimestamp" in metadata:
        running = metadata.get("deletionGracePeriodSeconds")
        if not running:  # its time is over, only the deletion itself is missing
            return False, False
        wanted = options.grace_period_seconds
        if wanted is None or wanted >= running:
            return False, True
        end = _parse(metadata["deletionTimestamp"]) - timedelta(seconds=running) + timedelta(seconds=wanted)
        metadata["deletionTimestamp"] = timestamp(end)
        metadata["deletionGracePeriodSeconds"] = wanted
        return True, False
    period = strategy.grace_period_seconds(obj, options)
    metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=period))
    metadata["deletionGracePeriodSeconds"] = period
    _bump_generation(metadata)
    return True, False


def _mark_deleting(metadata: Object, now: datetime) -> None:
    current = metadata.get("deletionTimestamp")
    if current is None:
        _bump_generation(metadata)
    if current is None or _parse(current) > now:
        metadata["deletionTimestamp"] = timestamp(now)
    metadata["deletionGracePeriodSeconds"] = 0


def _bump_generation(metadata: Object) -> None:
    if metadata.get("generation"):
        metadata["generation"] += 1


def _finalizers_for(strategy: Strategy, current: list[str], options: DeleteOptions) -> list[str]:
    """The finalizers with those of the garbage collector as the options, or earlier ones, ask for."""
    if not strategy.may_own:
        return collected(current, orphan=False, foreground=False)
    orphan, foreground = ORPHAN in current, FOREGROUND in current
    if options.orphan_dependents is not None:
        orphan, foreground = options.orphan_dependents, False
    elif options.propagation_policy is not None:
        orphan = options.propagation_policy == "Orphan"
        foreground = options.propagation_policy == "Foreground"
    elif strategy.orphans_by_default and not foreground:
        orphan = True
    return collected(current, orphan=orphan, foreground=foreground)


def collected(current: Sequence[str], *, orphan: bool, foreground: bool) -> list[str]:
    """`current` with the garbage collector's finalizers as they should be."""
    kept = [name for name in current if name not in (ORPHAN, FOREGROUND)]
    if orphan:
        kept.append(ORPHAN)
    if foreground:
        kept.append(FOREGROUND)
    return kept


def put_finalizers(metadata: Object, finalizers: list[str]) -> None:
    """Sets the finalizers, unless they are the same in another order."""
    if set(finalizers) == set(metadata.get("finalizers") or ()):
        return
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _parse(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
