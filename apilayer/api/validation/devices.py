"""Rules for dynamic resource allocation: claims of devices, their classes, and slices that offer devices.

Expressions that select devices are not judged here.
"""

from __future__ import annotations

import re

from apilayer.api import field, names
from apilayer.api.validation import goform
from apilayer.api.validation.common import IMMUTABLE, Errors, Object, indexed, items, named, part, text
from apilayer.api.validation.device_parts import (
    binding_conditions,
    full_name,
    member_name,
    request_policy,
    taints,
    tolerations,
)
from apilayer.api.validation.vocabulary import (
    Change,
    at,
    at_most_items,
    each,
    every,
    given,
    given_name,
    must_have,
    required,
    required_name,
    rules,
    unique,
)
from apilayer.api.validation.volumes import csi_driver_name

_MAX_REQUESTS = 32
_MAX_SELECTORS = 32
_MAX_CONSTRAINTS = 32
_MAX_SUBREQUESTS = 8
_MAX_DEVICES = 128
_MAX_USERS = 256
_MAX_MEMBERS = 32
_MAX_VALUE_BYTES = 64
_MODES = ("All", "ExactCount")
_ONE_REQUEST = "exactly one of `exactly` or `firstAvailable` is required"
_PLACES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_PLACE = f"exactly one of {', '.join(f'`{place}`' for place in _PLACES)} is required"
_VALUES = ("int", "bool", "string", "version", "ints", "bools", "strings", "versions")
_ONE_VALUE = "exactly one value must be specified"
_NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_NUMBER = "(0|[1-9][0-9]*)"
_WORD = "(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_WORD}(\.{_WORD})*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?")


def _count(request: Object, path: str) -> Errors:
    mode, count = text(request, "allocationMode"), request.get("count", 0)
    where = f"{path}.count"
    if mode == "All":
        detail = "must not be specified when allocationMode is 'All'"
        return [field.invalid(where, count, detail)] if count else []
    if mode == "ExactCount":
        return [] if count > 0 else [field.invalid(where, count, "must be greater than zero")]
    return [field.not_supported(f"{path}.allocationMode", mode, _MODES)]


_selectors = every(at_most_items("selectors", _MAX_SELECTORS), each("selectors", must_have("cel")))
_exact = every(required_name("deviceClassName", names.dns_subdomain), _selectors, _count, tolerations)


def _request(request: Object, path: str) -> Errors:
    wrong = required_name("name", names.dns_label)(request, path)
    exactly, first = request.get("exactly"), items(request, "firstAvailable")
    if exactly is None and not first:
        wrong.append(field.required(path, _ONE_REQUEST))
    elif exactly is not None and first:
        wrong.append(field.invalid(path, None, f"{_ONE_REQUEST}, but multiple fields are set"))
    elif exactly is not None:
        wrong += _exact(exactly, f"{path}.exactly")
    else:
        check = every(
            at_most_items("firstAvailable", _MAX_SUBREQUESTS),
            each("firstAvailable", required_name("name", names.dns_label), _exact),
            unique("firstAvailable", by="name", as_whole=True),
        )
        wrong += check(request, path)
    return wrong


def _known_requests(claim: Object) -> set[str]:
    found: set[str] = set()
    for request in items(claim, "requests"):
        name = text(request, "name")
        found.add(name)
        found |= {f"{name}/{text(sub, 'name')}" for sub in items(request, "firstAvailable")}
    return found


def _requests_of(obj: Object, known: set[str], path: str) -> Errors:
    wrong: Errors = []
    for index, name in enumerate(items(obj, "requests")):
        where = f"{path}.requests[{index}]"
        if name in items(obj, "requests")[:index]:
            wrong.append(field.duplicate(where, name))
        if name not in known:
            wrong.append(field.invalid(where, name, _NO_REQUEST))
    return wrong


