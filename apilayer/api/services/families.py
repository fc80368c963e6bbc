"""The linked fields of a Service's addresses: clusterIP and clusterIPs, ipFamilies and ipFamilyPolicy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import field
from apilayer.api.services.ranges import IPV4, IPV6, family_of
from apilayer.api.services.spec import HEADLESS, is_headless, needs_cluster_ip, type_of
from apilayer.later import Later

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apilayer.api.field import FieldError
    from apilayer.api.validation import service
else:
    service = Later("apilayer.api.validation.service")

Object = dict[str, Any]
Errors = list["FieldError"]

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
_OTHER = {IPV4: IPV6, IPV6: IPV4}
_POLICY = "spec.ipFamilyPolicy"


def synchronize(spec: Object, old: Object | None) -> None:
    """Brings clusterIP and clusterIPs in line where a client wrote only one of them."""
    single, several = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if old is None:
        if single and not several:
            spec["clusterIPs"] = [single]
        return
    before = old.get("clusterIP") or ""
    if not several and old.get("clusterIPs") and single == before:
        spec["clusterIPs"] = several = list(old["clusterIPs"])
    if single != before and several == (old.get("clusterIPs") or []):
        if single:
            spec["clusterIPs"] = [single]
        else:
            spec.pop("clusterIPs", None)


def keep_addresses(spec: Object, old: Object) -> None:
    """Gives an update that leaves its addresses out those that the service has."""
    if needs_cluster_ip(old) and needs_cluster_ip(spec):
        if not spec.get("clusterIP") and old.get("clusterIP"):
            spec["clusterIP"] = old["clusterIP"]
        if not spec.get("clusterIPs") and old.get("clusterIPs"):
            spec["clusterIPs"] = list(old["clusterIPs"])


def _keeps_preference(spec: Object, old: Object | None) -> bool:
    """Whether nothing about the addresses changes; such a service is never up- or downgraded by itself."""
    return (
        old is not None
        and spec.get("ipFamilyPolicy") == PREFER
        and old.get("ipFamilyPolicy", PREFER) == PREFER
        and type_of(spec) == type_of(old) != "ExternalName"
        and (spec.get("clusterIPs") or []) == (old.get("clusterIPs") or [])
        and (spec.get("ipFamilies") or []) == (old.get("ipFamilies") or [])
    )


def settle_families(spec: Object, old: Object | None, configured: Sequence[str]) -> Errors:
    """Fills in ipFamilyPolicy and ipFamilies as the cluster's families (`configured`, default first) allow."""
    if type_of(spec) == "ExternalName" or _keeps_preference(spec, old):
        return []
    headless_free = is_headless(spec) and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        inherited = (old or {}).get("ipFamilyPolicy")
        spec["ipFamilyPolicy"] = inherited or (REQUIRE if headless_free else SINGLE)
    wrong = service.cluster_addresses(spec, "spec")
    if wrong:
        return wrong
    if old is not None:
        wrong += _narrow(spec, old)
    wrong += _infer(spec, configured)
    if wrong:
        return wrong
    policy = spec["ipFamilyPolicy"]
    if headless_free:
        families = spec.get("ipFamilies") or [configured[0]]
        if len(families) < 2 and policy != SINGLE:
            families = [families[0], _OTHER[families[0]]]
        spec["ipFamilies"] = families
        return []
    if policy == REQUIRE and len(configured) < 2:
        wrong.append(field.invalid(_POLICY, policy, "this cluster is not configured for dual-stack services"))
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in configured:
            wrong.append(field.invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster"))
    if wrong:
        return wrong
    families = spec.get("ipFamilies") or [configured[0]]
    if policy != SINGLE and len(families) == 1 and len(configured) == 2:
        families = [families[0], _OTHER[families[0]]]
    spec["ipFamilies"] = families
    return []


def _narrow(spec: Object, old: Object) -> Errors:
    """An update to a single stack lets the second family go; any other update may not lose it unsaid."""
    policy = spec["ipFamilyPolicy"]
    wrong: Errors = []
    for key, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        now, before = spec.get(key) or [], old.get(key) or []
        if policy == SINGLE:
            if now == before and len(now) > 1:
                spec[key] = now[:1]
        elif now and len(now) < len(before):
            wrong.append(field.invalid(_POLICY, policy, f"must be 'SingleStack' to release the secondary {what}"))
    return wrong


def _infer(spec: Object, configured: Sequence[str]) -> Errors:
    """Takes families that are not given from the addresses that are."""
    policy, ips = spec["ipFamilyPolicy"], spec.get("clusterIPs") or []
    families = list(spec.get("ipFamilies") or [])
    wrong: Errors = []
    if policy == SINGLE:
        several = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
        if len(ips) == 2:
            wrong.append(field.invalid(_POLICY, policy, several.format("cluster IPs")))
        if len(families) == 2:
            wrong.append(field.invalid(_POLICY, policy, several.format("IP families")))
    for index, ip in enumerate(ips):
        if ip == HEADLESS:
            break
        if index < len(families):
            continue
        family = family_of(ip)
        if family in configured:
            families.append(family)
        else:
            text = f"{family} is not configured on this cluster"
            wrong.append(field.invalid(f"spec.clusterIPs[{index}]", ips, text))
    if families:
        spec["ipFamilies"] = families
    return wrong
