"""Rules for pods: one row per rule, then what may change afterwards."""

from typing import Any

import pytest

from apilayer.api import names
from apilayer.api.decode import decode_document
from apilayer.api.defaults import apply_defaults
from apilayer.api.resources import Resource, find
from apilayer.api.validation import validate_create, validate_update
from apilayer.api.validation.warnings import create_warnings

Found = list[tuple[str, str]]


def pods() -> Resource:
    found = find("", "v1", "pods")
    assert found is not None
    return found


def pod(spec: dict[str, Any], status: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    body = {"metadata": {"name": "p", "namespace": "ns", **meta}, "spec": spec, "status": status or {}}
    obj = decode_document(body, pods()).object
    apply_defaults(pods(), obj)
    return obj


def spec_of(container: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"containers": [{"name": "c", "image": "i", **(container or {})}], **fields}


def created(spec: dict[str, Any]) -> Found:
    return [(error.path, error.message) for error in validate_create(pods(), pod(spec))]


def updated(new: dict[str, Any], old: dict[str, Any]) -> Found:
    return [(error.path, error.message) for error in validate_update(pods(), pod(new), pod(old))]


C0 = "spec.containers[0]"
EXEC = {"exec": {"command": ["a"]}}
MANY_TYPES = "Forbidden: may not specify more than 1 volume type"


@pytest.mark.parametrize(
    ("container", "path", "text"),
    [
        ({"name": ""}, "name", "Required value"),
        ({"name": "A"}, "name", f'Invalid value: "A": {names.LABEL_MESSAGE}'),
        ({"image": ""}, "image", "Required value"),
        ({"image": " x"}, "image", 'Invalid value: " x": must not have leading or trailing whitespace'),
        ({"imagePullPolicy": "X"}, "imagePullPolicy",
         'Unsupported value: "X": supported values: "Always", "IfNotPresent", "Never"'),
        ({"terminationMessagePolicy": "X"}, "terminationMessagePolicy",
         'Unsupported value: "X": supported values: "File", "FallbackToLogsOnError"'),
        ({"ports": [{}]}, "ports[0].containerPort", "Required value"),
        ({"ports": [{"containerPort": 70000}]}, "ports[0].containerPort",
         "Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ({"ports": [{"containerPort": 1, "protocol": "ICMP"}]}, "ports[0].protocol",
         'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'),
        ({"ports": [{"containerPort": 1, "name": "1"}]}, "ports[0].name",
         'Invalid value: "1": must contain at least one letter (a-z)'),
        ({"ports": [{"containerPort": n, "name": "a"} for n in (1, 2)]}, "ports[1].name", 'Duplicate value: "a"'),
        ({"ports": [{"containerPort": n, "hostPort": 5} for n in (1, 2)]}, "ports[1].hostPort",
         'Duplicate value: "TCP//5"'),
        ({"env": [{"name": ""}]}, "env[0].name", "Required value"),
        ({"env": [{"name": "a=b"}]}, "env[0].name", f'Invalid value: "a=b": {names.ENV_NAME_MESSAGE}'),
        ({"env": [{"name": "A", "valueFrom": {}}]}, "env[0].valueFrom",
         'Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, '
         "`secretKeyRef` or `fileKeyRef`"),
        ({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
         "env[0].valueFrom", 'Invalid value: "": may not be specified when `value` is not empty'),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]},
         "env[0].valueFrom.fieldRef.fieldPath",
         'Invalid value: "spec.x": error converting fieldPath: field label not supported: spec.x'),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a b']"}}}]},
         "env[0].valueFrom.fieldRef", 'Invalid value: "a b": ' + names.qualified_name("a b")[0]),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "x"}}}]},
         "env[0].valueFrom.configMapKeyRef.key", "Required value"),
        ({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "3"}}}]},
         "env[0].valueFrom.resourceFieldRef.divisor",
         "Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource"),
        ({"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "3"}}}]},
         "env[0].valueFrom.resourceFieldRef.divisor",
         "Invalid value: \"limits.memory\": only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, "
         "1Pi, 1Ei are supported with the memory resource"),
        ({"envFrom": [{}]}, "envFrom", 'Invalid value: "": must specify one of: `configMapRef` or `secretRef`'),
        ({"envFrom": [{"configMapRef": {"name": "x"}, "secretRef": {"name": "y"}}]}, "envFrom",
         'Invalid value: "": may not have more than one field specified at a time'),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, "resources.requests",
         'Invalid value: "2": must be less than or equal to cpu limit of 1'),
        ({"resources": {"requests": {"example.com/gpu": "1"}}}, "resources.limits",
         "Required value: Limit must be set for non overcommitable resources"),
        ({"resources": {"limits": {"hugepages-2Mi": "2Mi"}}}, "resources",
         "Forbidden: HugePages require cpu or memory"),
        ({"resources": {"claims": [{"name": "x"}]}}, "resources.claims[0]",
         'Not found: "x": must be one of the names in pod.spec.resourceClaims which is empty'),
        ({"resizePolicy": [{"resourceName": "x", "restartPolicy": "NotRequired"}]}, "resizePolicy",
         'Unsupported value: "x": supported values: "cpu", "memory"'),
        ({"livenessProbe": {}}, "livenessProbe", "Required value: must specify a handler type"),
        ({"livenessProbe": {**EXEC, "successThreshold": 2}}, "livenessProbe.successThreshold",
         "Invalid value: 2: must be 1"),
        ({"readinessProbe": {**EXEC, "terminationGracePeriodSeconds": 3}},
         "readinessProbe.terminationGracePeriodSeconds",
         "Invalid value: 3: must not be set for readinessProbes"),
        ({"livenessProbe": {"httpGet": {"port": 80}, **EXEC}}, "livenessProbe.httpGet",
         "Forbidden: may not specify more than 1 handler type"),
        ({"livenessProbe": {"httpGet": {"port": 0}}}, "livenessProbe.httpGet.port",
         "Invalid value: 0: must be between 1 and 65535, inclusive"),
        ({"livenessProbe": {"httpGet": {"port": 1, "httpHeaders": [{"name": "a b"}]}}},
         "livenessProbe.httpGet.httpHeaders", f'Invalid value: "a b": {names.HTTP_HEADER_MESSAGE}'),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 60}}}}, "lifecycle.preStop.sleep",
         "Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds (30)"),
        ({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}, "volumeMounts[0].name", 'Not found: "x"'),
        ({"securityContext": {"runAsUser": -1}}, "securityContext.runAsUser",
         "Invalid value: -1: must be between 0 and 2147483647, inclusive"),
        ({"securityContext": {"procMount": "Unmasked"}}, "securityContext.procMount",
         'Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`'),
        ({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]},
         "restartPolicy", "Required value: must specify restartPolicy when restart rules are used"),
    ],
)  # fmt: skip
def test_containers(container: dict[str, Any], path: str, text: str) -> None:
    assert created(spec_of(container)) == [(f"{C0}.{path}", text)]