def _opaque(opaque: Object, path: str) -> Errors:
    wrong = csi_driver_name(text(opaque, "driver"), f"{path}.driver")
    wrong += must_have("parameters")(opaque, path)
    if not isinstance(opaque.get("parameters", {}), dict):
        wrong.append(field.invalid(f"{path}.parameters", "<value omitted>", "must be a valid JSON object"))
    return wrong


_configuration = every(must_have("opaque"), given("opaque", _opaque))


def _device_claim(claim: Object, path: str) -> Errors:
    check = every(
        at_most_items("requests", _MAX_REQUESTS),
        each("requests", _request),
        unique("requests", by="name", as_whole=True),
        at_most_items("constraints", _MAX_CONSTRAINTS),
    )
    wrong, known = check(claim, path), _known_requests(claim)
    for where, constraint in indexed(claim, "constraints", path):
        wrong += _requests_of(constraint, known, where)
        keys = [key for key in ("matchAttribute", "distinctAttribute") if constraint.get(key) is not None]
        if not keys:
            detail = "exactly one of `matchAttribute`, `distinctAttribute` is required"
            wrong.append(field.required(where, detail))
        for key in keys:
            wrong += full_name(constraint[key], f"{where}.{key}")
    for where, config in indexed(claim, "config", path):
        wrong += _requests_of(config, known, where) + _configuration(config, where)
    return wrong


_claim_spec = at("devices", _device_claim)
resource_claim = rules(at("spec", _claim_spec))
claim_template = rules(at("spec", at("spec", _claim_spec)))


def _spec_stays(name: str) -> Change:
    def change(new: Object, old: Object) -> Errors:
        if part(new, "spec") == part(old, "spec"):
            return []
        return [field.invalid("spec", goform.of(part(new, "spec"), name), IMMUTABLE)]

    return change


_consumer = required("resource", "name", "uid")


def claim_status(new: Object, old: Object) -> Errors:
    """Who may use a claim is told once it is allocated; an allocation is made and taken back, never changed."""
    status, before = part(new, "status"), part(old, "status")
    users = items(status, "reservedFor")
    wrong = at_most_items("reservedFor", _MAX_USERS)(status, "status")
    for index, (where, user) in enumerate(indexed(status, "reservedFor", "status")):
        wrong += _consumer(user, where)
        if text(user, "uid") in [text(other, "uid") for other in users[:index]]:
            wrong.append(field.duplicate(where, text(user, "uid")))
    allocation, was = status.get("allocation"), before.get("allocation")
    if users != items(before, "reservedFor"):
        known = [text(user, "uid") for user in items(before, "reservedFor")]
        added = any(text(user, "uid") not in known for user in users)
        if users and allocation is None:
            detail = "may not be specified when `allocated` is not set"
            wrong.append(field.forbidden("status.reservedFor", detail))
        elif added and part(new, "metadata").get("deletionTimestamp"):
            detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
            wrong.append(field.forbidden("status.reservedFor", detail))
    if allocation is not None and was is not None and allocation != was:
        shown = goform.of(allocation, "resource.k8s.io/v1.AllocationResult")
        wrong.append(field.invalid("status.allocation", shown, IMMUTABLE))
    return wrong


CLAIM_UPDATE = (_spec_stays("resource.k8s.io/v1.ResourceClaimSpec"),)
TEMPLATE_UPDATE = (_spec_stays("resource.k8s.io/v1.ResourceClaimTemplateSpec"),)


def _slice_stays(new: Object, old: Object) -> Errors:
    """Whose devices a slice offers never changes."""
    after, before = part(new, "spec"), part(old, "spec")
    wrong: Errors = []
    for path, holder, was in (
        ("spec.driver", after.get("driver", ""), before.get("driver", "")),
        ("spec.pool.name", text(part(after, "pool"), "name"), text(part(before, "pool"), "name")),
        ("spec.nodeName", after.get("nodeName"), before.get("nodeName")),
    ):
        if holder != was:
            wrong.append(field.invalid(path, holder, IMMUTABLE))
    return wrong


