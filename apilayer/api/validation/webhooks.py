"""Rules for the registrations of admission webhooks."""

from __future__ import annotations

from urllib.parse import urlsplit

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, indexed, items, named, text
from apilayer.api.validation.vocabulary import (
    Check,
    at,
    at_most_items,
    between,
    each,
    each_one_of,
    every,
    maybe_one_of,
    must_have,
    required,
    required_name,
    rules,
    selector,
    unique,
)

_VERSIONS = ("v1", "v1beta1")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_MAX_CONDITIONS = 64
_FORM = "; desired format: https://host[/path]"
_PORT = "port is not valid: must be between 1 and 65535, inclusive"


def _name(hook: Object, path: str) -> Errors:
    name, where = text(hook, "name"), f"{path}.name"
    if not name:
        return [field.required(where)]
    wrong = named(where, name, names.dns_subdomain)
    if not wrong and name.count(".") < 2:
        detail = "should be a domain with at least three segments separated by dots"
        wrong.append(field.invalid(where, name, detail))
    return wrong


def _alone(key: str, what: str) -> Check:
    """``*`` in a list makes every other item there pointless."""

    def check(obj: Object, path: str) -> Errors:
        values = items(obj, key)
        if "*" not in values or len(values) == 1:
            return []
        return [field.invalid(f"{path}.{key}", values, f"if '*' is present, must not specify other {what}")]

    return check


def _resources(rule: Object, path: str) -> Errors:
    values, where = items(rule, "resources"), f"{path}.resources"
    wrong: Errors = []
    if "*/*" in values and len(values) > 1:
        wrong.append(field.invalid(where, values, "if '*/*' is present, must not specify other resources"))
    plain = [value for value in values if "/" not in value]
    if "*" in plain and len(plain) > 1:
        detail = "if '*' is present, must not specify other resources without subresources"
        wrong.append(field.invalid(where, values, detail))
    return wrong


def _no_empty(key: str) -> Check:
    return lambda obj, path: [
        field.required(f"{path}.{key}[{index}]") for index, value in enumerate(items(obj, key)) if not value
    ]


operations_rule = every(
    required("operations"),
    _alone("operations", "operations"),
    each_one_of("operations", *_OPERATIONS),
    required("apiGroups"),
    _alone("apiGroups", "API groups"),
    required("apiVersions"),
    _alone("apiVersions", "API versions"),
    _no_empty("apiVersions"),
    required("resources"),
    _no_empty("resources"),
    _resources,
    maybe_one_of("scope", "*", "Cluster", "Namespaced"),
)


def _url(url: str, path: str) -> Errors:
    try:
        found = urlsplit(url)
    except ValueError as error:
        return [field.required(path, f"url must be a valid URL: {error}{_FORM}")]
    wrong: Errors = []
    if found.scheme != "https":
        wrong.append(field.invalid(path, found.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    if not found.netloc:
        wrong.append(field.invalid(path, found.netloc, f"host must be specified{_FORM}"))
    user, separator, _ = found.netloc.rpartition("@")
    if separator:
        wrong.append(field.invalid(path, user, "user information is not permitted in the URL"))
    if found.fragment:
        wrong.append(field.invalid(path, found.fragment, "fragments are not permitted in the URL"))
    if found.query:
        wrong.append(field.invalid(path, found.query, "query parameters are not permitted in the URL"))
    return wrong


def _service_path(service: Object, path: str) -> Errors:
    value, where = service.get("path"), f"{path}.path"
    if not value or value == "/":
        return []
    if not value.startswith("/"):
        return [field.invalid(where, value, "must start with a '/'")]
    segments = value[1:].removesuffix("/").split("/")
    wrong: Errors = []
    for index, segment in enumerate(segments):
        if not segment:
            wrong.append(field.invalid(where, value, f"segment[{index}] may not be empty"))
            continue
        failures = names.dns_subdomain(segment)
        if failures:
            wrong.append(field.invalid(where, value, f"segment[{index}]: {failures[0]}"))
    return wrong


_service = every(
    required("name", detail="service name is required"),
    required("namespace", detail="service namespace is required"),
    _service_path,
    between("port", 1, 65535, _PORT),
)


def client_config(config: Object, path: str) -> Errors:
    """Where a webhook is: at a URL or at a service of the cluster."""
    if (config.get("url") is None) == (config.get("service") is None):
        return [field.required(path, "exactly one of url or service is required")]
    if config.get("url") is not None:
        return _url(config["url"], f"{path}.url")
    return _service(config["service"], f"{path}.service")


def _review_versions(hook: Object, path: str) -> Errors:
    versions, where = items(hook, "admissionReviewVersions"), f"{path}.admissionReviewVersions"
    listed = ", ".join(_VERSIONS)
    if not versions:
        return [field.required(where, f"must specify one of {listed}")]
    wrong: Errors = []
    for index, version in enumerate(versions):
        if version in versions[:index]:
            wrong.append(field.invalid(f"{where}[{index}]", version, "duplicate version"))
        wrong += named(f"{where}[{index}]", version, names.dns_label_1035)
    if not set(versions) & set(_VERSIONS):
        wrong.append(field.invalid(where, versions, f"must include at least one of {listed}"))
    return wrong


def expression(key: str, detail: str = "expression is not specified") -> Check:
    """There is an expression at `key`; whether it is a good one is not judged here."""
    return lambda obj, path: [] if text(obj, key).strip() else [field.required(f"{path}.{key}", detail)]


_condition = every(expression("expression", ""), required_name("name", names.qualified_name))


def match_conditions(obj: Object, path: str) -> Errors:
    """Conditions have names of their own."""
    wrong = at_most_items("matchConditions", _MAX_CONDITIONS)(obj, path)
    seen: set[str] = set()
    for where, condition in indexed(obj, "matchConditions", path):
        wrong += _condition(condition, where)
        label = text(condition, "name")
        if label and label in seen:
            wrong.append(field.duplicate(f"{where}.name", label))
        seen.add(label)
    return wrong


def _hooks(*more: Check) -> Check:
    return every(
        each(
            "webhooks",
            _name,
            each("rules", operations_rule),
            maybe_one_of("failurePolicy", "Fail", "Ignore"),
            maybe_one_of("matchPolicy", "Equivalent", "Exact"),
            must_have("sideEffects", detail="must specify one of None, NoneOnDryRun"),
            maybe_one_of("sideEffects", *_SIDE_EFFECTS),
            between("timeoutSeconds", 1, 30, "the timeout value must be between 1 and 30 seconds"),
            selector("namespaceSelector"),
            selector("objectSelector"),
            *more,
            at("clientConfig", client_config),
            match_conditions,
            _review_versions,
        ),
        unique("webhooks", by="name"),
    )


validating = rules(_hooks())
mutating = rules(_hooks(maybe_one_of("reinvocationPolicy", "IfNeeded", "Never")))
