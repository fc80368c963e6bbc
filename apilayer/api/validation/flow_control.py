"""Rules for FlowSchemas and PriorityLevelConfigurations."""

from __future__ import annotations

import math

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.vocabulary import Check, at, each, every, given, required, rules

_EXEMPT = "exempt"
_HIGHEST_PRECEDENCE = 10_000
_MAX_QUEUES = 10_000_000
_MAX_ENTROPY_BITS = 60
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}


def _precedence(schema: Object, path: str) -> Errors:
    value = part(schema, "spec").get("matchingPrecedence", 0)
    where = "spec.matchingPrecedence"
    wrong: Errors = []
    if value <= 0:
        wrong.append(field.invalid(where, value, "must be a positive value"))
    if value > _HIGHEST_PRECEDENCE:
        wrong.append(field.invalid(where, value, f"must not be greater than {_HIGHEST_PRECEDENCE}"))
    if value == 1 and text(part(schema, "metadata"), "name") != _EXEMPT:
        detail = f"only the schema named '{_EXEMPT}' may have matchingPrecedence 1"
        wrong.append(field.invalid(where, value, detail))
    return wrong


def _distinguisher(method: Object, path: str) -> Errors:
    kind = text(method, "type")
    if kind in ("ByNamespace", "ByUser"):
        return []
    return [field.not_supported(f"{path}.type", {"Type": kind}, ("ByNamespace", "ByUser"))]


def _level(reference: Object, path: str) -> Errors:
    name = text(reference, "name")
    if not name:
        return [field.required(f"{path}.name", "must reference a priority level")]
    return named(f"{path}.name", name, names.dns_subdomain)


def _subject(subject: Object, path: str) -> Errors:
    kind = text(subject, "kind")
    key = _SUBJECTS.get(kind)
    if key is None:
        return [field.not_supported(f"{path}.kind", kind, tuple(sorted(_SUBJECTS)))]
    if subject.get(key) is None:
        return [field.required(f"{path}.{key}", f"{key} is required when subject kind is '{kind}'")]
    wrong = required("name")(subject[key], f"{path}.{key}")
    if key == "serviceAccount":
        name = text(subject[key], "name")
        wrong += named(f"{path}.{key}.name", name, names.dns_subdomain) if name not in ("", "*") else []
        wrong += required("namespace")(subject[key], f"{path}.{key}")
    return wrong


def _listed(key: str, missing: str, what: str) -> Check:
    """Some values are given, and none beside ``*``."""

    def check(rule: Object, path: str) -> Errors:
        values = items(rule, key)
        if not values:
            return [field.required(f"{path}.{key}", missing)]
        if "*" in values and len(values) > 1:
            detail = f"if '*' is present, must not specify other {what}"
            return [field.invalid(f"{path}.{key}", values, detail)]
        return []

    return check


def _known_verbs(rule: Object, path: str) -> Errors:
    unknown = [verb for verb in items(rule, "verbs") if verb != "*" and verb not in _VERBS]
    return [field.not_supported(f"{path}.verbs", unknown, _VERBS)] if unknown else []


def _namespaces(rule: Object, path: str) -> Errors:
    detail = "resource rules that are not cluster scoped must supply at least one namespace"
    if not items(rule, "namespaces"):
        return [] if rule.get("clusterScope") else [field.required(f"{path}.namespaces", detail)]
    wrong = _listed("namespaces", detail, "namespaces")(rule, path)
    for where, namespace in indexed(rule, "namespaces", path):
        wrong += named(where, namespace, names.namespace_name) if namespace != "*" else []
    return wrong


def _url_path(url: str) -> list[str]:
    if url == "*":
        return []
    if not url.startswith("/"):
        return ["must start with slash"]
    if " " in url:
        return ["must not contain white-space"]
    if "//" in url:
        return ["must not contain double slash"]
    stem = url.removesuffix("*")
    if "*" in stem or (stem != url and not stem.endswith("/")):
        return ["wildcard can only do suffix matching"]
    return []


_verbs = _listed("verbs", "verbs must contain at least one value", "verbs")
_resource_rule = every(
    _verbs,
    _known_verbs,
    _listed("apiGroups", "resource rules must supply at least one api group", "api groups"),
    _listed("resources", "resource rules must supply at least one resource", "resources"),
    _namespaces,
)


