"""How values fall into fields where one use of a type differs from the others."""

from __future__ import annotations

from apilayer.api.managed.compare import whole
from apilayer.api.managed.typed import type_of


def test_a_reference_is_one_field_unless_its_user_takes_it_apart() -> None:
    reference = {"name": "x", "namespace": "y"}
    volume = type_of("io.k8s.api.core.v1.PersistentVolumeSpec")
    assert whole(volume, {"claimRef": reference})["f:claimRef"] == {".": {}, "f:name": {}, "f:namespace": {}}
    event = type_of("io.k8s.api.core.v1.Event")
    assert whole(event, {"involvedObject": reference})["f:involvedObject"] == {}


def test_raw_data_is_one_field() -> None:
    revision = type_of("io.k8s.api.apps.v1.ControllerRevision")
    assert whole(revision, {"data": {"a": {"b": 1}}})["f:data"] == {}