SLICE_UPDATE = (_slice_stays,)


def _pool(pool: Object, path: str) -> Errors:
    name, count, generation = text(pool, "name"), pool.get("resourceSliceCount", 0), pool.get("generation", 0)
    wrong: Errors = []
    if not name:
        wrong.append(field.required(f"{path}.name"))
    else:
        for segment in name.split("/"):
            wrong += named(f"{path}.name", segment, names.dns_subdomain)
    if count <= 0:
        wrong.append(field.invalid(f"{path}.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        wrong.append(field.invalid(f"{path}.generation", generation, "must be greater than or equal to zero"))
    return wrong


def _place(spec: Object, path: str) -> Errors:
    """The slice says in one way which nodes can use its devices."""
    chosen = [place for place in _PLACES if spec.get(place) not in (None, False)]
    if not chosen:
        return [field.required(path, _ONE_PLACE)]
    if len(chosen) > 1:
        shown = "{" + ", ".join(f"`{place}`" for place in chosen) + "}"
        return [field.invalid(path, shown, f"{_ONE_PLACE}, but multiple fields are set")]
    return given_name("nodeName", names.dns_subdomain)(spec, path)


def _attribute(attribute: Object, path: str) -> Errors:
    present = [key for key in _VALUES if attribute.get(key) is not None]
    if not present:
        return [field.invalid(path, "", _ONE_VALUE)]
    if len(present) > 1:
        shown = {f"{key[:1].upper()}{key[1:]}": attribute.get(key) for key in _VALUES}
        shown = {(f"{key[:-1]}Values" if key.endswith("s") else f"{key}Value"): value for key, value in shown.items()}
        return [field.invalid(path, shown, _ONE_VALUE)]
    version = attribute.get("version")
    wrong: Errors = []
    if version is not None and not _SEMVER.fullmatch(version):
        detail = "must be a string compatible with semver.org spec 2.0.0"
        wrong.append(field.invalid(f"{path}.version", version, detail))
    return wrong + [
        field.too_long(f"{path}.{key}", "", _MAX_VALUE_BYTES)
        for key in ("string", "version")
        if len(text(attribute, key).encode()) > _MAX_VALUE_BYTES
    ]


def _device(device: Object, path: str) -> Errors:
    wrong = required_name("name", names.dns_label)(device, path)
    attributes, capacity = part(device, "attributes"), part(device, "capacity")
    for key, attribute in attributes.items():
        where = f"{path}.attributes[{key}]"
        wrong += member_name(key, where) + _attribute(attribute, where)
    shared = bool(device.get("allowMultipleAllocations"))
    for key, amount in capacity.items():
        where = f"{path}.capacity[{key}]"
        wrong += member_name(key, where) + request_policy(amount, where, shared=shared)
    if len(attributes) + len(capacity) > _MAX_MEMBERS:
        detail = f"the total number of attributes and capacities must not exceed {_MAX_MEMBERS}"
        wrong.append(field.invalid(path, len(attributes) + len(capacity), detail))
    return wrong + taints(device, path) + binding_conditions(device, path)


def _driver(spec: Object, path: str) -> Errors:
    return csi_driver_name(text(spec, "driver"), f"{path}.driver")


resource_slice = rules(
    at(
        "spec",
        _driver,
        at("pool", _pool),
        _place,
        at_most_items("devices", _MAX_DEVICES),
        each("devices", _device),
        unique("devices", by="name", as_whole=True),
    ),
)


def _extended(spec: Object, path: str) -> Errors:
    name = spec.get("extendedResourceName")
    if name is None:
        return []
    domain, slash, _ = name.partition("/")
    native = "kubernetes.io" in domain or name.startswith("requests.")
    if slash and not native and not names.qualified_name(name):
        return []
    return [field.invalid(f"{path}.extendedResourceName", name, "must be a valid extended resource name")]


device_class = rules(at("spec", _selectors, each("config", _configuration), _extended))