@pytest.mark.parametrize(
    ("fields", "path", "text"),
    [
        ({"containers": []}, "containers", "Required value"),
        ({"containers": [{"name": "c", "image": "i"}] * 2}, "containers[1].name", 'Duplicate value: "c"'),
        ({"initContainers": [{"name": "c", "image": "i"}]}, "initContainers[0].name", 'Duplicate value: "c"'),
        ({"initContainers": [{"name": "d", "image": "i", "livenessProbe": EXEC}]},
         "initContainers[0].livenessProbe",
         "Forbidden: may not be set for init containers without restartPolicy=Always"),
        ({"ephemeralContainers": [{"name": "e", "image": "i"}]}, "ephemeralContainers",
         "Forbidden: cannot be set on create"),
        ({"restartPolicy": "X"}, "restartPolicy",
         'Unsupported value: "X": supported values: "Always", "OnFailure", "Never"'),
        ({"dnsPolicy": "None"}, "dnsConfig",
         "Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        ({"dnsConfig": {"nameservers": ["x"]}}, "dnsConfig.nameservers[0]",
         f'Invalid value: "x": {names.IP_MESSAGE}'),
        ({"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}}, "dnsConfig.nameservers",
         'Invalid value: ["1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1"]: must not have more than 3 nameservers'),
        ({"activeDeadlineSeconds": 0}, "activeDeadlineSeconds",
         "Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        ({"nodeName": "A"}, "nodeName", f'Invalid value: "A": {names.SUBDOMAIN_MESSAGE}'),
        ({"hostname": "A"}, "hostname", f'Invalid value: "A": {names.LABEL_MESSAGE}'),
        ({"os": {"name": "x"}}, "os", 'Unsupported value: "x": supported values: "linux", "windows"'),
        ({"os": {"name": "windows"}, "hostPID": True}, "hostPID", "Forbidden: cannot be set for a windows pod"),
        ({"hostUsers": False, "hostNetwork": True}, "hostNetwork", "Forbidden: when `hostUsers` is false"),
        ({"schedulingGates": [{"name": "a"}] * 2}, "schedulingGates[1]", 'Duplicate value: "a"'),
        ({"schedulingGates": [{"name": "a"}], "nodeName": "n"}, "nodeName",
         "Forbidden: cannot be set until all schedulingGates have been cleared"),
        ({"hostAliases": [{"ip": "x"}]}, "hostAliases[0].ip", f'Invalid value: "x": {names.IP_MESSAGE}'),
        ({"tolerations": [{"operator": "Equal", "value": "x"}]}, "tolerations[0].operator",
         'Invalid value: "Equal": operator must be Exists when `key` is empty, '
         'which means "match all values and all keys"'),
        ({"tolerations": [{"key": "a", "effect": "Bad"}]}, "tolerations[0].effect",
         'Unsupported value: "Bad": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'),
        ({"topologySpreadConstraints":
          [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}]},
         "topologySpreadConstraints[0].minDomains",
         "Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"),
        ({"topologySpreadConstraints":
          [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}] * 2},
         "topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}",
         'Duplicate value: "{z, DoNotSchedule}"'),
        ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}},
         "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms",
         "Required value: must have at least one node selector term"),
        ({"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution":
          [{"weight": 101, "podAffinityTerm": {"topologyKey": "z"}}]}}},
         "affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight",
         "Invalid value: 101: must be in the range 1-100"),
        ({"securityContext": {"sysctls": [{"name": "Bad Name", "value": ""}]}}, "securityContext.sysctls[0].name",
         'Invalid value: "Bad Name": must have at most 253 characters and match regex '
         "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$".replace("\\\\", "\\")),
        ({"securityContext": {"seccompProfile": {"type": "Localhost"}}},
         "securityContext.seccompProfile.localhostProfile",
         "Required value: must be set when seccomp type is Localhost"),
        ({"resourceClaims": [{"name": "a"}]}, "resourceClaims[0]",
         'Invalid value: {"Name":"a","ResourceClaimName":null,"ResourceClaimTemplateName":null}: '
         "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"),
        ({"resources": {"limits": {"ephemeral-storage": "1Gi"}}}, "resources.limits[ephemeral-storage]",
         'Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory"'),
    ],
)  # fmt: skip
def test_pods(fields: dict[str, Any], path: str, text: str) -> None:
    assert created({**spec_of(), **fields}) == [(f"spec.{path}", text)]


