"""Rules for CertificateSigningRequests: what is asked for, who has decided on it, and what was issued.

Conditions of the types Approved, Denied and Failed are final: they are added through the subresource that they
belong to, and never go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cryptography import x509

from apilayer.api import field, names
from apilayer.api.encoding import base64text
from apilayer.api.gotext import quote
from apilayer.api.validation.common import Errors, Object, indexed, items, part, text
from apilayer.api.validation.vocabulary import at, each_one_of, required, rules, unique_text

if TYPE_CHECKING:
    from collections.abc import Callable

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
_FINAL = ("Approved", "Denied", "Failed")
_OPPOSITES = {"Approved": "Denied", "Denied": "Approved"}
_CONDITIONS = "status.conditions"
_BLOCK = re.compile(rb"-----BEGIN (?P<kind>[^-\n]+)-----\r?\n(?P<content>.*?)-----END (?P=kind)-----", re.DOTALL)


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


# ------------------------------------------------------------------ conditions and certificate


def _certificate_error(data: bytes) -> str:
    """What is wrong with an issued certificate chain in PEM, "" for nothing."""
    found = list(_BLOCK.finditer(data))
    for block in found:
        kind = block["kind"].decode(errors="replace")
        if kind != "CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {quote(kind)}"
        if b":" in block["content"]:
            return "no PEM block headers are permitted"
        try:
            x509.load_pem_x509_certificate(block[0])
        except ValueError as error:
            return str(error)
    return "" if found else "must contain at least one CERTIFICATE PEM block"


def _issued(obj: Object) -> bytes:
    encoded = text(part(obj, "status"), "certificate")
    return base64text.decode(encoded) if encoded else b""


def _conditions_of(obj: Object, kind: str) -> list[Object]:
    return [item for item in items(part(obj, "status"), "conditions") if text(item, "type") == kind]


def _form(new: Object, old: Object) -> Errors:
    """Conditions are well formed, or as badly formed as they were."""
    wrong: Errors = []
    kept = items(part(old, "status"), "conditions")
    were_both = bool(_conditions_of(old, "Approved") and _conditions_of(old, "Denied"))
    had_repeated = len({text(item, "type") for item in kept}) < len(kept)
    seen: set[str] = set()
    for where, item in indexed(part(new, "status"), "conditions", "status"):
        kind = text(item, "type")
        if not kind and not any(not text(known, "type") for known in kept):
            wrong.append(field.required(f"{where}.type"))
        valid = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
        if not text(item, "status"):
            wrong.append(field.required(f"{where}.status"))
        elif item["status"] not in valid:
            wrong.append(field.not_supported(f"{where}.status", item["status"], valid))
        if kind in _OPPOSITES and _OPPOSITES[kind] in seen and not were_both:
            detail = "Approved and Denied conditions are mutually exclusive"
            wrong.append(field.invalid(_CONDITIONS, kind, detail))
        if kind in seen and not had_repeated:
            wrong.append(field.duplicate(f"{where}.type", kind))
        seen.add(kind)
    data = _issued(new)
    problem = _certificate_error(data) if data and data != _issued(old) else ""
    if problem:
        wrong.append(field.invalid("status.certificate", "<certificate data>", problem))
    return wrong


def _nothing_final_goes(new: Object, old: Object) -> Errors:
    return [
        field.forbidden(_CONDITIONS, f"updates may not remove a condition of type {quote(kind)}")
        for kind in _FINAL
        if len(_conditions_of(new, kind)) < len(_conditions_of(old, kind))
    ]


def _no_decision(new: Object, old: Object) -> Errors:
    """Only the approval subresource decides. The others keep decisions as they are, so that they can only add."""
    return [
        field.forbidden(_CONDITIONS, f"updates may not add a condition of type {quote(kind)}")
        for kind in _OPPOSITES
        if len(_conditions_of(new, kind)) > len(_conditions_of(old, kind))
    ]


def _issued_once(new: Object, old: Object) -> Errors:
    if not _issued(old) or _issued(new) == _issued(old):
        return []
    return [field.forbidden("status.certificate", "updates may not modify existing certificate content")]


APPROVAL: tuple[Callable[[Object, Object], Errors], ...] = (_form, _nothing_final_goes)
STATUS: tuple[Callable[[Object, Object], Errors], ...] = (_form, _nothing_final_goes, _no_decision, _issued_once)
