"""The versions of one kind that managers may have used: their shapes, and objects converted between them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from apilayer.api.conversion import from_storage, to_storage
from apilayer.api.managed.typed import ANY, Type, type_of
from apilayer.api.resources import RESOURCES
from apilayer.api.schema import kinds

if TYPE_CHECKING:
    from apilayer.api.resources import Resource

Object = dict[str, Any]


class Versions:
    """What is known about the versions of a resource's kind; `row` is the one that is written in."""

    def __init__(self, row: Resource) -> None:
        self.own = row.api_version
        self.stored = row.storage.api_version
        self._row = row

    @functools.cached_property
    def shape(self) -> Type:
        """The shape of the version that is written in."""
        return self.shape_of(self.own)

    @functools.cached_property
    def _rows(self) -> dict[str, Resource]:
        storage = self._row.storage
        rows = {row.api_version: row for row in RESOURCES if row.stored_as is not None and row.storage == storage}
        return {**rows, storage.api_version: storage, self.own: self._row}

    def shape_of(self, api_version: str) -> Type:
        """The shape of a version."""
        group, _, version = api_version.rpartition("/")
        name = kinds().get((group, version, self._row.kind))
        return type_of(name) if name is not None else ANY

    def at(self, obj: Object, of_version: str, api_version: str) -> Object | None:
        """`obj`, of the first version, in the second; None when the kind has no such version, or it does not fit."""
        if of_version == api_version:
            return obj
        source, target = self._rows.get(of_version), self._rows.get(api_version)
        if source is None or target is None:
            return None
        try:
            return from_storage(target, to_storage(source, obj))
        except ValueError:
            return None
