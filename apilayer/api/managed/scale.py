"""managedFields of a workload as its scale shows them, and back: of all fields only the number of replicas."""

from __future__ import annotations

from typing import Any

from apilayer.api.managed.entries import Managers, Ownership, read, write
from apilayer.api.managed.fieldset import Fields, difference, intersection

SCALE_VERSION = "autoscaling/v1"
_REPLICAS: Fields = {"f:spec": {"f:replicas": {}}}

Entries = list[dict[str, Any]]


def scale_entries(entries: Entries | None) -> Entries:
    """Who owns the replicas of a workload with these managedFields, as the Scale of it says. Raises EntriesError."""
    managers: Managers = {}
    for manager, owned in read(entries, trusted=True).items():
        if intersection(owned.fields, _REPLICAS):
            named = manager._replace(version=SCALE_VERSION if manager.version else "")
            managers[named] = Ownership(_REPLICAS, SCALE_VERSION, owned.time)
    return write(managers)


def workload_entries(entries: Entries | None, of_scale: Entries | None, api_version: str) -> Entries:
    """managedFields of a workload of that version, that had `entries`, once its Scale has `of_scale`.

    A manager that is new has no time, as from kube-apiserver. Raises EntriesError.
    """
    before = read(entries, trusted=True)
    wanted = {
        manager._replace(version=api_version if manager.version else "")
        for manager, owned in read(of_scale, trusted=True).items()
        if intersection(owned.fields, _REPLICAS)
    }
    managers: Managers = {}
    for manager, owned in before.items():
        key = manager._replace(version=api_version if manager.version else "")
        if key in wanted and intersection(owned.fields, _REPLICAS):
            managers[manager] = owned
            wanted.discard(key)
            continue
        fields = difference(owned.fields, _REPLICAS)
        if fields:
            managers[manager] = Ownership(fields, owned.version, owned.time)
    for manager in sorted(wanted):
        known = before.get(manager)
        managers[manager] = Ownership(_REPLICAS, api_version, known.time if known is not None else "")
    return write(managers)


def with_entries(obj: dict[str, Any], entries: Entries) -> dict[str, Any]:
    """`obj` with these managedFields; without any when there are none."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": {**metadata, "managedFields": entries} if entries else metadata}
