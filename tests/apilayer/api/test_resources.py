"""The table of served resources and the schemas of their kinds."""

import pytest

from apilayer.api.resources import RESOURCES, Resource, find
from apilayer.api.schema import Schema, SchemaNotFoundError, definition, schema_for, schema_for_kind
from apilayer.api.types import Field, all_names, message


def row(plural: str, group: str = "") -> Resource:
    found = find(group, "v1", plural)
    assert found is not None
    return found


def test_find_and_derived_names() -> None:
    deployments = row("deployments", "apps")
    assert deployments.api_version == "apps/v1"
    assert deployments.group_resource == "deployments.apps"
    assert deployments.key_prefix == "/registry/deployments/"
    assert deployments.list_kind == "DeploymentList"
    assert deployments.subresource("status") is not None
    assert deployments.subresource("nothing") is None
    assert row("pods").api_version == "v1"
    assert row("pods").group_resource == "pods"
    assert find("", "v1", "nothing") is None
    assert find("apps", "v1beta1", "deployments") is None


def test_rows_are_consistent() -> None:
    assert len({(r.group, r.version, r.plural) for r in RESOURCES}) == len(RESOURCES)
    prefixes = [r.key_prefix for r in RESOURCES if r.stored_as is None and not r.virtual]
    assert len(set(prefixes)) == len(prefixes)
    for resource in RESOURCES:
        assert "metadata.name" in resource.field_selectors
        assert "metadata" in schema_for(resource).properties
        assert resource.storage.storage is resource.storage
        assert (resource.subresource("status") is not None) <= ("status" in schema_for(resource).properties)
        assert not set(resource.not_offered) & {sub.name for sub in resource.subresources}


def test_two_versions_of_one_resource_are_kept_once() -> None:
    v1, v2 = (
        find("autoscaling", "v1", "horizontalpodautoscalers"),
        find("autoscaling", "v2", "horizontalpodautoscalers"),
    )
    assert v1 is not None
    assert v1.storage is v2
    events = find("events.k8s.io", "v1", "events")
    assert events is not None
    assert events.storage is row("events")
    assert row("pods").storage is row("pods")


def test_keys_are_those_of_kubernetes() -> None:
    assert row("services").key_prefix == "/registry/services/specs/"
    assert row("endpoints").key_prefix == "/registry/services/endpoints/"
    assert row("nodes").key_prefix == "/registry/minions/"
    assert row("ingresses", "networking.k8s.io").key_prefix == "/registry/ingress/"
    definitions = row("customresourcedefinitions", "apiextensions.k8s.io")
    assert definitions.key_prefix == "/registry/apiextensions.k8s.io/customresourcedefinitions/"


def test_rules_for_writes() -> None:
    assert "deletecollection" not in row("namespaces").verbs
    lease = row("leases", "coordination.k8s.io")
    assert not lease.allow_unconditional_update
    assert lease.allow_create_on_update
    assert row("events").allow_create_on_update
    assert not row("configmaps").allow_create_on_update


def test_field_values() -> None:
    pods, events = row("pods"), row("events")
    pod = {"metadata": {"name": "a"}, "spec": {"nodeName": "n", "hostNetwork": True}}
    assert pods.field_value(pod, "spec.nodeName") == "n"
    assert pods.field_value(pod, "spec.hostNetwork") == "true"
    assert pods.field_value({}, "spec.hostNetwork") == "false"
    assert pods.field_value({"status": {"podIPs": [{"ip": "1.2.3.4"}]}}, "status.podIPs") == ""
    assert events.field_value({"source": {"component": "c"}}, "source") == "c"
    assert events.field_value({"source": {}, "reportingComponent": "r"}, "source") == "r"
    with pytest.raises(KeyError):
        pods.field_value(pod, "spec.priority")


