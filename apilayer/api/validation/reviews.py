"""Rules for the requests of reviews and tokens, which are kept nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apilayer.api import field

if TYPE_CHECKING:
    from apilayer.api.field import FieldError

Object = dict[str, Any]

MIN_TOKEN_SECONDS = 600
MAX_TOKEN_SECONDS = 1 << 32
_SELECTOR_KINDS = ("fieldSelector", "labelSelector")


def access_review(spec: Object) -> list[FieldError]:
    """Rules for what is asked about: resources or paths, not both."""
    wrong = []
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        wrong.append(
            field.invalid(
                "spec.nonResourceAttributes", _path(path), "cannot be specified in combination with resourceAttributes"
            )
        )
    if resource is None and path is None:
        detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        wrong.append(field.invalid("spec.resourceAttributes", None, detail))
    for kind in _SELECTOR_KINDS:
        if resource and resource.get(kind) is not None:
            wrong += _selector(resource[kind], f"spec.resourceAttributes.{kind}")
    return wrong


def subject_access_review(spec: Object) -> list[FieldError]:
    """As `access_review`; somebody must be named."""
    wrong = access_review(spec)
    if not spec.get("user") and not spec.get("groups"):
        wrong.append(field.invalid("spec.user", "", "at least one of user or group must be specified"))
    return wrong


def local_access_review(spec: Object, namespace: str) -> list[FieldError]:
    """As `subject_access_review`, about the namespace of the review alone."""
    wrong = subject_access_review(spec)
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and (resource.get("namespace") or "") != namespace:
        where = "spec.resourceAttributes.namespace"
        wrong.append(field.invalid(where, resource.get("namespace") or "", "must match metadata.namespace"))
    if path is not None:
        wrong.append(field.invalid("spec.nonResourceAttributes", _path(path), "disallowed on this kind of request"))
    return wrong


def _path(attributes: Object) -> Object:
    """As Go shows it."""
    return {"Path": attributes.get("path") or "", "Verb": attributes.get("verb") or ""}


def _selector(selector: Object, where: str) -> list[FieldError]:
    raw, requirements = selector.get("rawSelector") or "", selector.get("requirements") or ()
    wrong = []
    if raw and requirements:
        wrong.append(field.invalid(f"{where}.rawSelector", raw, "may not specified at the same time as requirements"))
    if not raw and not requirements:
        detail = f"when {where} is specified, requirements or rawSelector is required"
        wrong.append(field.required(f"{where}.requirements", detail))
    for index, requirement in enumerate(requirements):
        wrong += _requirement(requirement, f"{where}.requirements[{index}]")
    return wrong


def _requirement(requirement: Object, where: str) -> list[FieldError]:
    wrong = []
    if not requirement.get("key"):
        wrong.append(field.required(f"{where}.key", "must be specified"))
    operator, values = requirement.get("operator"), requirement.get("values")
    if operator in ("In", "NotIn") and not values:
        wrong.append(field.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    if operator in ("Exists", "DoesNotExist") and values:
        detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        wrong.append(field.forbidden(f"{where}.values", detail))
    return wrong


def token_request(spec: Object) -> list[FieldError]:
    """Rules for how long a token is to hold."""
    seconds, where = spec["expirationSeconds"], "spec.expirationSeconds"
    if seconds < MIN_TOKEN_SECONDS:
        return [field.invalid(where, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > MAX_TOKEN_SECONDS:
        return [field.invalid(where, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []
