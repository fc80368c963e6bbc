"""The checks of the Pod Security Standards, each with pods that break it and pods that do not."""

from __future__ import annotations

from typing import Any

import pytest

from apilayer.admission.pod_security.evaluation import BASELINE_CHECKS, RESTRICTED_CHECKS, findings
from apilayer.admission.pod_security.policy import NEWEST_MINOR, Standard

Object = dict[str, Any]

HARDENED: Object = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def told(level: str, spec: Object, annotations: Object | None = None, minor: int | None = None) -> str:
    version = "latest" if minor is None else f"v1.{minor}"
    found = findings(Standard(level, version), {"annotations": annotations or {}}, spec)
    return ", ".join(str(finding) for finding in found)


def one(context: Object | None = None, pod_context: Object | None = None, **container: Any) -> Object:
    """A pod of one container ``c``, hardened but for what is given."""
    whole = {"name": "c", "securityContext": {**HARDENED, **(context or {})}, **container}
    return {"containers": [whole], "securityContext": pod_context or {}}


def test_hardened_pods_are_fine_everywhere() -> None:
    for level in ("privileged", "baseline", "restricted"):
        for minor in range(NEWEST_MINOR + 2):
            assert told(level, one(), minor=minor) == ""


BASELINE = [
    (
        one({"appArmorProfile": {"type": "Unconfined"}}, {"appArmorProfile": {"type": "Unconfined"}}),
        'forbidden AppArmor profile (pod and container "c" must not set AppArmor profile type to "Unconfined")',
    ),
    (
        one({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "NET_RAW", "CHOWN"]}}),
        'non-default capabilities (container "c" must not include "NET_RAW", "SYS_ADMIN" in '
        "securityContext.capabilities.add)",
    ),
    (
        {**one(), "hostNetwork": True, "hostPID": True, "hostIPC": True},
        "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
    ),
    (
        {**one(), "volumes": [{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "hostPath": {"path": "/"}}]},
        'hostPath volumes (volumes "v", "w")',
    ),
    (
        one(ports=[{"hostPort": 80}, {"hostPort": 443}, {"containerPort": 1}]),
        'hostPort (container "c" uses hostPorts 443, 80)',
    ),
    (
        one(livenessProbe={"httpGet": {"host": "a"}}, lifecycle={"preStop": {"tcpSocket": {"host": "b"}}}),
        'probe or lifecycle host (container "c" uses probe or lifecycle hosts "a", "b")',
    ),
    (one({"privileged": True}), 'privileged (container "c" must not set securityContext.privileged=true)'),
    (
        one({"procMount": "Unmasked"}),
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        one({"seLinuxOptions": {"type": "bad_t", "user": "u"}}, {"seLinuxOptions": {"role": "r"}}),
        'seLinuxOptions (pod and container "c" set forbidden securityContext.seLinuxOptions: type "bad_t"; '
        "user may not be set; role may not be set)",
    ),
    (
        one({"seccompProfile": {"type": "Unconfined"}}),
        'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (one(None, {"sysctls": [{"name": "a"}, {"name": "net.ipv4.tcp_wmem"}]}), "forbidden sysctls (a)"),
    (
        one({"windowsOptions": {"hostProcess": True}}),
        'hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
]


@pytest.mark.parametrize(("spec", "text"), BASELINE)
def test_baseline(spec: Object, text: str) -> None:
    assert told("baseline", spec) == text
    assert told("privileged", spec) == ""
    assert told("restricted", spec) != "", "what baseline forbids, restricted forbids too"


def test_every_check_has_a_case() -> None:
    assert len(BASELINE) == len(BASELINE_CHECKS)
    assert {text.split(" (")[0] for _, text in RESTRICTED} >= {
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "restricted volume types",
        "runAsNonRoot != true",
        "runAsUser=0",
        "seccompProfile",
    }
    assert len(RESTRICTED_CHECKS) == 6


RESTRICTED = [
    (
        one({"allowPrivilegeEscalation": None}),
        'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
    ),
    (
        one({"capabilities": {"add": ["NET_BIND_SERVICE", "CHOWN"]}}),
        'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; '
        'container "c" must not include "CHOWN" in securityContext.capabilities.add)',
    ),
    (
        {**one(), "volumes": [{"name": "v", "nfs": {}}, {"name": "w", "hostPath": {}}, {"name": "x", "emptyDir": {}}]},
        'restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")',
    ),
    (
        one({"runAsNonRoot": None}),
        'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
    ),
    (
        one({"runAsNonRoot": False}, {"runAsNonRoot": False}),
        'runAsNonRoot != true (pod and container "c" must not set securityContext.runAsNonRoot=false)',
    ),
    (one({"runAsUser": 0}), 'runAsUser=0 (container "c" must not set runAsUser=0)'),
    (
        one({"seccompProfile": None}),
        'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or '
        '"Localhost")',
    ),
    (
        one({"seccompProfile": {"type": "Unconfined"}}),
        'seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
    (
        one(
            {"runAsNonRoot": None, "seccompProfile": None},
            {"runAsNonRoot": True, "seccompProfile": {"type": "Localhost"}},
        ),
        "",
    ),
]


@pytest.mark.parametrize(("spec", "text"), RESTRICTED)
def test_restricted(spec: Object, text: str) -> None:
    assert told("restricted", spec) == text


PLAIN: Object = {"containers": [{"name": "c"}]}
SELINUX = one({"seLinuxOptions": {"type": "container_engine_t"}})


@pytest.mark.parametrize(
    ("level", "spec", "first", "before"),
    [
        ("baseline", one(startupProbe={"tcpSocket": {"host": "a"}}), 34, ""),
        ("restricted", {**one(), "os": {"name": "windows"}}, 0, None),
        ("restricted", one({"runAsUser": 0}), 23, ""),
    ],
)
def test_checks_begin_with_a_version(level: str, spec: Object, first: int, before: str | None) -> None:
    if before is None:
        assert told(level, spec) == ""
        return
    assert told(level, spec, minor=first - 1) == before
    assert told(level, spec, minor=first) != before


@pytest.mark.parametrize(
    ("level", "spec", "first"),
    [
        ("baseline", SELINUX, 31),
        ("baseline", one(None, {"sysctls": [{"name": "net.ipv4.ip_local_reserved_ports"}]}), 27),
        ("baseline", one(None, {"sysctls": [{"name": "net.ipv4.tcp_fin_timeout"}]}), 29),
        ("baseline", one(None, {"sysctls": [{"name": "net.ipv4.tcp_rmem"}]}), 32),
        ("baseline", {**one({"procMount": "Unmasked"}), "hostUsers": False}, 35),
        ("restricted", {**one({"runAsNonRoot": False, "runAsUser": 0}), "hostUsers": False}, 35),
        ("restricted", {**one({"allowPrivilegeEscalation": True}), "os": {"name": "windows"}}, 25),
    ],
)
def test_checks_that_a_version_relaxed(level: str, spec: Object, first: int) -> None:
    assert told(level, spec, minor=first - 1) != ""
    assert told(level, spec, minor=first) == ""


def test_profiles_that_annotations_name() -> None:
    seccomp = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    assert told("baseline", PLAIN, seccomp, minor=18) == (
        'seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    )
    assert told("baseline", PLAIN, seccomp, minor=19) == ""
    key = "container.apparmor.security.beta.kubernetes.io/c"
    assert told("baseline", PLAIN, {key: "localhost/x"}) == ""
    assert told("baseline", PLAIN, {key: "unconfined"}) == (
        f'forbidden AppArmor profile (annotation must not set AppArmor profile type to "{key}="unconfined"")'
    )


def test_init_and_ephemeral_containers_count() -> None:
    bad = {"name": "x", "securityContext": {"privileged": True}}
    spec = {"containers": [], "initContainers": [bad], "ephemeralContainers": [{**bad, "name": "y"}]}
    assert told("baseline", spec) == ('privileged (containers "x", "y" must not set securityContext.privileged=true)')
