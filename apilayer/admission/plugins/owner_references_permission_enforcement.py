"""Who makes an object depend on others must have the right to what follows: its deletion, and theirs being held up.

Source: Kubernetes' ``plugin/pkg/admission/gc``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from apilayer.admission.plugin import CREATE, EVERYTHING, UPDATE, Plugin, on
from apilayer.api.resources import RESOURCES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apilayer.admission.plugin import Attributes, Object, Setup

_KINDS = {(row.api_version, row.kind): row for row in RESOURCES if not row.virtual}


class OwnerReferencesPermissionEnforcement(Plugin):
    """Looks at owner references that are new or changed. The status of a pod cannot change them."""

    name = "OwnerReferencesPermissionEnforcement"
    interests = (on(EVERYTHING, operations=(CREATE, UPDATE)),)

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._may = setup.may

    async def validate(self, attributes: Attributes) -> None:
        """Raises StatusError 403."""
        new, old = _owners(attributes.new), _owners(attributes.old or {})
        if attributes.path == "pods/status" or new == old:
            return
        user, namespace = attributes.user, attributes.namespace
        resource = attributes.resource
        what = f"{resource.plural}/{attributes.subresource}" if attributes.subresource else resource.plural
        if not await self._may(user, "delete", resource.group, what, namespace, attributes.name):
            raise attributes.forbidden("cannot set an ownerRef on a resource you can't delete: , <nil>")
        for owner in _newly_blocking(new, old):
            row = _KINDS.get((owner.get("apiVersion") or "", owner.get("kind") or ""))
            if row is None:
                raise attributes.forbidden(
                    "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion "
                    f"{owner.get('apiVersion')} Kind {owner.get('kind')}"
                )
            within = namespace if row.namespaced else ""
            finalizers = f"{row.plural}/finalizers"
            if not await self._may(user, "update", row.group, finalizers, within, owner.get("name") or ""):
                raise attributes.forbidden(
                    "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers "
                    "on: , <nil>"
                )


def _owners(obj: Object) -> list[Object]:
    return (obj.get("metadata") or {}).get("ownerReferences") or []


def _newly_blocking(new: list[Object], old: list[Object]) -> Iterator[Object]:
    blocking = {owner.get("uid") for owner in old if owner.get("blockOwnerDeletion")}
    for owner in new:
        if owner.get("blockOwnerDeletion") and owner.get("uid") not in blocking:
            yield owner
