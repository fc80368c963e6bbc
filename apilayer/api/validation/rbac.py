"""Rules for roles and their bindings."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.selectors import label_selector
from apilayer.api.validation.vocabulary import Check, Rule, at, each, one_of, required, required_name, rules

GROUP = "rbac.authorization.k8s.io"
_REF = "rbac.authorization.k8s.io/v1.RoleRef"


def _policy_rule(*, namespaced: bool) -> Check:
    def check(rule: Object, path: str) -> Errors:
        wrong = required("verbs", detail="verbs must contain at least one value")(rule, path)
        urls, where = items(rule, "nonResourceURLs"), f"{path}.nonResourceURLs"
        if not urls:
            wrong += required("apiGroups", detail="resource rules must supply at least one api group")(rule, path)
            return wrong + required("resources", detail="resource rules must supply at least one resource")(rule, path)
        if namespaced:
            wrong.append(field.invalid(where, urls, "namespaced rules cannot apply to non-resource URLs"))
        if any(rule.get(key) for key in ("apiGroups", "resources", "resourceNames")):
            detail = "rules cannot apply to both regular resources and non-resource URLs"
            wrong.append(field.invalid(where, urls, detail))
        return wrong

    return check


def _aggregation(role: Object, path: str) -> Errors:
    del path
    rule, where = role.get("aggregationRule"), "aggregationRule"
    if rule is None:
        return []
    if not items(rule, "clusterRoleSelectors"):
        detail = "at least one clusterRoleSelector required if aggregationRule is non-nil"
        return [field.required(f"{where}.clusterRoleSelectors", detail)]
    wrong: Errors = []
    for at_index, selector in indexed(rule, "clusterRoleSelectors", where):
        found = label_selector(selector, at_index)
        wrong += found
        if found:
            wrong.append(field.invalid(at_index, None, "invalid label selector."))
    return wrong


role = rules(each("rules", _policy_rule(namespaced=True)))
cluster_role = rules(each("rules", _policy_rule(namespaced=False)), _aggregation)


def _subject(*, namespaced: bool) -> Check:
    def check(subject: Object, path: str) -> Errors:
        kind, name, group = text(subject, "kind"), text(subject, "name"), text(subject, "apiGroup")
        wrong = required("name")(subject, path)
        if kind == "ServiceAccount":
            wrong += named(f"{path}.name", name, names.dns_subdomain) if name else []
            wrong += [field.not_supported(f"{path}.apiGroup", group, ("",))] if group else []
            if not namespaced and not subject.get("namespace"):
                wrong.append(field.required(f"{path}.namespace"))
        elif kind in ("User", "Group"):
            wrong += one_of("apiGroup", GROUP)(subject, path)
        else:
            wrong.append(field.not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group")))
        return wrong

    return check


def _binding(*kinds: str, namespaced: bool) -> Rule:
    return rules(
        at("roleRef", one_of("apiGroup", GROUP), one_of("kind", *kinds), required_name("name", names.path_segment)),
        each("subjects", _subject(namespaced=namespaced)),
    )


role_binding = _binding("Role", "ClusterRole", namespaced=True)
cluster_role_binding = _binding("ClusterRole", namespaced=False)


def binding_update(new: Object, old: Object) -> Errors:
    """What a binding grants never changes, only to whom."""
    if part(new, "roleRef") == part(old, "roleRef"):
        return []
    return [field.invalid("roleRef", goform.of(part(new, "roleRef"), _REF), "cannot change roleRef")]
