"""Rules for parts of devices and of requests for them: names of what they have, taints, and what may be asked for."""

from __future__ import annotations

import re

from apilayer.api import field, names, quantity
from apilayer.api.validation.common import Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.vocabulary import Check, every, maybe_one_of, name, required_one_of
from apilayer.api.validation.volumes import csi_driver_name

_MAX_IDENTIFIER = 32
_MAX_TAINTS = 16
_MAX_CONDITIONS = 4
_MAX_VALUES = 10
_EFFECTS = ("NoExecute", "NoSchedule", "None")
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_IDENTIFIER_MESSAGE = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of"
    " alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for"
    " validation is '[A-Za-z_][A-Za-z0-9_]*')"
)
_BOTH_POLICIES = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
_CONDITIONS = ("bindingConditions", "bindingFailureConditions")


def member_name(value: str, path: str) -> Errors:
    """The name of an attribute or a capacity: a C identifier, after a domain and a slash if it is not the driver's."""
    domain, slash, identifier = value.partition("/")
    if not slash:
        return _identifier(value, path)
    wrong = csi_driver_name(domain, path) if domain else [field.invalid(path, "", "the domain must not be empty")]
    if not identifier:
        return [*wrong, field.invalid(path, "", "the name must not be empty")]
    return wrong + _identifier(identifier, path)


def full_name(value: str, path: str) -> Errors:
    """The same with a domain in any case."""
    if "/" in value:
        return member_name(value, path)
    detail = "a fully qualified name must be a domain and a name separated by a slash"
    return [*_identifier(value, path), field.invalid(path, value, detail)]


def _identifier(value: str, path: str) -> Errors:
    wrong = [field.too_long(path, "", _MAX_IDENTIFIER)] if len(value) > _MAX_IDENTIFIER else []
    return wrong if _IDENTIFIER.fullmatch(value) else [*wrong, field.invalid(path, value, _IDENTIFIER_MESSAGE)]


def _bounded(key: str, limit: int, *checks: Check) -> Check:
    """`checks` for each object in the list at `key`, unless it is longer than `limit`."""
    check = every(*checks)

    def judge(obj: Object, path: str) -> Errors:
        found = indexed(obj, key, path)
        if len(found) > limit:
            return [field.too_many(f"{path}.{key}", len(found), limit)]
        return [error for where, item in found for error in check(item, where)]

    return judge


def _taint_key(taint: Object, path: str) -> Errors:
    return named(f"{path}.key", text(taint, "key"), names.qualified_name)


taints = _bounded(
    "taints", _MAX_TAINTS, _taint_key, name("value", names.label_value), required_one_of("effect", *_EFFECTS)
)


def _tolerated_value(toleration: Object, path: str) -> Errors:
    value, where = text(toleration, "value"), f"{path}.value"
    if toleration.get("operator") == "Equal":
        return named(where, value, names.label_value)
    if toleration.get("operator") == "Exists" and value:
        return [field.invalid(where, value, "must be empty for operator `Exists`")]
    return []


tolerations = _bounded(
    "tolerations",
    _MAX_TAINTS,
    name("key", names.qualified_name),
    required_one_of("operator", "Equal", "Exists"),
    _tolerated_value,
    lambda toleration, path: maybe_one_of("effect", *_EFFECTS)(toleration, path) if toleration.get("effect") else [],
)