@pytest.mark.parametrize(
    ("volume", "path", "text"),
    [
        ({"name": "V_"}, "name", f'Invalid value: "V_": {names.LABEL_MESSAGE}'),
        ({"emptyDir": {}, "hostPath": {"path": "/"}}, "hostPath", MANY_TYPES),
        ({"emptyDir": {"sizeLimit": "-1"}}, "emptyDir.sizeLimit",
         "Forbidden: SizeLimit field must be a valid resource quantity"),
        ({"hostPath": {"path": "../x"}}, "hostPath.path", "Invalid value: \"../x\": must not contain '..'"),
        ({"secret": {}}, "secret.secretName", "Required value"),
        ({"secret": {"secretName": "s", "defaultMode": 1000}}, "secret.defaultMode",
         "Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive"),
        ({"configMap": {"name": "s", "items": [{"key": "a", "path": "/b"}]}}, "configMap.items[0].path",
         'Invalid value: "/b": must be a relative path'),
        ({"nfs": {"server": "s", "path": "x"}}, "nfs.path", 'Invalid value: "x": must be an absolute path'),
        ({"csi": {"driver": "b_d"}}, "csi.driver", f'Invalid value: "b_d": {names.SUBDOMAIN_MESSAGE}'),
        ({"iscsi": {"targetPortal": "p", "iqn": "x", "lun": 1}}, "iscsi.iqn",
         'Invalid value: "x": must be valid format starting with iqn, eui, or naa'),
        ({"gcePersistentDisk": {}}, "persistentDisk.pdName", "Required value"),
        ({"fc": {}}, "fc.targetWWNs", "Required value: must specify either targetWWNs or wwids, but not both"),
        ({"ephemeral": {}}, "ephemeral.volumeClaimTemplate", "Required value"),
        ({"downwardAPI": {"items": [{"path": "a"}]}}, "downwardAPI",
         "Required value: one of fieldRef and resourceFieldRef is required"),
        ({"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 10}}]}},
         "projected.sources[0].serviceAccountToken.expirationSeconds",
         "Invalid value: 10: may not specify a duration less than 10 minutes"),
        ({"projected": {"sources": [{"secret": {"name": "s"}, "configMap": {"name": "s"}}]}},
         "projected.sources[0]", "Forbidden: may not specify more than 1 volume type per source"),
        ({"flocker": {}}, "flocker", "Required value: one of datasetName and datasetUUID is required"),
        ({"rbd": {"image": "i"}}, "rbd.monitors", "Required value"),
    ],
)  # fmt: skip
def test_volumes(volume: dict[str, Any], path: str, text: str) -> None:
    spec = spec_of(volumes=[{"name": "v", **volume}], serviceAccountName="default")
    assert created(spec) == [(f"spec.volumes[0].{path}", text)]


MOUNTED = {"volumes": [{"name": "v", "emptyDir": {}}]}


@pytest.mark.parametrize(
    ("mounts", "path", "text"),
    [
        ([{"mountPath": "/a"}, {"mountPath": "/a"}], "[1].mountPath", 'Invalid value: "/a": must be unique'),
        ([{}], "[0].mountPath", "Required value"),
        ([{"mountPath": "/a", "subPath": "../x"}], ".subPath", "Invalid value: \"../x\": must not contain '..'"),
        ([{"mountPath": "/a", "subPath": "x", "subPathExpr": "y"}], "[0].subPathExpr",
         'Invalid value: "y": subPathExpr and subPath are mutually exclusive'),
        ([{"mountPath": "/a", "mountPropagation": "Bidirectional"}], ".mountPropagation",
         "Forbidden: Bidirectional mount propagation is available only to privileged containers"),
        ([{"mountPath": "/a", "recursiveReadOnly": "Enabled"}], ".recursiveReadOnly",
         "Forbidden: may only be specified when readOnly is true"),
    ],
)  # fmt: skip
def test_mounts(mounts: list[dict[str, Any]], path: str, text: str) -> None:
    container = {"volumeMounts": [{"name": "v", **mount} for mount in mounts]}
    assert created(spec_of(container, **MOUNTED)) == [(f"{C0}.volumeMounts{path}", text)]


def test_escalation_shows_the_context_in_go_form() -> None:
    ((path, text),) = created(spec_of({"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}))
    assert path == f"{C0}.securityContext"
    assert text == (
        'Invalid value: {"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,'
        '"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,'
        '"AllowPrivilegeEscalation":false,"ProcMount":null,"SeccompProfile":null,"AppArmorProfile":null}: '
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
    )


def test_amounts_are_checked_in_limits_and_in_the_requests_made_from_them() -> None:
    assert created(spec_of({"resources": {"limits": {"x": "1"}}})) == [
        (f"{C0}.resources.{which}[x]", f'Invalid value: "x": {text}')
        for which in ("limits", "requests")
        for text in (
            "must be a standard resource type or fully qualified",
            "must be a standard resource for containers",
        )
    ]
    assert created(spec_of({"resources": {"limits": {"example.com/gpu": "1.5"}}}))[0][1] == (
        'Invalid value: "1500m": must be an integer'
    )


def test_what_may_change() -> None:
    old = spec_of(terminationGracePeriodSeconds=5, tolerations=[{"key": "a", "operator": "Exists"}])
    more = [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]
    new = {**old, "containers": [{"name": "c", "image": "j"}], "tolerations": more, "activeDeadlineSeconds": 5}
    assert updated(new, old) == []


def test_what_may_not_change() -> None:
    ((path, text),) = updated(spec_of(hostname="b"), spec_of(hostname="a"))
    assert path == "spec"
    head, _, difference = text.partition("\n")
    assert head == (
        "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
        "`spec.tolerations` (only additions to existing tolerations),"
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
    )
    lines = difference.split("\n")
    assert lines[0].startswith("@@ -")
    assert lines[4:6] == ['- "Hostname": "a",', '+ "Hostname": "b",']
    assert lines[6:] == ['  "Subdomain": "",', '  "SetHostnameAsFQDN": null,', '  "Affinity": null,', ""]


@pytest.mark.parametrize(
    ("new", "old", "path", "text"),
    [
        ({"activeDeadlineSeconds": 9}, {"activeDeadlineSeconds": 5}, "activeDeadlineSeconds",
         "Invalid value: 9: must be less than or equal to previous value"),
        ({}, {"activeDeadlineSeconds": 5}, "activeDeadlineSeconds",
         "Invalid value: null: must not update from a positive integer to nil value"),
        ({"schedulingGates": [{"name": "a"}]}, {}, "schedulingGates[0].name",
         "Forbidden: only deletion is allowed, but found new scheduling gate 'a'"),
        ({}, {"tolerations": [{"key": "a", "operator": "Exists"}]}, "tolerations",
         "Forbidden: existing toleration can not be modified except its tolerationSeconds"),
        ({"initContainers": [{"name": "d", "image": "i"}]}, {}, "initContainers",
         "Forbidden: pod updates may not add or remove containers"),
    ],
)  # fmt: skip
def test_changes_with_a_message_of_their_own(new: dict[str, Any], old: dict[str, Any], path: str, text: str) -> None:
    assert updated(spec_of(**new), spec_of(**old)) == [(f"spec.{path}", text)]


def test_gated_pods_may_get_more_node_labels() -> None:
    gate = {"schedulingGates": [{"name": "a"}]}
    assert updated(spec_of(**gate, nodeSelector={"a": "b"}), spec_of(**gate)) == []
    assert updated(spec_of(nodeSelector={"a": "b"}), spec_of())[0][0] == "spec"


@pytest.mark.parametrize(
    ("status", "path", "text"),
    [
        ({"podIP": "x"}, "podIPs[0]", f'Invalid value: "x": {names.IP_MESSAGE}'),
        ({"podIPs": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.5"}]}, "podIPs",
         'Invalid value: [{"IP":"1.2.3.4"},{"IP":"1.2.3.5"}]: may specify no more than one IP for each IP family'),
        ({"nominatedNodeName": "A"}, "nominatedNodeName", f'Invalid value: "A": {names.SUBDOMAIN_MESSAGE}'),
        ({"qosClass": "Guaranteed"}, "qosClass", 'Invalid value: "Guaranteed": field is immutable'),
    ],
)  # fmt: skip
def test_status(status: dict[str, Any], path: str, text: str) -> None:
    old = pod(spec_of(), {"qosClass": "BestEffort"})
    new = pod(spec_of(), {"qosClass": "BestEffort", **status})
    errors = validate_update(pods(), new, old, "status")
    assert [(error.path, error.message) for error in errors] == [(f"status.{path}", text)]


def test_warnings() -> None:
    container = {
        "ports": [{"containerPort": 80}] * 2,
        "env": [{"name": "A"}] * 2,
        "resources": {"limits": {"memory": "100m"}},
    }
    volumes = [{"name": "v", "projected": {"sources": [{}]}}, {"name": "r", "rbd": {"monitors": ["a"], "image": "i"}}]
    obj = pod(spec_of(container, volumes=volumes, imagePullSecrets=[{}]))
    assert create_warnings(pods(), obj) == [
        'volume "v" (Projected) has no sources provided',
        "spec.volumes[1].rbd: deprecated in v1.28, non-functional in v1.31+",
        'spec.imagePullSecrets[0].name: invalid empty name ""',
        *(
            f'{C0}.resources.{which}[memory]: fractional byte value "100m" is invalid, must be an integer'
            for which in ("limits", "requests")
        ),
        f'{C0}.env[1]: hides previous definition of "A", which may be dropped when using apply',
        f"{C0}.ports[1]: duplicate port definition with {C0}.ports[0]",
    ]
    assert create_warnings(pods(), pod(spec_of())) == []
