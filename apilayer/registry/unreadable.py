"""Objects that cannot be read, for want of a key or because they are damaged: how they are got rid of.

Source: Kubernetes' AllowUnsafeMalformedObjectDeletion.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.admission.chain import UNCONCERNED
from apilayer.api import field, status
from apilayer.registry.options import IGNORE_READ_ERROR
from apilayer.storage.codec import CorruptObject
from apilayer.storage.interface import KeyChanged

if TYPE_CHECKING:
    from apilayer.admission.chain import Review
    from apilayer.storage.codec import Codec
    from apilayer.storage.interface import Store

VERB = "unsafe-delete-ignore-read-errors"
"""What one must be allowed to do with the object, beside deleting it."""


async def delete_unreadable(store: Store, codec: Codec, key: bytes, review: Review) -> None:
    """Deletes what is at `key`, whatever finalizers it had. Raises StatusError 403, 404, 422 if it can be read.

    The last part of the key is the object's name, the one before it its namespace, where it has one.
    """
    resource = codec.resource
    *_, namespace, name = key.decode().split("/")
    metadata: dict[str, Any] = {"name": name, "namespace": namespace} if resource.namespaced else {"name": name}
    while True:
        record, _ = await store.get(key)
        if record is None:
            raise status.not_found(resource.plural, resource.group, name)
        try:
            codec.entry(record.key, record.value, record.revision)
        except CorruptObject:
            pass
        else:
            detail = "is exclusively used to delete corrupt object(s), try again by removing this option"
            wrong = field.invalid(IGNORE_READ_ERROR, True, detail)
            raise status.invalid(resource.plural, resource.group, name, [wrong])
        if review is not UNCONCERNED:
            await review.whole(None, {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata})
        try:
            await store.delete(key, record.revision)
        except KeyChanged:
            continue
        return
