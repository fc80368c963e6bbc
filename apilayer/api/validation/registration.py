"""Rules for APIServices."""

from __future__ import annotations

from apilayer.api import field, names
from apilayer.api.encoding import base64text
from apilayer.api.gotext import quote
from apilayer.api.validation.common import Errors, Object, named, part, text
from apilayer.api.validation.vocabulary import at, between, required, rules

_NAME_IS = 'must be `spec.version+"."+spec.group`: {}'


def _service_name(obj: Object, path: str) -> Errors:
    del path
    spec, name = part(obj, "spec"), text(part(obj, "metadata"), "name")
    wanted = f"{text(spec, 'version')}.{text(spec, 'group')}"
    return [] if name == wanted else [field.invalid("metadata.name", name, _NAME_IS.format(quote(wanted)))]


def _group_version(spec: Object, path: str) -> Errors:
    group, version = text(spec, "group"), text(spec, "version")
    wrong: Errors = []
    if not group and version != "v1":
        detail = "only v1 may have an empty group and it better be legacy kube"
        wrong.append(field.required(f"{path}.group", detail))
    if group:
        wrong += named(f"{path}.group", group, names.dns_subdomain)
    return wrong + named(f"{path}.version", version, names.dns_label_1035)


def _served_by(spec: Object, path: str) -> Errors:
    service, insecure, bundle = spec.get("service"), spec.get("insecureSkipTLSVerify"), text(spec, "caBundle")
    wrong: Errors = []
    if service is None:
        if bundle:
            size = f"{len(base64text.decode(bundle))} bytes"
            wrong.append(field.invalid(f"{path}.caBundle", size, "local APIServices may not have a caBundle"))
        if insecure:
            detail = "local APIServices may not have insecureSkipTLSVerify"
            wrong.append(field.invalid(f"{path}.insecureSkipTLSVerify", True, detail))
        return wrong
    wrong += required("namespace", "name")(service, f"{path}.service")
    detail = "port is not valid: must be between 1 and 65535, inclusive"
    wrong += between("port", 1, 65535, detail)(service, f"{path}.service")
    if insecure and bundle:
        detail = "may not be true if caBundle is present"
        wrong.append(field.invalid(f"{path}.insecureSkipTLSVerify", True, detail))
    return wrong


def _priorities(spec: Object, path: str) -> Errors:
    return [
        field.invalid(f"{path}.{key}", spec.get(key, 0), f"must be positive and less than {limit}")
        for key, limit in (("groupPriorityMinimum", 20000), ("versionPriority", 1000))
        if not 0 < spec.get(key, 0) <= limit
    ]


api_service = rules(_service_name, at("spec", _group_version, _priorities, _served_by))
