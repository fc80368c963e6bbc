"""Rules for admission policies and their bindings. Expressions are looked at only as far as that there are some."""

from __future__ import annotations

import re

from apilayer.api import field, names
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.vocabulary import (
    at,
    each,
    either,
    every,
    given,
    must_have,
    name,
    one_of,
    required,
    required_one_of,
    rules,
    selector,
)
from apilayer.api.validation.webhooks import expression, match_conditions, operations_rule

_MAX_AUDIT_ANNOTATIONS = 20
_MAX_AUDIT_EXPRESSION_BYTES = 5 * 1024
_IDENTIFIER = re.compile("[_a-zA-Z][_a-zA-Z0-9]*")
_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_SOME_ITEM = "validations or auditAnnotations must contain at least one item"
_EXCLUSIVE = "name and selector are mutually exclusive"
_BOTH_ACTIONS = (
    "must not contain both Deny and Warn (repeating the same validation failure information in the API response and"
    " headers serves no purpose)"
)
_PATCHES = {"ApplyConfiguration": "applyConfiguration", "JSONPatch": "jsonPatch"}


def _resource_names(rule: Object, path: str) -> Errors:
    listed = items(rule, "resourceNames")
    wrong: Errors = []
    for index, value in enumerate(listed):
        where = f"{path}.resourceNames[{index}]"
        wrong += named(where, value, names.path_segment)
        if value in listed[:index]:
            wrong.append(field.duplicate(where, value))
    return wrong


_match_resources = every(
    required_one_of("matchPolicy", "Equivalent", "Exact"),
    must_have("namespaceSelector"),
    selector("namespaceSelector"),
    must_have("objectSelector"),
    selector("objectSelector"),
    each("resourceRules", _resource_names, operations_rule),
    each("excludeResourceRules", _resource_names, operations_rule),
)


def _kind_version(kind: Object, path: str) -> Errors:
    version, where = text(kind, "apiVersion"), f"{path}.apiVersion"
    if not version:
        return [field.required(where)]
    if version.count("/") > 1:
        return [field.invalid(where, version, f"unexpected GroupVersion string: {version}")]
    group, _, number = version.rpartition("/")
    wrong: Errors = []
    if group and names.dns_subdomain(group):
        wrong.append(field.invalid(where, group, ",".join(names.dns_subdomain(group))))
    if not number:
        wrong.append(field.invalid(where, version, "version must be specified"))
    elif names.dns_label_1035(number):
        wrong.append(field.invalid(where, number, ",".join(names.dns_label_1035(number))))
    return wrong


def _kind_name(kind: Object, path: str) -> Errors:
    value, where = text(kind, "kind"), f"{path}.kind"
    if not value:
        return [field.required(where)]
    messages = names.dns_label_1035(value.lower())
    detail = f"may have mixed case, but should otherwise match: {','.join(messages)}"
    return [field.invalid(where, value, detail)] if messages else []


def _variable(variable: Object, path: str) -> Errors:
    label = text(variable, "name")
    if not label:
        wrong = [field.required(f"{path}.name", "name is not specified")]
    elif _IDENTIFIER.fullmatch(label) and label not in _RESERVED:
        wrong = []
    else:
        wrong = [field.invalid(f"{path}.name", label, "must be a valid CEL identifier")]
    return wrong + expression("expression")(variable, path)


def _validation(validation: Object, path: str) -> Errors:
    judged, message = text(validation, "expression").strip(), text(validation, "message")
    from_expression, where = text(validation, "messageExpression"), f"{path}.message"
    wrong = expression("expression")(validation, path)
    if from_expression and not from_expression.strip():
        detail = "must be non-empty if specified"
        wrong.append(field.invalid(f"{path}.messageExpression", from_expression, detail))
    if message and not message.strip():
        wrong.append(field.invalid(where, message, "message must be non-empty if specified"))
    elif _has_lines(message.strip()):
        wrong.append(field.invalid(where, message, "must not contain line breaks"))
    elif _has_lines(judged) and not message:
        wrong.append(field.required(where, "message must be specified if expression contains line breaks"))
    if validation.get("reason") is not None:
        wrong += one_of("reason", "Forbidden", "Invalid", "RequestEntityTooLarge")(validation, path)
    return wrong


def _has_lines(value: str) -> bool:
    return "\n" in value or "\r" in value


