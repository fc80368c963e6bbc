"""What differs between kinds when objects are written: the rules of most kinds (`kinds` has those that differ).

A strategy sees plain objects and changes the new one in place; it neither validates nor stores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import types
from apilayer.api.decode import message_name
from apilayer.api.decode.convert import converter

if TYPE_CHECKING:
    from apilayer.api.resources import Resource
    from apilayer.pipeline.authentication import User
    from apilayer.registry.options import DeleteOptions

Object = dict[str, Any]


class Strategy:
    """The rules of most kinds: status is written through its own endpoint, spec changes bump the generation."""

    graceful = False
    """Whether objects of the kind are given time to end."""
    orphans_by_default = False
    """Whether what an object owns stays when it is deleted, unless the request says otherwise."""
    may_own = True
    """Whether deleting an object may concern what it owns: the garbage collector ignores some kinds."""

    status_keeps: tuple[str, ...] = ()
    """Fields of the metadata that a write of the status leaves as they are."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        self.has_status = resource.subresource("status") is not None

    def blank_status(self) -> Object:
        """The status of a new object."""
        field = types.message(message_name(self.resource)).json_fields["status"]
        blank: Object = converter(field.type)({})
        return blank

    def stamp_user(self, obj: Object, user: User) -> None:
        """Writes into a new object who creates it, for kinds that keep that."""

    def check_delete(self, name: str) -> None:
        """Raises StatusError 403 for an object that must stay."""

    def delete_warnings(self, options: DeleteOptions) -> list[str]:
        """What to tell a client that deletes an object in this way."""
        del options
        return []

    def prepare_create(self, obj: Object) -> None:
        """Brings a new object into its initial state."""
        if self.has_status:
            obj["status"] = self.blank_status()
        if self.resource.tracks_generation:
            obj["metadata"]["generation"] = 1
        else:
            obj["metadata"].pop("generation", None)

    def settle(self, obj: Object) -> None:
        """Fills in what a new, valid object has as soon as it is read back."""

    def prepare(self, obj: Object, old: Object, subresource: str) -> None:
        """Takes back what a change, made directly ("") or through a subresource, may not touch."""
        if subresource in ("", "scale"):
            self.prepare_update(obj, old)
        elif subresource == "status":
            self.prepare_status_update(obj, old)
        else:
            self.prepare_subresource_update(obj, old, subresource)

    def prepare_subresource_update(self, obj: Object, old: Object, subresource: str) -> None:
        """As `prepare_update`, for a change through a subresource other than the status."""

    def prepare_update(self, obj: Object, old: Object) -> None:
        """Takes back what an update through the main endpoint may not change."""
        if self.has_status:
            restore(obj, old, "status")
        if self.resource.tracks_generation and self.bumps_generation(obj, old):
            obj["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1

    def prepare_status_update(self, obj: Object, old: Object) -> None:
        """Takes back everything but the status, and metadata that the kind does not keep."""
        status = obj.get("status")
        kept = {key: value for key, value in old.items() if key not in ("metadata", "status")}
        for key in [key for key in obj if key != "metadata"]:
            del obj[key]
        obj.update(kept)
        if status is not None:
            obj["status"] = status
        for key in self.status_keeps:
            restore(obj["metadata"], old["metadata"], key)

    def bumps_generation(self, obj: Object, old: Object) -> bool:
        """Whether the update changes what controllers have to act on."""
        return content(obj) != content(old)

    def may_be_removed(self, obj: Object) -> bool:
        """Whether nothing holds a deleted object back: no finalizers and no time left to end."""
        metadata = obj["metadata"]
        return not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")

    def grace_period_seconds(self, obj: Object, options: DeleteOptions) -> int:
        """How long a graceful kind's object may take to end."""
        del obj
        return options.grace_period_seconds or 0


def content(obj: Object) -> Object:
    """What an object is about: neither its metadata nor its status."""
    return {key: value for key, value in obj.items() if key not in ("kind", "apiVersion", "metadata", "status")}


def restore(target: Object, source: Object, key: str) -> None:
    """Sets `target[key]` to what `source` has, or removes it."""
    if key in source:
        target[key] = source[key]
    else:
        target.pop(key, None)
