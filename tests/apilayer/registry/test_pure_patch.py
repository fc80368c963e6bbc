"""A patch that a client sends leaves the object that it is made on as it is, whatever is done to what comes out."""

from __future__ import annotations

import contextlib
import copy
import random
from typing import Any

import pytest

from apilayer.api.decode import DecodeError, decode_document
from apilayer.api.defaults import apply_defaults, drop_disabled
from apilayer.api.meta import carry_metadata
from apilayer.api.patch import apply_patch
from apilayer.api.resources import RESOURCES, Resource, find
from apilayer.registry.kinds import strategy_for
from tests.apilayer.objects import random_object

Object = dict[str, Any]

STORED = [row for row in RESOURCES if row.stored_as is None and not row.virtual]
PATCHES = {
    "application/merge-patch+json": b'{"metadata":{"labels":{"added":"1"}}}',
    "application/strategic-merge-patch+json": b'{"metadata":{"labels":{"added":"1"}}}',
    "application/json-patch+json": b'[{"op":"add","path":"/metadata/annotations","value":{"added":"1"}}]',
}


POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i", "resources": {}}]}}


def _patched_leaving(old: Object, row: Resource) -> None:
    """Goes the way of a patch, of each sort, and looks whether `old` has stayed as it is."""
    kept = copy.deepcopy(old)
    for media, patch in PATCHES.items():
        new = apply_patch(media, old, patch, row, field_validation="Ignore").object
        apply_defaults(row, new)
        new["metadata"].pop("managedFields", None)
        carry_metadata(new["metadata"], old["metadata"])
        drop_disabled(row, new)
        strategy_for(row).prepare(new, old, "")
        assert old == kept


@pytest.mark.parametrize("row", STORED, ids=lambda row: row.group_resource)
def test_the_object_stays_as_it_is(row: Resource) -> None:
    rnd = random.Random(row.group_resource)
    decoded = []
    for _ in range(4):
        with contextlib.suppress(DecodeError):
            decoded.append(decode_document(random_object(row, rnd), row, field_validation="Ignore").object)
    for old in decoded:
        _patched_leaving(old, row)
    assert decoded


def test_a_spec_that_is_as_it_should_be_is_not_shared() -> None:
    row = find("", "v1", "pods")
    assert row is not None
    _patched_leaving(decode_document(POD, row).object, row)
