"""Rules for metadata and for every kind but pods."""

from typing import Any

import pytest

from apilayer.api import names
from apilayer.api.decode import decode_document
from apilayer.api.defaults import apply_defaults
from apilayer.api.resources import Resource, find
from apilayer.api.validation import validate_create, validate_update

Found = list[tuple[str, str]]


def row(plural: str, group: str = "") -> Resource:
    found = find(group, "v1", plural)
    assert found is not None
    return found


def ready(resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
    """The object as validation sees it: canonical, named, defaulted."""
    named = {"name": "a", "namespace": "ns"} if resource.namespaced else {"name": "a"}
    obj = decode_document({**body, "metadata": {**named, **body.get("metadata", {})}}, resource).object
    apply_defaults(resource, obj)
    return obj


def created(body: dict[str, Any], plural: str = "configmaps", group: str = "") -> Found:
    resource = row(plural, group)
    return [(error.path, error.message) for error in validate_create(resource, ready(resource, body))]


def updated(
    new: dict[str, Any], old: dict[str, Any], plural: str = "configmaps", group: str = "", subresource: str = ""
) -> Found:
    resource = row(plural, group)
    after, before = ready(resource, new), ready(resource, old)
    return [(error.path, error.message) for error in validate_update(resource, after, before, subresource)]


def meta(**fields: Any) -> dict[str, Any]:
    return {"metadata": fields}


def test_good_objects_pass() -> None:
    assert created({"data": {"a": "b"}}) == []
    assert created({"data": {"a": "eA=="}}, "secrets") == []
    assert created({}, "namespaces") == []
    assert created({"spec": {"holderIdentity": "h"}}, "leases", "coordination.k8s.io") == []
    assert created({"involvedObject": {"namespace": "ns"}}, "events") == []
    assert created(DEPLOYMENT, "deployments", "apps") == []


@pytest.mark.parametrize(
    ("fields", "path", "text"),
    [
        ({"name": "A"}, "metadata.name", f'Invalid value: "A": {names.SUBDOMAIN_MESSAGE}'),
        ({"name": ""}, "metadata.name", "Required value: name or generateName is required"),
        ({"generateName": "Bad_"}, "metadata.generateName", f'Invalid value: "Bad_": {names.SUBDOMAIN_MESSAGE}'),
        ({"namespace": "A"}, "metadata.namespace", f'Invalid value: "A": {names.LABEL_MESSAGE}'),
        ({"namespace": ""}, "metadata.namespace", "Required value"),
        ({"labels": {"a": "b c"}}, "metadata.labels", f'Invalid value: "b c": {names.LABEL_VALUE_MESSAGE}'),
        ({"labels": {"/a": ""}}, "metadata.labels", 'Invalid value: "/a": prefix part must be non-empty'),
        ({"annotations": {"a": "x" * 262144}}, "metadata.annotations",
         "Too long: may not be more than 262144 bytes"),
        ({"finalizers": ["nodomain"]}, "metadata.finalizers[0]",
         'Invalid value: "nodomain": name is neither a standard finalizer name nor is it fully qualified'),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "n"}]}, "metadata.ownerReferences.uid",
         'Invalid value: "": must not be empty'),
        ({"ownerReferences": [{"apiVersion": "v1", "kind": "Event", "name": "n", "uid": "u"}]},
         "metadata.ownerReferences",
         'Invalid value: {"apiVersion":"v1","kind":"Event","name":"n","uid":"u"}: '
         "/v1, Kind=Event is disallowed from being an owner"),
        ({"managedFields": [{"operation": "X"}]}, "metadata.managedFields[0].operation",
         'Invalid value: "X": must be `Apply` or `Update`'),
        ({"generation": -1}, "metadata.generation", "Invalid value: -1: must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_metadata(fields: dict[str, Any], path: str, text: str) -> None:
    assert created(meta(**fields)) == [(path, text)]


def test_annotation_keys_may_be_upper_case_and_finalizers_standard() -> None:
    assert created(meta(annotations={"UP.com/x": "y"}, finalizers=["orphan", "a.b/c"], generateName="a-")) == []


def test_one_controller_only() -> None:
    owners = [{"apiVersion": "v1", "kind": kind, "name": "n", "uid": "u", "controller": True} for kind in ("A", "B")]
    (path, text), *others = created(meta(ownerReferences=owners))
    assert (path, others) == ("metadata.ownerReferences", [])
    assert text.endswith('Found "true" in references for A/n and B/n')


def test_namespaces_have_no_namespace() -> None:
    assert created(meta(namespace="x"), "namespaces") == [("metadata.namespace", "Forbidden: not allowed on this type")]
    assert created({"spec": {"finalizers": ["bad"]}}, "namespaces")[0][0] == "spec.finalizers"
    assert created(meta(name="a.b"), "namespaces") == [("metadata.name", 'Invalid value: "a.b": must not contain dots')]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"uid": "z"}, 'Invalid value: "z": field is immutable'),
        ({"name": "z"}, 'Invalid value: "z": field is immutable'),
        ({"creationTimestamp": "2024-01-02T03:04:05Z"}, 'Invalid value: "2024-01-02T03:04:05Z": field is immutable'),
        ({"deletionGracePeriodSeconds": 3}, "Invalid value: 3: field is immutable"),
    ],
)
def test_identity_never_changes(fields: dict[str, Any], text: str) -> None:
    path = f"metadata.{next(iter(fields))}"
    assert updated(meta(**fields), meta()) == [(path, text)] * 2
    assert updated(meta(), meta(generation=2))[0][1] == "Invalid value: 0: must not be decremented"