def test_schema_of_a_list_with_merge_keys() -> None:
    spec = schema_for(row("pods")).properties["spec"]
    assert spec.type == "object"
    containers = spec.properties["containers"]
    assert containers.type == "array"
    assert containers.patch_strategy == ("merge",)
    assert containers.patch_merge_key == "name"
    assert containers.list_type == "map"
    assert containers.list_map_keys == ("name",)
    assert containers.items is not None
    assert containers.items.properties["ports"].list_map_keys == ("containerPort", "protocol")
    assert containers.items is containers.items
    assert spec.properties["volumes"].patch_strategy == ("merge", "retainKeys")
    assert spec.required == ("containers",)


def test_schema_of_maps_and_scalars() -> None:
    config_map = schema_for(row("configmaps"))
    values = config_map.properties["data"].additional
    assert values is not None
    assert values.type == "string"
    assert config_map.properties["data"].items is None
    assert config_map.properties["binaryData"].additional is not None
    assert config_map.description.startswith("ConfigMap holds configuration data")
    rolling = definition("io.k8s.api.apps.v1.RollingUpdateDeployment")
    assert rolling.properties["maxSurge"].format == "int-or-string"
    selector = definition("io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector")
    assert selector.map_type == "atomic"
    meta = config_map.properties["metadata"]
    assert meta.reference.endswith("ObjectMeta")
    assert meta.description.startswith("Standard object's metadata")


def test_unknown_schemas() -> None:
    with pytest.raises(SchemaNotFoundError):
        definition("io.k8s.api.core.v1.Nothing")
    with pytest.raises(SchemaNotFoundError):
        schema_for_kind("", "v1", "Nothing")


JSON_TYPES = {
    "string": ("string", ""),
    "bool": ("boolean", ""),
    "int32": ("integer", "int32"),
    "int64": ("integer", "int64"),
    "bytes": ("string", "byte"),
    "Time": ("string", "date-time"),
    "MicroTime": ("string", "date-time"),
    "Quantity": ("string", ""),
    "IntOrString": ("string", "int-or-string"),
    "FieldsV1": ("object", ""),
    "RawExtension": ("object", ""),
    "double": ("number", "double"),
    "JSON": ("", ""),
    "Strings": ("array", ""),
    "SchemaOrBool": ("", ""),
    "SchemaOrArray": ("", ""),
    "SchemaOrStrings": ("", ""),
    "message": ("object", ""),
}


def _leaf(schema: Schema, field: Field) -> tuple[str, str]:
    """Type and format of a field's value, or of its items."""
    if field.repeated:
        assert schema.type == "array"
        assert schema.items is not None
        schema = schema.items
    elif field.is_map:
        assert schema.type == "object"
        assert schema.additional is not None
        schema = schema.additional
    return schema.type, schema.format


def test_type_table_agrees_with_the_schemas() -> None:
    """Both tables list the same fields for every message that has a schema."""
    compared = 0
    for name in all_names():
        definition_name = _definition_name(name)
        try:
            schema = definition(definition_name)
        except SchemaNotFoundError:
            continue  # inline messages and options have no schema of their own
        top_level = "x-kubernetes-group-version-kind" in schema.raw
        fields = message(name).json_fields
        expected = set(schema.properties) - ({"kind", "apiVersion"} if top_level else set())
        assert set(fields) == expected, name
        for key, field in fields.items():
            assert JSON_TYPES[field.type if not field.is_message else "message"] == _leaf(
                schema.properties[key], field
            ), f"{name}.{key}"
        compared += 1
    assert compared > 450


def _definition_name(name: str) -> str:
    """``core/v1.Pod`` as the schemas call it."""
    package, _, kind = name.rpartition(".")
    group, _, version = package.partition("/")
    roots = {
        "meta": "io.k8s.apimachinery.pkg.apis.meta",
        "apiextensions.k8s.io": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
        "apiregistration.k8s.io": "io.k8s.kube-aggregator.pkg.apis.apiregistration",
    }
    return f"{roots.get(group, 'io.k8s.api.' + group.partition('.')[0])}.{version}.{kind}"
