"""The versions of one kind that managers may have used: their shapes, and objects converted between them."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from apilayer.api.managed.typed import ANY, Type, type_of
from apilayer.api.schema import kinds

if TYPE_CHECKING:
    from collections.abc import Callable

    from apilayer.api.resources import Resource

Object = dict[str, Any]
Convert = "Callable[[Object, str], Object | None]"


def no_conversion(obj: Object, api_version: str) -> Object | None:
    """The conversion of kinds with one version: none."""
    return obj if obj.get("apiVersion") == api_version else None


class Versions:
    """What is known about the versions of a resource's kind.

    `convert` makes an object of another version of the kind from one; None when there is no such version.
    """

    def __init__(self, resource: Resource, convert: Callable[[Object, str], Object | None] = no_conversion) -> None:
        self.own = resource.api_version
        self._kind = resource.kind
        self._convert = convert

    @functools.cached_property
    def shape(self) -> Type:
        """The shape of the version that the resource is served in."""
        return self.shape_of(self.own)

    def shape_of(self, api_version: str) -> Type:
        """The shape of a version."""
        group, _, version = api_version.rpartition("/")
        name = kinds().get((group, version, self._kind))
        return type_of(name) if name is not None else ANY

    def at(self, obj: Object, of_version: str, api_version: str) -> Object | None:
        """`obj`, of the first version, in the second; None when the kind has no such version."""
        if of_version == api_version:
            return obj
        return self._convert({**obj, "kind": self._kind, "apiVersion": of_version}, api_version)
