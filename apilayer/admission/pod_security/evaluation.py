"""Which checks a level and version consist of, and what they find in a pod."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import attrs

from apilayer.admission.pod_security import baseline, restricted
from apilayer.admission.pod_security.finding import Finding
from apilayer.admission.pod_security.policy import PRIVILEGED, RESTRICTED, Standard

Object = dict[str, Any]
Judge = Callable[[Object, Object], Finding | None]
"""Looks at a pod's metadata and spec."""


@attrs.frozen
class Check:
    """One rule in its versions: from minor version N on, this function."""

    id: str
    since: tuple[tuple[int, Judge], ...]
    replaces: str = ""
    """The check of the lower level that says less than this one."""

    def at(self, minor: int) -> Judge | None:
        """The function that holds at a version, None before the first."""
        found = None
        for first, judge in self.since:
            if first <= minor:
                found = judge
        return found


BASELINE_CHECKS = (
    Check("appArmorProfile", ((0, baseline.app_armor),)),
    Check("capabilities_baseline", ((0, baseline.capabilities),)),
    Check("hostNamespaces", ((0, baseline.host_namespaces),)),
    Check("hostPathVolumes", ((0, baseline.host_path_volumes),)),
    Check("hostPorts", ((0, baseline.host_ports),)),
    Check("hostProbesAndHostLifecycle", ((34, baseline.handler_hosts),)),
    Check("privileged", ((0, baseline.privileged),)),
    Check("procMount", ((0, baseline.proc_mount), (35, baseline.proc_mount_35))),
    Check("seLinuxOptions", ((0, baseline.selinux), (31, baseline.selinux_31))),
    Check("seccompProfile_baseline", ((0, baseline.seccomp_annotations), (19, baseline.seccomp))),
    Check(
        "sysctls",
        ((0, baseline.sysctls), (27, baseline.sysctls_27), (29, baseline.sysctls_29), (32, baseline.sysctls_32)),
    ),
    Check("windowsHostProcess", ((0, baseline.windows_host_process),)),
)
RESTRICTED_CHECKS = (
    Check("allowPrivilegeEscalation", ((8, restricted.privilege_escalation), (25, restricted.privilege_escalation_25))),
    Check(
        "capabilities_restricted",
        ((22, restricted.capabilities), (25, restricted.capabilities_25)),
        replaces="capabilities_baseline",
    ),
    Check("restrictedVolumes", ((0, restricted.volumes),), replaces="hostPathVolumes"),
    Check("runAsNonRoot", ((0, restricted.run_as_non_root), (35, restricted.run_as_non_root_35))),
    Check("runAsUser", ((23, restricted.run_as_user), (35, restricted.run_as_user_35))),
    Check(
        "seccompProfile_restricted",
        ((19, restricted.seccomp), (25, restricted.seccomp_25)),
        replaces="seccompProfile_baseline",
    ),
)


@lru_cache(maxsize=128)
def judges(level: str, minor: int) -> tuple[Judge, ...]:
    """What a pod is looked at by, in the order in which it is told."""
    if level == PRIVILEGED:
        return ()
    further = RESTRICTED_CHECKS if level == RESTRICTED else ()
    replaced = {check.replaces for check in further if check.at(minor) is not None}
    checks = [check for check in BASELINE_CHECKS if check.id not in replaced]
    return tuple(judge for check in (*checks, *further) if (judge := check.at(minor)) is not None)


def findings(standard: Standard, metadata: Object, spec: Object) -> list[Finding]:
    """What is wrong with a pod by this standard."""
    found = (judge(metadata, spec) for judge in judges(standard.level, standard.minor))
    return [finding for finding in found if finding is not None]