_start = every(
    required_one_of("failurePolicy", "Fail", "Ignore"),
    given("paramKind", _kind_version, _kind_name),
    must_have("matchConstraints"),
    given("matchConstraints", _match_resources, required("resourceRules")),
    match_conditions,
    each("variables", _variable),
)


def validating_policy(obj: Object) -> Errors:
    """Rules for a ValidatingAdmissionPolicy."""
    spec, policy = part(obj, "spec"), text(part(obj, "metadata"), "name")
    wrong = _start(spec, "spec")
    notes = items(spec, "auditAnnotations")
    if not items(spec, "validations") and not notes:
        keys = ("validations", "auditAnnotations")
        return wrong + [field.required(f"spec.{key}", _SOME_ITEM) for key in keys]
    wrong += each("validations", _validation)(spec, "spec")
    if len(notes) > _MAX_AUDIT_ANNOTATIONS:
        detail = f"must not have more than {_MAX_AUDIT_ANNOTATIONS} auditAnnotations"
        wrong.append(field.invalid("spec.auditAnnotations", notes, detail))
    seen: set[str] = set()
    for where, note in indexed(spec, "auditAnnotations", "spec"):
        key, value = text(note, "key"), text(note, "valueExpression").strip()
        wrong += named(f"{where}.key", f"{policy}/{key}" if policy else key, names.qualified_name)
        wrong += expression("valueExpression", "valueExpression is not specified")(note, where)
        if len(value.encode()) > _MAX_AUDIT_EXPRESSION_BYTES:
            detail = f"must not exceed {_MAX_AUDIT_EXPRESSION_BYTES} bytes in length"
            wrong.append(field.required(f"{where}.valueExpression", detail))
        if key in seen:
            wrong.append(field.duplicate(f"{where}.key", key))
        seen.add(key)
    return wrong


def _mutation(mutation: Object, path: str) -> Errors:
    kind = text(mutation, "patchType")
    expected = _PATCHES.get(kind)
    if expected is None:
        return one_of("patchType", *_PATCHES)(mutation, path)
    wrong: Errors = []
    for key in (expected, *(key for key in _PATCHES.values() if key != expected)):
        value, where = mutation.get(key), f"{path}.{key}"
        if key != expected and value is not None:
            wrong.append(field.invalid(where, f"{{{key}}}", f"must not be specified when patchType is {kind}"))
        elif key == expected and value is None:
            wrong.append(field.required(where, f"must be specified when patchType is {kind}"))
        elif value is not None:
            wrong += expression("expression")(value, where)
    return wrong


mutating_policy = rules(
    at(
        "spec",
        _start,
        required("mutations", detail="mutations must contain at least one item"),
        each("mutations", _mutation),
        required_one_of("reinvocationPolicy", "IfNeeded", "Never"),
    ),
)


def _parameters(ref: Object, path: str) -> Errors:
    label, selected = text(ref, "name"), ref.get("selector")
    wrong = name("name", names.path_segment)(ref, path)
    if label and selected is not None:
        wrong.append(field.forbidden(f"{path}.name", _EXCLUSIVE))
    wrong += selector("selector")(ref, path)
    if label and selected is not None:
        wrong.append(field.forbidden(f"{path}.selector", _EXCLUSIVE))
    if not label and selected is None:
        wrong.append(field.required(path, "one of name or selector must be specified"))
    return wrong + required_one_of("parameterNotFoundAction", "Allow", "Deny")(ref, path)


def _actions(spec: Object, path: str) -> Errors:
    actions, where = items(spec, "validationActions"), f"{path}.validationActions"
    wrong: Errors = []
    for index, action in enumerate(actions):
        if action not in ("Audit", "Deny", "Warn"):
            wrong.append(field.not_supported(f"{where}[{index}]", action, ("Audit", "Deny", "Warn")))
        if action in actions[:index]:
            wrong.append(field.duplicate(f"{where}[{index}]", action))
    if {"Deny", "Warn"} <= set(actions):
        wrong.append(field.invalid(where, actions, _BOTH_ACTIONS))
    return wrong if actions else [field.required(where, "at least one validation action is required")]


_binding = every(
    either(required("policyName"), name("policyName", names.dns_subdomain)),
    given("paramRef", _parameters),
    given("matchResources", _match_resources),
)
validating_binding = rules(at("spec", _binding, _actions))
mutating_binding = rules(at("spec", _binding))