def _urls(rule: Object, path: str) -> Errors:
    missing = "nonResourceURLs must contain at least one value"
    wrong = _listed("nonResourceURLs", missing, "non-resource URLs")(rule, path)
    for where, url in indexed(rule, "nonResourceURLs", path):
        wrong += named(where, url, _url_path)
    return wrong


def _some_rule(rule: Object, path: str) -> Errors:
    if items(rule, "resourceRules") or items(rule, "nonResourceRules"):
        return []
    return [field.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")]


flow_schema = rules(
    _precedence,
    at(
        "spec",
        given("distinguisherMethod", _distinguisher),
        at("priorityLevelConfiguration", _level),
        each(
            "rules",
            required("subjects", detail="subjects must contain at least one value"),
            each("subjects", _subject),
            _some_rule,
            each("resourceRules", _resource_rule),
            each("nonResourceRules", _verbs, _urls),
        ),
    ),
)


def _exemption(obj: Object, path: str) -> Errors:
    kind = text(part(obj, "spec"), "type")
    if (text(part(obj, "metadata"), "name") == _EXEMPT) == (kind == "Exempt"):
        return []
    detail = f"must be 'Exempt' if and only if `name` is '{_EXEMPT}'"
    return [field.invalid("spec.type", kind, detail)]


def _share(key: str, detail: str, high: int | None = None) -> Check:
    def check(obj: Object, path: str) -> Errors:
        value = obj.get(key)
        if value is None or (value >= 0 and (high is None or value <= high)):
            return []
        return [field.invalid(f"{path}.{key}", value, detail)]

    return check


_shares = _share("nominalConcurrencyShares", "must be a non-negative integer")
_lendable = _share("lendablePercent", "must be between 0 and 100, inclusive", 100)
_borrowing = _share("borrowingLimitPercent", "if specified, must be a non-negative integer")


def _queuing(queuing: Object, path: str) -> Errors:
    queues, hand = queuing.get("queues", 0), queuing.get("handSize", 0)
    wrong: Errors = [
        field.invalid(f"{path}.{key}", queuing.get(key, 0), "must be positive")
        for key in ("queueLengthLimit", "queues")
        if queuing.get(key, 0) <= 0
    ]
    if queues > _MAX_QUEUES:
        wrong.append(field.invalid(f"{path}.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        wrong.append(field.invalid(f"{path}.handSize", hand, "must be positive"))
    elif hand > queues:
        wrong.append(field.invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif queues > 1 and hand * math.ceil(math.log2(queues)) > _MAX_ENTROPY_BITS:
        detail = (
            f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than"
            f" {_MAX_ENTROPY_BITS}"
        )
        wrong.append(field.invalid(f"{path}.handSize", hand, detail))
    return wrong


def _limit_response(response: Object, path: str) -> Errors:
    kind, queuing = text(response, "type"), response.get("queuing")
    if kind == "Queue":
        if queuing is None:
            detail = "must not be empty if limited.limitResponse.type is Limited"
            return [field.required(f"{path}.queuing", detail)]
        return _queuing(queuing, f"{path}.queuing")
    if kind == "Reject":
        detail = "must be nil if limited.limitResponse.type is not Limited"
        return [] if queuing is None else [field.forbidden(f"{path}.queuing", detail)]
    return [field.not_supported(f"{path}.type", kind, ("Queue", "Reject"))]


_limited = every(_shares, at("limitResponse", _limit_response), _lendable, _borrowing)


def _by_type(spec: Object, path: str) -> Errors:
    kind, limited, exempt = text(spec, "type"), spec.get("limited"), spec.get("exempt")
    if kind == "Exempt":
        wrong: Errors = []
        if limited is not None:
            wrong.append(field.forbidden(f"{path}.limited", "must be nil if the type is not Limited"))
        return wrong + given("exempt", _shares, _lendable)(spec, path)
    if kind == "Limited":
        wrong = []
        if exempt is not None:
            wrong.append(field.forbidden(f"{path}.exempt", "must be nil if the type is Limited"))
        if limited is None:
            return [*wrong, field.required(f"{path}.limited", "must not be empty when type is Limited")]
        return wrong + _limited(limited, f"{path}.limited")
    return [field.not_supported(f"{path}.type", kind, ("Exempt", "Limited"))]


priority_level = rules(_exemption, at("spec", _by_type))