def test_no_new_finalizers_while_deleting() -> None:
    old = meta(deletionTimestamp="2024-01-02T03:04:05Z", finalizers=["a.b/c"])
    new = meta(deletionTimestamp="2024-01-02T03:04:05Z", finalizers=["a.b/c", "a.b/d"])
    assert updated(new, old)[0] == (
        "metadata.finalizers",
        "Forbidden: no new finalizers can be added if the object is being deleted, "
        'found new finalizers []string{"a.b/d"}',
    )
    assert updated(meta(deletionTimestamp="2024-01-02T03:04:05Z"), old) == []


def test_config_maps() -> None:
    assert created({"data": {"a b": "x"}}) == [("data[a b]", f'Invalid value: "a b": {names.CONFIG_KEY_MESSAGE}')]
    assert created({"data": {"a": "x"}, "binaryData": {"a": "eA=="}}) == [
        ("data[a]", 'Invalid value: "a": duplicate of key present in binaryData')
    ]
    assert created({"data": {"a": "x" * 2**20}}) == []
    assert created({"data": {"a": "x" * 2**20, "b": "x"}}) == [("[]", "Too long: may not be more than 1048576 bytes")]


def test_immutable_config_maps_and_secrets() -> None:
    locked = "Forbidden: field is immutable when `immutable` is set"
    old = {"data": {"a": "eA=="}, "immutable": True}
    for plural in ("configmaps", "secrets"):
        assert updated({"data": {"a": "eQ=="}, "immutable": True}, old, plural) == [("data", locked)]
        assert updated({"data": {"a": "eA=="}}, old, plural) == [("immutable", locked)]
        assert updated({**meta(labels={"a": "b"}), **old}, old, plural) == []
    assert updated({"type": "x/y"}, {}, "secrets") == [("type", 'Invalid value: "x/y": field is immutable')]


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("kubernetes.io/tls", {"tls.crt": ""}, [("data[tls.key]", "Required value")]),
        ("kubernetes.io/ssh-auth", {}, [("data[ssh-privatekey]", "Required value")]),
        ("kubernetes.io/basic-auth", {"username": ""}, []),
        ("kubernetes.io/basic-auth", {},
         [("data[username]", "Required value"), ("data[password]", "Required value")]),
        ("kubernetes.io/dockercfg", {}, [("data[.dockercfg]", "Required value")]),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "e30="}, []),
        ("kubernetes.io/dockerconfigjson", {".dockerconfigjson": "eA=="},
         [("data[.dockerconfigjson]",
           'Invalid value: "<secret contents redacted>": invalid character \'x\' looking for beginning of value')]),
        ("kubernetes.io/service-account-token", {},
         [("metadata.annotations[kubernetes.io/service-account.name]", "Required value")]),
    ],
)  # fmt: skip
def test_types_of_secrets(kind: str, data: dict[str, str], expected: Found) -> None:
    assert created({"type": kind, "data": data}, "secrets") == expected


def test_leases() -> None:
    spec = {"leaseDurationSeconds": 0, "leaseTransitions": -1}
    assert created({"spec": spec}, "leases", "coordination.k8s.io") == [
        ("spec.leaseDurationSeconds", "Invalid value: 0: must be greater than 0"),
        ("spec.leaseTransitions", "Invalid value: -1: must be greater than or equal to 0"),
    ]


def test_events() -> None:
    mismatch = "does not match event.namespace"
    assert created({"involvedObject": {"namespace": "x"}}, "events") == [
        ("involvedObject.namespace", f'Invalid value: "x": {mismatch}')
    ]
    assert created({}, "events")[0] == ("involvedObject.namespace", f'Invalid value: "": {mismatch}')
    assert created(meta(namespace="default"), "events") == []
    recent = {"involvedObject": {"namespace": "ns"}, "eventTime": "2024-01-02T03:04:05.000000Z"}
    paths = [path for path, _text in created(recent, "events")]
    assert paths == ["reportingComponent"] * 3 + ["reportingInstance", "action", "reason"]
    full = {**recent, "reportingComponent": "c", "reportingInstance": "i", "action": "a", "reason": "r"}
    assert created(full, "events") == []
    assert created({**full, "message": "x" * 1025, "action": "a" * 129}, "events") == [
        ("action", 'Invalid value: "": can have at most 128 characters'),
        ("message", 'Invalid value: "": can have at most 1024 characters'),
    ]
    assert created({"metadata": {"name": "A/b"}, "involvedObject": {"namespace": "ns"}}, "events") == [
        ("metadata.name", "Invalid value: \"A/b\": may not contain '/'")
    ]