def binding_conditions(device: Object, path: str) -> Errors:
    """What a device must report before its pod is bound, and what says that it cannot be; neither without the other."""
    good, bad = (items(device, key) for key in _CONDITIONS)
    wrong: Errors = []
    for key in _CONDITIONS:
        found = indexed(device, key, path)
        if len(found) > _MAX_CONDITIONS:
            wrong.append(field.too_many(f"{path}.{key}", len(found), _MAX_CONDITIONS))
            continue
        wrong += [error for where, value in found for error in named(where, value, names.qualified_name)]
    for key, values in zip(_CONDITIONS, (good, bad), strict=True):
        for index, (where, value) in enumerate(indexed(device, key, path)):
            if value in values[:index]:
                wrong.append(field.duplicate(where, value))
            if values is bad and value in good:
                detail = "bindingFailureConditions must not overlap with bindingConditions"
                wrong.append(field.invalid(where, value, detail))
    for mine, other in (_CONDITIONS, _CONDITIONS[::-1]):
        if items(device, other) and not items(device, mine):
            wrong.append(field.invalid(f"{path}.{mine}", device.get(mine), f"{mine} are required to use {other}"))
    return wrong


def request_policy(capacity: Object, path: str, *, shared: bool) -> Errors:
    """How much of a capacity can be asked for; only `shared` devices give parts of it away."""
    policy, where = capacity.get("requestPolicy"), f"{path}.requestPolicy"
    if policy is None:
        return []
    if not shared:
        return [field.forbidden(where, "allowMultipleAllocations must be true")]
    values, bounds = items(policy, "validValues"), policy.get("validRange")
    if values and bounds is not None:
        return [field.forbidden(where, _BOTH_POLICIES)]
    if not values and bounds is None:
        return []
    kind = "validValues" if values else "validRange"
    if policy.get("default") is None:
        return [field.required(f"{where}.default", f"required when {kind} is defined")]
    if values:
        return _valid_values(values, policy["default"], capacity["value"], f"{where}.validValues")
    return _valid_range(part(policy, "validRange"), policy["default"], capacity["value"], f"{where}.validRange")


def _amount(value: str) -> quantity.Quantity:
    return quantity.parse(value)


def _valid_values(values: list[str], default: str, most: str, path: str) -> Errors:
    amounts = [_amount(value).amount for value in values]
    wrong = [
        field.invalid(f"{path}[{index}]", values[index], "values must be sorted in ascending order")
        for index in range(1, len(values))
        if amounts[index - 1] > amounts[index]
    ]
    if len(values) > _MAX_VALUES:
        wrong.append(field.too_many(path, len(values), _MAX_VALUES))
    else:
        detail = f"option is larger than capacity value: {most}"
        wrong += [
            field.invalid(f"{path}[{index}]", value, detail)
            for index, value in enumerate(values)
            if amounts[index] > _amount(most).amount
        ]
    if _amount(default).amount not in amounts:
        wrong.append(field.invalid(path, default, "default value is not valid according to the requestPolicy"))
    return wrong


def _valid_range(bounds: Object, default: str, most: str, path: str) -> Errors:
    low, high, step = (bounds.get(key) for key in ("min", "max", "step"))
    if low is None:
        return [field.required(f"{path}.min", "required when validRange is defined")]
    wrong: Errors = []

    def check(wrong_when: bool, key: str, shown: str, detail: str) -> None:
        if wrong_when:
            wrong.append(field.invalid(f"{path}.{key}", shown, detail))

    lowest, usual, whole = (_amount(value).amount for value in (low, default, most))
    check(lowest > whole, "min", low, f"min is larger than capacity value: {most}")
    check(usual < lowest, "min", default, f"default is less than min: {low}")
    if high is not None:
        highest = _amount(high).amount
        check(lowest > highest, "max", low, f"min is larger than max: {high}")
        check(highest > whole, "max", high, f"max is larger than capacity value: {most}")
        check(usual > highest, "max", default, f"default is more than max: {high}")
    if step is not None:
        size = _amount(step).amount
        added = str(quantity.Quantity(lowest + size, _amount(low).family))
        check(lowest + size > whole, "step", step, f"one step {added} is larger than capacity value: {most}")
        for value in (default, high):
            if value is not None and size:
                off = (_amount(value).amount - lowest) % size != 0
                check(off, "step", value, f"value is not a multiple of a given step ({step}) from ({low})")
    return wrong
