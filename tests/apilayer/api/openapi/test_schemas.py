"""Components: definitions in the form that OpenAPI readers expect."""

from __future__ import annotations

import pytest

from apilayer.api.openapi.schemas import closure, enums, v2_schema, v3_schema
from apilayer.api.schema import definition

CORE = "io.k8s.api.core.v1."
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
UTIL = "io.k8s.apimachinery.pkg."


def test_a_kind_in_version_3() -> None:
    schema = v3_schema(CORE + "ConfigMap", [""])
    assert schema["type"] == "object"
    assert schema["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "ConfigMap", "version": "v1"}]
    properties = schema["properties"]
    assert set(properties["kind"]) == {"description", "type"}
    assert properties["data"]["additionalProperties"] == {"type": "string"}
    assert properties["metadata"]["allOf"] == [{"$ref": "#/components/schemas/" + META + "ObjectMeta"}]
    assert properties["metadata"]["default"] == {}


@pytest.mark.parametrize(
    ("name", "field", "default"),
    [
        (CORE + "ContainerPort", "containerPort", 0),
        (CORE + "ContainerPort", "protocol", "TCP"),
        (CORE + "Container", "name", ""),
        (CORE + "Container", "resources", {}),
        (CORE + "ContainerStatus", "ready", False),
        (CORE + "PodList", "metadata", {}),
        (CORE + "LocalObjectReference", "name", ""),
        ("io.k8s.api.coordination.v1.Lease", "spec", {}),
    ],
)
def test_defaults(name: str, field: str, default: object) -> None:
    shown = v3_schema(name, [""])["properties"][field]["default"]
    assert shown == default
    assert type(shown) is type(default)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        (CORE + "Container", "securityContext"),
        (CORE + "Container", "image"),
        (CORE + "PodStatus", "startTime"),
        (META + "ObjectMeta", "creationTimestamp"),
        (META + "WatchEvent", "object"),
        ("io.k8s.api.coordination.v1.LeaseSpec", "renewTime"),
    ],
)
def test_what_can_be_absent_has_no_default(name: str, field: str) -> None:
    assert "default" not in v3_schema(name, [""])["properties"][field]


def test_texts_that_are_one_of_a_few() -> None:
    for schema in (v3_schema(CORE + "Container", [""]), v2_schema(CORE + "Container", [""])):
        policy = schema["properties"]["imagePullPolicy"]
        assert policy["enum"] == ["Always", "IfNotPresent", "Never"]
        listed = 'Possible enum values:\n - `"Always"`\n - `"IfNotPresent"`\n - `"Never"`'
        assert policy["description"].endswith("\n\n" + listed)
        assert "enum" not in schema["properties"]["restartPolicy"]
    assert v3_schema(CORE + "HostPathVolumeSource", [""])["properties"]["type"]["enum"][0] == ""
    assert v3_schema(CORE + "ServicePort", [""])["properties"]["protocol"]["default"] == "TCP"


@pytest.mark.parametrize(("name", "field"), sorted(enums()))
def test_values_are_of_properties_that_there_are(name: str, field: str) -> None:
    schema = definition(name).properties[field]
    assert schema.type == "string"
    values = enums()[name, field]
    assert list(values) == sorted(set(values))
    default = v3_schema(name, [""])["properties"][field].get("default", values[0])
    assert default in (*values, "")


def test_lists_keep_their_merge_rules() -> None:
    containers = v3_schema(CORE + "PodSpec", [""])["properties"]["containers"]
    assert containers["type"] == "array"
    assert containers["items"] == {"$ref": "#/components/schemas/" + CORE + "Container"}
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-list-type"] == "map"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]


def test_types_that_are_two() -> None:
    int_or_string = v3_schema(UTIL + "util.intstr.IntOrString", [""])
    assert int_or_string["oneOf"] == [{"type": "integer"}, {"type": "string"}]
    assert int_or_string["format"] == "int-or-string"
    quantity = v3_schema(UTIL + "api.resource.Quantity", [""])
    assert quantity["oneOf"] == [{"type": "string"}, {"type": "number"}]
    assert "type" not in quantity
    assert v2_schema(UTIL + "util.intstr.IntOrString", [""])["type"] == "string"
    assert "oneOf" not in v2_schema(UTIL + "api.resource.Quantity", [""])


def test_kinds_that_every_group_has_name_the_groups_of_the_document() -> None:
    shown = v3_schema(META + "DeleteOptions", ["apps"])["x-kubernetes-group-version-kind"]
    assert [(gvk["group"], gvk["version"]) for gvk in shown] == [("", "v1"), ("apps", "v1")]


def test_version_2_has_plain_references_and_no_defaults() -> None:
    properties = v2_schema(CORE + "ConfigMap", [""])["properties"]
    assert properties["metadata"]["$ref"] == "#/definitions/" + META + "ObjectMeta"
    assert "default" not in properties["metadata"]
    assert properties["data"]["type"] == "object"
    assert "enum" not in properties["kind"]


def test_closure() -> None:
    assert closure([UTIL + "util.intstr.IntOrString"]) == [UTIL + "util.intstr.IntOrString"]
    found = closure([CORE + "ConfigMap"])
    assert META + "ManagedFieldsEntry" in found
    assert CORE + "Pod" not in found
    assert found == sorted(found)
