"""Rules for APIServices and CertificateSigningRequests."""

from __future__ import annotations

from cryptography import x509

from apilayer.api import field, names
from apilayer.api.encoding import base64text
from apilayer.api.gotext import quote
from apilayer.api.validation.common import Errors, Object, named, part, text
from apilayer.api.validation.vocabulary import at, between, each_one_of, required, rules, unique_text

_NAME_IS = 'must be `spec.version+"."+spec.group`: {}'
_MIN_SECONDS = 600
_SIGNER_FORM = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_SIGNER_MAX = 571
_USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)


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


def _request(spec: Object, path: str) -> Errors:
    encoded = spec.get("request")
    data = base64text.decode(encoded) if encoded else b""
    try:
        if b"-----BEGIN CERTIFICATE REQUEST-----" not in data:
            raise ValueError("PEM block type must be CERTIFICATE REQUEST")
        x509.load_pem_x509_csr(data)
    except ValueError as error:
        return [field.invalid(f"{path}.request", encoded, str(error))]
    return []


def _signer(spec: Object, path: str) -> Errors:
    signer, where = text(spec, "signerName"), f"{path}.signerName"
    if not signer:
        return [field.required(where)]
    if signer == _LEGACY_SIGNER:
        return [field.invalid(where, signer, "the legacy signerName is not allowed via this API version")]
    domain, slash, name = signer.partition("/")
    if not slash or "/" in name:
        return [field.invalid(where, signer, _SIGNER_FORM)]
    wrong = [
        field.invalid(where, domain, f"validating label {quote(label)}: {message}")
        for label in domain.split(".")
        for message in names.dns_label(label)
    ]
    if "." not in domain:
        wrong.append(field.invalid(where, domain, "should be a domain with at least two segments separated by dots"))
    wrong += [
        field.invalid(where, name, f"validating label {quote(label)}: {message}")
        for label in name.split(".")
        for message in names.dns_subdomain(label)
    ]
    if len(signer) > _SIGNER_MAX:
        wrong.append(field.too_long(where, signer, _SIGNER_MAX))
    return wrong


def _lifetime(spec: Object, path: str) -> Errors:
    seconds = spec.get("expirationSeconds")
    if seconds is None or seconds >= _MIN_SECONDS:
        return []
    detail = f"may not specify a duration less than {_MIN_SECONDS} seconds (10 minutes)"
    return [field.invalid(f"{path}.expirationSeconds", seconds, detail)]


signing_request = rules(
    at(
        "spec",
        _request,
        required("usages"),
        each_one_of("usages", *_USAGES),
        unique_text("usages"),
        _signer,
        _lifetime,
    ),
)