def test_namespace_status() -> None:
    assert updated({"status": {"phase": "Terminating"}}, {}, "namespaces", subresource="status") == [
        ("status.Phase", "Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty")
    ]
    gone = meta(deletionTimestamp="2024-01-02T03:04:05Z")
    assert updated({**gone, "status": {"phase": "Terminating"}}, gone, "namespaces", subresource="status") == []


TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
DEPLOYMENT = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"replicas": -1}, [("spec.replicas", "Invalid value: -1: must be greater than or equal to 0")]),
        ({"selector": None},
         [("spec.selector", "Required value"),
          ("spec.template.metadata.labels",
           'Invalid value: {"a":"b"}: `selector` does not match template `labels`')]),
        ({"selector": {}}, [("spec.selector", "Invalid value: {}: empty selector is invalid for deployment")]),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "Bad"}]}},
         [("spec.selector.matchExpressions[0].operator", 'Invalid value: "Bad": not a valid selector operator'),
          ("spec.selector",
           'Invalid value: {"matchExpressions":[{"key":"a","operator":"Bad"}]}: invalid label selector')]),
        ({"strategy": {"type": "X"}},
         [("spec.strategy",
           'Unsupported value: {"Type":"X","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"')]),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {}}},
         [("spec.strategy.rollingUpdate",
           "Forbidden: may not be specified when strategy `type` is 'Recreate'")]),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
         [("spec.strategy.rollingUpdate.maxUnavailable",
           'Invalid value: "0%": may not be 0 when `maxSurge` is 0')]),
        ({"strategy": {"rollingUpdate": {"maxUnavailable": "150%"}}},
         [("spec.strategy.rollingUpdate.maxUnavailable",
           'Invalid value: "150%": must not be greater than 100%')]),
        ({"strategy": {"rollingUpdate": {"maxSurge": "x"}}},
         [("spec.strategy.rollingUpdate.maxSurge", f'Invalid value: "x": {names.PERCENT_MESSAGE}')]),
        ({"minReadySeconds": 600},
         [("spec.progressDeadlineSeconds", "Invalid value: 600: must be greater than minReadySeconds")]),
        ({"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}},
         [("spec.template.spec.restartPolicy", 'Unsupported value: "Never": supported values: "Always"')]),
        ({"template": {**TEMPLATE, "spec": {**TEMPLATE["spec"], "activeDeadlineSeconds": 3}}},
         [("spec.template.spec.activeDeadlineSeconds",
           "Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported")]),
    ],
)  # fmt: skip
def test_deployments(change: dict[str, Any], expected: Found) -> None:
    spec = {**DEPLOYMENT["spec"], **change}
    assert created({"spec": spec}, "deployments", "apps") == expected


@pytest.mark.parametrize(
    ("requirement", "fits"),
    [
        ({"key": "a", "operator": "In", "values": ["b"]}, True),
        ({"key": "a", "operator": "NotIn", "values": ["b"]}, False),
        ({"key": "x", "operator": "NotIn", "values": ["b"]}, True),
        ({"key": "a", "operator": "Exists"}, True),
        ({"key": "a", "operator": "DoesNotExist"}, False),
    ],
)
def test_selector_requirements(requirement: dict[str, Any], fits: bool) -> None:
    spec = {**DEPLOYMENT["spec"], "selector": {"matchExpressions": [requirement]}}
    assert (created({"spec": spec}, "deployments", "apps") == []) is fits


def test_the_selector_of_a_deployment_never_changes() -> None:
    other = {**DEPLOYMENT["spec"], "selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
    assert [path for path, _text in updated({"spec": other}, DEPLOYMENT, "deployments", "apps")] == ["spec.selector"]
    scaled = {"spec": {**DEPLOYMENT["spec"], "replicas": 5}}
    assert updated(scaled, DEPLOYMENT, "deployments", "apps") == []


def test_deployment_status() -> None:
    def found(status: dict[str, Any], old: dict[str, Any] | None = None) -> Found:
        before = {**DEPLOYMENT, "status": old or {}}
        return updated({**DEPLOYMENT, "status": status}, before, "deployments", "apps", "status")

    assert found({"replicas": 3, "readyReplicas": 3, "availableReplicas": 2}) == []
    assert found({"replicas": 1, "updatedReplicas": 3}) == [
        ("status.updatedReplicas", "Invalid value: 3: cannot be greater than status.replicas")
    ]
    assert found({"replicas": 3, "availableReplicas": 2, "readyReplicas": 1}) == [
        ("status.availableReplicas", "Invalid value: 2: cannot be greater than readyReplicas")
    ]
    assert found({"collisionCount": 1}, {"collisionCount": 2}) == [
        ("status.collisionCount", "Invalid value: 1: cannot be decremented")
    ]
